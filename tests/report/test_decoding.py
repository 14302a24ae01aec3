"""What a record tells of decoding, in words."""

from typing import Any

import pytest

from inferkit.errors import RecordError
from inferkit.records.run import Run
from inferkit.report.decoding import decoder_text, decoding_rows
from inferkit.report.record import bundle
from tests.report.conftest import DECODERS, MakeRun

CEILINGS = {"read": 600.0, "decode": 60.0, "infer": 300.0}


def told(run: Run) -> dict[str, str]:
    return dict(decoding_rows(run))


def test_without_photographs_nothing_is_said(make_run: MakeRun, make_way: MakeRun) -> None:
    for run in (make_run(), make_way("direct", 58, {"read": 60, "infer": 90})):
        assert (decoder_text(run), told(run)) == ("", {})


def test_a_decoder_tells_what_it_did(make_way: MakeRun) -> None:
    assert told(make_way("nvjpeg", 58, CEILINGS)) == {
        "decoded": "9,000 images by the GPU's decoder, none refused",
        "in software": "0 of 1,000 files",
    }


def test_several_gpus_are_added_up(make_way: MakeRun) -> None:
    decoders = [own | {"lanes": 2, "refused": 3} for own in DECODERS * 2]
    run = make_way("nvjpeg", 58, CEILINGS, facts={"decoders": decoders})
    words = "18,000 images by the GPU's decoder, 2 GPUs, 2 batches at a time, 6 refused, which a CPU decoded"
    assert told(run)["decoded"] == words
    mixed = [DECODERS[0], DECODERS[0] | {"backend": "cuda"}]
    assert decoder_text(make_way("nvjpeg", 58, CEILINGS, facts={"decoders": mixed})) == "the GPU's cores"


def test_what_software_decodes_and_how_far_pixels_are_is_told(make_way: MakeRun) -> None:
    files = {"files_seen": 1000, "files_in_software": {"CMYK": 3, "stored as RGB": 0, "several scans": 1200}}
    pixels = {"grey": {"images": 1, "mean": 0.0, "largest": 0}, "4:2:0": {"images": 180, "mean": 0.623, "largest": 41}}
    run = make_way("nvjpeg", 58, CEILINGS, facts={"reader": {"bytes_per_file": 9} | files, "pixels": pixels})
    rows = told(run)
    assert rows["in software"] == "1,203 of 1,000 files, by the reader's threads: 1,200 several scans, 3 CMYK"
    said = "of 255: 4:2:0 0.62 on average, 41 at most (180 images); grey 0 on average, 0 at most (1 image)"
    assert rows["off stage 01"] == said
    html = bundle(run)["text/html"]
    assert said in html
    assert "decoders:" not in html
    assert "pixels:" not in html


@pytest.mark.parametrize(
    "facts",
    [
        {"decoders": "hardware"},
        {"decoders": [{"lanes": 1}]},
        {"decoders": [{"backend": "hardware", "decoded": -1}]},
        {"pixels": {"grey": {"images": "many", "mean": 0.1, "largest": 3}}},
        {"pixels": {"grey": 3}},
        {"reader": {"bytes_per_file": 0}},
        {"reader": {"files_in_software": ["CMYK"]}},
    ],
)
def test_records_that_tell_it_in_another_form_are_refused(facts: dict[str, Any], make_way: MakeRun) -> None:
    data = make_way("nvjpeg", 58, CEILINGS).to_dict()
    assert Run.from_dict(data).facts["decoders"]
    with pytest.raises(RecordError, match=next(iter(facts))):
        Run.from_dict(data | {"facts": data["facts"] | facts})
