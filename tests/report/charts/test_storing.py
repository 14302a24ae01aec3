"""Images per second over the bandwidth of the storage: lines, points and the rule."""

import pytest

from inferkit.records.run import Run
from inferkit.report.charts.storing import jpeg_or_tensors
from tests.report.charts.test_pipeline import rows_of
from tests.report.conftest import BYTES_PER_FILE, MakeRun, spec_of, why


@pytest.fixture
def pair(make_way: MakeRun) -> list[Run]:
    return [
        make_way("nvjpeg", 9800, {"read": 20_000, "decode": 11_500, "feed": 10_000, "infer": 11_000}),
        make_way("mapped", 10_950, {"copy": 90_000, "infer": 11_000}),
    ]


def test_a_line_rises_by_the_bytes_of_an_image_up_to_the_ceiling(pair: list[Run]) -> None:
    rows = [row for row in rows_of(spec_of(jpeg_or_tensors(pair))) if row["kind"] == "line"]
    for row in [row for row in rows if "nvjpeg" in row["way"]]:
        assert row["y"] == pytest.approx(min(10_000, row["x"] * 1e9 / BYTES_PER_FILE))
    knees = [row["x"] for row in rows if "nvjpeg" in row["way"] and row["y"] == 10_000]
    assert min(knees) == pytest.approx(10_000 * BYTES_PER_FILE / 1e9)
    assert {row["x"] for row in rows if "nvjpeg" in row["way"]} & {row["x"] for row in rows if "mapped" in row["way"]}


def test_points_stand_where_reading_alone_is_and_the_rule_is_the_best_of_it(pair: list[Run]) -> None:
    rows = rows_of(spec_of(jpeg_or_tensors(pair)))
    measured = {row["way"]: (row["x"], row["y"]) for row in rows if row["kind"] == "measured"}
    assert measured == {
        "JPEG, decoded by the GPU's decoder (nvjpeg)": (20_000 * BYTES_PER_FILE / 1e9, 9800),
        "tensors (mapped)": (pytest.approx(10_950 * 150_528 / 1e9), 10_950),
    }
    (rule,) = [row for row in rows if row["kind"] == "here"]
    assert (rule["x"], rule["text"]) == (2.2, "reading alone: 2.20 GB/s")


def test_without_a_bandwidth_there_is_no_rule(make_way: MakeRun, pair: list[Run]) -> None:
    jpeg = make_way("jpeg", 7100, {"read": 60_000, "decode": 7400, "infer": 11_000})
    assert not [row for row in rows_of(spec_of(jpeg_or_tensors([jpeg, pair[1]]))) if row["kind"] == "here"]


def test_the_question_is_answered_below_it(pair: list[Run]) -> None:
    spec = spec_of(jpeg_or_tensors(pair))
    assert spec["title"]["text"] == "Store JPEG or tensors?"
    assert "JPEG where the storage delivers less than 1.51 GB/s" in " ".join(spec["title"]["subtitle"])


def test_of_one_store_there_is_no_chart_but_what_it_needs(pair: list[Run]) -> None:
    for kept in ([], pair[:1], pair[1:]):
        assert "readers: [jpeg, nvjpeg, direct, mapped]" in why(jpeg_or_tensors(kept))
