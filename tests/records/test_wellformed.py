"""A record that says something else than its axes, facts and figures can be is refused where it is read."""

import math
from typing import Any

import pytest

from inferkit.errors import RecordError
from inferkit.records.figures import Figure, Repeat
from inferkit.records.host import Host
from inferkit.records.run import Run
from inferkit.records.wellformed import NOTHING_MADE, READS_NOTHING


@pytest.fixture
def record() -> dict[str, Any]:
    figure = Figure(images_per_s=10.0, bytes_per_s=1000.0)
    window = Repeat(start_s=0, seconds=2, images=20, nbytes=2000, batches=2)
    return Run(
        notebook="03b", measure="pipeline", host=Host(), verdict="VALID", measured=figure, repeats=[window]
    ).to_dict()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"point": {"transfer_bytes": "x"}}, "point.transfer_bytes is 'x': Input should be a valid integer"),
        ({"point": {"batch_size": 0}}, "point.batch_size is 0: Input should be greater than 0"),
        ({"point": {"threads": True}}, "point.threads is True"),
        ({"point": {"ranks": 1.5}}, "point.ranks is 1.5"),
        ({"point": {"model": 3}}, "point.model is 3: Input should be a valid string"),
        ({"point": []}, "point is .*: Input should be a valid dictionary"),
        ({"facts": {"shape": 5}}, "facts.shape is 5: Input should be a valid list"),
        ({"facts": {"shape": [3, "x"]}}, "facts.shape.1 is 'x'"),
        ({"facts": {"images": None}}, "facts.images is None"),
        ({"facts": {"skipped": "many"}}, "facts.skipped"),
        ({"facts": {"reading": [1]}}, "facts.reading is "),
        ({"facts": {"reading": {"balance": "x"}}}, "facts.reading.balance is 'x'"),
        ({"facts": {"top1_agreement": math.nan}}, "facts.top1_agreement is nan"),
        ({"facts": {"layers_ms": [["conv"]]}}, "facts.layers_ms.0.1: Field required"),
        ({"facts": {"layers_ms": {"conv": 1.0}}}, "facts.layers_ms"),
        ({"facts": {"nobody_knows": [{"this": math.inf}]}}, "holds NaN or an infinity"),
        ({"params": {"threshold": math.nan}}, "holds NaN or an infinity"),
        ({"params": {"shape": "3,8,8"}}, "params.shape is '3,8,8'"),
        ({"params": None}, "params is None"),
        ({"measured": None}, "VALID and has no figure"),
        ({"measured": {}}, "VALID and has no figure"),
        ({"measured": {"images_per_s": 0.0}}, "VALID and has no figure"),
        ({"measured": {"images_per_s": -5.0}}, "measured.images_per_s is -5.0"),
        ({"predicted": {"bytes_per_s": -5.0}}, "predicted.bytes_per_s is -5.0"),
        ({"ceilings": {"read": {"images_per_s": -1}}}, "ceilings.read.images_per_s is -1"),
        ({"measured": {"images_per_s": 1e300}}, r"a figure of 1e\+300, which no machine reaches"),
        ({"measured": {"images_per_s": 1.0, "half_width": 1e200}}, r"a figure of 1e\+200"),
        ({"ceilings": {"read": {"bytes_per_s": 1e-300}}}, "a figure of 1e-300"),
        ({"facts": {"nobody_knows": [10**400]}}, "a number of 1000+.*, which no machine counts to"),
        ({"series": {"x": {"unit": "", "values": [-1e300]}}}, r"a number of -1e\+300"),
        (
            {"repeats": [{"start_s": 0, "seconds": 5e-324, "images": 1, "nbytes": 1, "batches": 1}]},
            "a number of 5e-324",
        ),
        ({"point": {"new_axis": 2**70}}, "a number of 1180591620717411303424"),
        ({"peers": [{"name": "fio", "interval": [1.0]}]}, r"peers.0.interval is \[1.0\]"),
        ({"stages": []}, "stages is "),
        ({"verdict": "VALID", "reasons": ["the page cache"]}, "is VALID and has reasons not to be"),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(record: dict[str, Any], change: dict[str, Any], told: str) -> None:
    with pytest.raises(RecordError, match=f"record '{record['id']}' .*{told}") as caught:
        Run.from_dict(record | change)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "change",
    [
        {"point": {"gpu": "0+1", "threads": 0, "node": 0}},
        {"point": {"gpu": 0, "some_new_axis": "x"}},
        {"facts": {"shape": None, "reading": None, "some_new_fact": None, "skipped": {"a.jpg": "empty"}}},
        {"facts": {"layers_ms": [["conv", 1]], "top1_agreement": 1}},
        {"verdict": "FAILED", "measured": None},
        {"verdict": "INVALID", "measured": None, "reasons": ["no batch"]},
        {"measured": None, "warnings": [f"reader mapped {READS_NOTHING}: see its time per batch"]},
        {"measured": None, "warnings": [f"the data set lay there already, {NOTHING_MADE}"]},
    ],
)
def test_what_is_unknown_or_lacks_for_a_reason_is_read(record: dict[str, Any], change: dict[str, Any]) -> None:
    assert Run.from_dict(record | change).id == record["id"]
