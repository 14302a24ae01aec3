"""The timeline of batches, and the distribution of their times."""

from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from inferkit.records.host import Host
from inferkit.records.run import Run
from inferkit.report.charts.batches import batch_times, timeline
from inferkit.report.palette import STAGE_COLOURS
from tests.report.charts.test_pipeline import encodings, rows_of
from tests.report.conftest import MakeRun, spec_of, why

BATCHES = {"read": "0+900 500+900 1000+950", "copy": "900+80 1400+80 1950+90", "infer": "980+990 1970+990 2960+990"}


def run_with(batches: dict[str, str]) -> Run:
    about: dict[str, Any] = {"notebook": "03b", "measure": "pipeline", "host": Host(), "verdict": "VALID"}
    return Run(**about, point={"engine": "onnx"}, facts={"batches": batches})


def test_a_batch_is_a_bar_in_each_stage(make_run: MakeRun) -> None:
    spec = spec_of(timeline([make_run(facts={"batches": BATCHES})]))
    rows = rows_of(spec)
    assert {(row["stage"], row["batch"]) for row in rows} == {(s, b) for s in BATCHES for b in (1, 2, 3)}
    assert {(row["start"], row["end"]) for row in rows if row["batch"] == 2} == {(0.5, 1.4), (1.4, 1.48), (1.97, 2.96)}
    (colour,) = encodings(spec, "color")
    assert colour["scale"]["range"] == [STAGE_COLOURS[name] for name in ("read", "copy", "infer")]
    assert spec["title"]["text"] == "Do the stages overlap?"


def test_what_overlaps_has_lanes_of_its_own(make_run: MakeRun) -> None:
    rows = rows_of(spec_of(timeline([make_run(facts={"batches": BATCHES})])))
    assert {row["lane"] for row in rows} == {"read 1", "read 2", "copy 1", "infer 1"}


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**5)), min_size=1, max_size=30))
def test_no_two_batches_share_a_lane_at_one_time(spans: list[tuple[int, int]]) -> None:
    text = " ".join(f"{start}+{length}" for start, length in spans)
    rows = rows_of(spec_of(timeline([run_with({"read": text})])))
    assert len(rows) == len(spans)
    for lane in {row["lane"] for row in rows}:
        own = sorted((row["start"], row["end"]) for row in rows if row["lane"] == lane)
        assert all(before[1] <= after[0] for before, after in pairwise(own))


def test_the_timeline_is_of_the_best_pipeline_that_has_one(make_run: MakeRun) -> None:
    null = make_run(900, point={"engine": "null", "reader": "mapped"}, facts={"batches": {"copy": "0+1"}})
    infers = make_run(58, facts={"batches": BATCHES})
    spec = spec_of(timeline([null, infers, make_run(80)]))
    assert "onnx resnet18" in " ".join(spec["title"]["subtitle"])
    assert "no pipeline" in why(timeline([make_run(), make_run(58, measure="infer", facts={"batches": BATCHES})]))
    assert "no pipeline" in why(timeline([make_run(facts={"batches": {"read": ""}})]))


def test_shares_of_a_stage_add_up_to_one(make_run: MakeRun) -> None:
    spec = spec_of(batch_times([make_run(), make_run(40)]))
    rows = rows_of(spec)
    assert {row["stage"] for row in rows} == {"read", "copy", "infer"}
    for stage in ("read", "copy", "infer"):
        own = [row for row in rows if row["stage"] == stage]
        assert abs(sum(row["share"] for row in own) - 1) < 1e-9
        assert all(row["low"] < row["high"] for row in own)
        assert "half below" in own[0]["panel"]
    assert spec["title"]["text"] == "How long do batches take in each stage?"


def test_without_times_the_chart_says_so(make_run: MakeRun) -> None:
    assert why(batch_times([make_run(stages={})]))
    assert why(timeline([]))
