"""The sum of several ranks, its error, and the window in which all were running."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferkit.pipeline.durations import Durations
from inferkit.ranks.aggregate import add_up, common_repeats, common_series, common_stages
from inferkit.ranks.combine import combine, figure_of_sum
from inferkit.records.figures import Figure, Quantiles, Repeat, Series, Stage
from inferkit.records.job import CopyJob, DeviceOptions, Job, PipelineJob, ReadOptions
from inferkit.records.outcome import Outcome, ProgressTrace
from inferkit.records.place import Place
from inferkit.records.windows import Window

WINDOW = Window(warmup_s=1.0, duration_s=2.0, repeats=3)
STEP = 0.01


def trace(rate: float, *, began: float = 0.0, ended: float = 7.5) -> ProgressTrace:
    """Return the trace of a rank that completes ``rate`` images a second, in batches of 10, of 3 bytes each."""
    grid = np.arange(0, 10.0, STEP)
    images = rate * np.clip(grid - began, 0, ended - began)
    return ProgressTrace(
        start_ns=0,
        step_s=STEP,
        images=images.tolist(),
        nbytes=(images * 3).tolist(),
        batches=(images / 10).tolist(),
        began_s=began,
        ended_s=ended,
    )


def outcome(own: ProgressTrace, **changes: object) -> Outcome:
    repeats = [
        Repeat(start_s=0.0, seconds=1.0, images=1, nbytes=1, batches=1, warmup=k == 0, cpu_s=0.5) for k in range(4)
    ]
    values = {"repeats": repeats, "stages": {}, "traces": [own], **changes}
    return Outcome.model_validate(values)


def pipeline(place: Place, window: Window = WINDOW) -> Job:
    return PipelineJob(window=window, device=DeviceOptions(), reading=ReadOptions(batch_size=10), place=place)


def copying(place: Place) -> Job:
    return CopyJob(window=WINDOW, device=DeviceOptions(), nbytes=1, place=place)


def jobs(count: int) -> list[Job]:
    return [pipeline(Place(rank=rank, ranks=count)) for rank in range(count)]


@given(rates=st.lists(st.floats(1.0, 1e6), min_size=1, max_size=8))
def test_steady_ranks_add_up_without_error(rates: list[float]) -> None:
    total = add_up([trace(rate) for rate in rates], WINDOW)
    assert total.overlap == 1.0
    # As many parts as the slowest rank completed batches of 10, none shorter than a step.
    assert total.images_per_s.shape == (max(1, int(min(6.0 * min(rates) / 10 + 1e-9, 600))), len(rates))
    assert total.course == pytest.approx(sum(rates))
    assert total.bytes_per_s.mean(axis=0) == pytest.approx(np.array(rates) * 3)


@given(began=st.floats(0.0, 6.0), ended=st.floats(6.5, 9.0), rate=st.floats(10.0, 1000.0))
def test_only_the_time_in_which_all_were_running_counts(began: float, ended: float, rate: float) -> None:
    total = add_up([trace(100.0), trace(rate, began=began, ended=ended)], WINDOW)
    begin, end = max(1.0, began), min(7.0, ended)
    assert (total.begin_s, total.end_s) == (begin, end)
    assert total.overlap == pytest.approx((end - begin) / 6.0)
    if len(total.course) > 10:
        assert total.rates.sum(axis=1)[3:-3] == pytest.approx(100.0 + rate, rel=1e-3)


def test_ranks_that_never_ran_together_have_no_overlap() -> None:
    total = add_up([trace(100.0, ended=3.0), trace(100.0, began=4.0)], WINDOW)
    assert total.overlap == 0.0
    found = combine(jobs(2), [outcome(trace(100.0, ended=3.0)), outcome(trace(100.0, began=4.0))], {})
    assert "only 0.0 % of the windows" in found.reasons[0]


def figure(traces: list[ProgressTrace]) -> Figure:
    return figure_of_sum(add_up(traces, WINDOW), common_repeats([], traces, WINDOW))


def test_steady_ranks_have_no_error_and_too_few_batches_tell_none() -> None:
    steady = figure([trace(100.0), trace(50.0)])
    assert steady.images_per_s == pytest.approx(150.0)
    assert steady.half_width == pytest.approx(0.0, abs=1e-6)
    assert figure([trace(100.0), trace(10.0)]).half_width is None  # 6 batches in the windows


def test_the_error_is_that_of_the_sum_of_the_courses() -> None:
    """Ranks that disturb one another in turns leave the sum steady."""
    turns = 30 * np.sign(np.sin(np.arange(1000) * 0.35))
    ups, downs = (
        trace(100.0).model_copy(update={"images": np.cumsum(1 + sign * turns / 100).tolist()}) for sign in (1, -1)
    )
    together = figure([ups, downs])
    both_up = figure([ups, ups])
    assert together.half_width == pytest.approx(0.0, abs=1e-6)
    assert both_up.half_width is not None
    assert both_up.half_width > 0.005
    found = combine(jobs(2), [outcome(ups), outcome(ups)], {})
    assert found.measured == both_up


def test_bytes_are_added_where_there_are_no_images() -> None:
    bare = trace(50.0).model_copy(update={"images": [0.0] * len(trace(50.0).images)})
    total = add_up([bare, bare], WINDOW)
    assert total.rates.sum(axis=1) == pytest.approx(300.0)
    found = combine(jobs(2), [outcome(bare), outcome(bare)], {})
    assert found.measured is not None
    assert found.measured.images_per_s is None
    assert found.measured.bytes_per_s == pytest.approx(300.0)
    assert found.facts["group"]["unit"] == "bytes/s"


def test_the_agreed_windows_hold_what_all_completed_in_them() -> None:
    traces = [trace(100.0), trace(50.0, began=2.0)]
    repeats = common_repeats([outcome(own) for own in traces], traces, WINDOW)
    assert [repeat.images for repeat in repeats] == [100, 250, 300, 300]
    assert [repeat.nbytes for repeat in repeats] == [300, 750, 900, 900]
    assert [repeat.batches for repeat in repeats] == [10, 25, 30, 30]
    assert [repeat.start_s for repeat in repeats] == [0.0, 1.0, 3.0, 5.0]
    assert [repeat.warmup for repeat in repeats] == [True, False, False, False]
    assert repeats[0].cpu_s == 1.0


def test_series_are_sums_and_the_machine_s_are_told_once() -> None:
    traces = [trace(100.0), trace(20.0)]
    own = {
        "images_per_s": Series(unit="images/s", values=[1.0]),
        "bytes_per_s": Series(unit="bytes/s", values=[1.0]),
        "host_cpu": Series(unit="share", values=[0.5]),
        "foreign_cpu": Series(unit="share", values=[0.125, 0.25]),
    }
    gpu = {"gpu1_power_w": Series(unit="W", values=[300.0])}
    outcomes = [outcome(traces[0], series=own), outcome(traces[1], series=own | gpu)]
    found = common_series(outcomes, traces, WINDOW)
    assert found["images_per_s"].values == pytest.approx([120.0] * 7)
    assert found["host_cpu"].values == [0.5]
    assert found["foreign_cpu"].values == [0.25, 0.5]  # each of its own CPUs
    assert found["gpu1_power_w"].values == [300.0]


def test_bins_are_those_of_the_rank_of_the_longest_batches() -> None:
    traces = [trace(10.0), trace(110.0)]
    steps = [{"images_per_s": Series(unit="images/s", step_s=step, values=[0.0])} for step in (3.0, 1.0)]
    found = common_series([outcome(own, series=told) for own, told in zip(traces, steps, strict=True)], traces, WINDOW)
    assert found["images_per_s"].step_s == 3.0
    assert found["images_per_s"].values == pytest.approx([120.0] * 2)


@given(st.lists(st.lists(st.integers(0, 10**10), min_size=1, max_size=50), min_size=1, max_size=4))
def test_histograms_of_ranks_add_up_on_one_grid(samples: list[list[int]]) -> None:
    def counted(times: list[int]) -> Durations:
        durations = Durations()
        durations.add(np.array(times))
        return durations

    def stage(times: list[int]) -> Stage:
        spans = dict.fromkeys(Quantiles.model_fields, float(max(times)))
        own = counted(times).histogram()
        return Stage(images_per_s=10.0, busy=0.5, workers=2, quantiles=Quantiles(**spans), histogram=own)

    outcomes = [outcome(trace(1.0), stages={"read": stage(own)}) for own in samples]
    merged = common_stages(outcomes)["read"]
    together = [value for own in samples for value in own]
    expected = counted(together).histogram()
    assert merged.histogram is not None
    assert merged.histogram.counts == expected.counts
    assert merged.histogram.edges_s == pytest.approx(expected.edges_s)
    assert merged.quantiles is not None
    assert merged.quantiles.p50_s == max(together)
    assert (merged.images_per_s, merged.busy, merged.workers) == (10.0 * len(samples), 0.5, 2 * len(samples))


def test_a_slow_and_a_late_rank_show_as_what_they_are() -> None:
    traces = [trace(100.0), trace(60.0), trace(100.0, began=1.5)]
    found = combine(jobs(3), [outcome(own) for own in traces], {})
    assert found.reasons == []  # 92 % of the windows
    assert "rank 1 reached only 60.0 % of the rate of rank 0" in found.warnings
    assert "rank 2 started 1.50 s late" in found.warnings
    rates = [rank["rate"] for rank in found.facts["ranks"]]
    assert rates == pytest.approx([100.0, 60.0, 100.0])
    assert found.measured is not None
    assert found.measured.images_per_s == pytest.approx(sum(rates))


def test_few_batches_make_no_error() -> None:
    found = combine(jobs(1), [outcome(trace(10.0))], {})
    assert found.measured is not None
    assert found.measured.half_width is None
    assert found.facts["ranks"][0]["half_width"] is None


def test_a_sum_that_drifts_says_so() -> None:
    images = np.cumsum(np.linspace(0.9, 1.1, 1000)).tolist()
    found = combine(jobs(1), [outcome(trace(100.0).model_copy(update={"images": images}))], {})
    (warning,) = found.warnings
    assert warning.startswith("drift: the rate rose by 12")


def test_mlperf_s_images_are_demanded_of_each_window() -> None:
    own = [pipeline(Place(), WINDOW.changed(images=1000))]
    assert "fewer than the 1,000 images" in combine(own, [outcome(trace(100.0))], {}).reasons[0]
    assert not combine(own, [outcome(trace(600.0))], {}).reasons


def whereabouts(cpus: list[int], on_node: float | None) -> dict[str, object]:
    return {"cpus": cpus, "pages": {"0": 10}, "on_node": on_node, "unknown": "" if on_node else "not permitted"}


def test_a_rank_in_another_place_than_planned_is_invalid() -> None:
    job = [pipeline(Place(cpus=(0, 1), node=1))]

    def found(cpus: list[int], on_node: float | None) -> Outcome:
        return combine(job, [outcome(trace(900.0), facts={"whereabouts": whereabouts(cpus, on_node)})], {})

    assert found([0, 1], 0.97).reasons == []
    assert "ran on CPUs 0-3" in found([0, 1, 2, 3], 0.97).reasons[0]
    assert "only 60.0 % of its pages lie on node 1" in found([0, 1], 0.6).reasons[0]
    assert found([0, 1], None).unverified == ["NUMA node of the pages of rank 0: not permitted"]
    assert found([0, 1], None).reasons == []


def test_what_came_from_storage_is_added_up() -> None:
    def told(process: int | None, read: int, disk: tuple[int, int], resident: float = 0.0) -> dict[str, object]:
        return {
            "filesystem": "ext4",
            "network": False,
            "fuse": False,
            "stacked": False,
            "delivered_bytes": read,
            "read_bytes": read,
            "whole_bytes": 2 * read,
            "process_read_bytes": process,
            "resident_before": resident,
            "wire_counter": [None, None],
            "disk_counter": list(disk),
            "written_counter": list(disk),
        }

    def storage(*all_of_them: dict[str, object]) -> dict[str, object]:
        outcomes = [outcome(trace(900.0), facts={"storage": own, "verified_images": 4}) for own in all_of_them]
        facts = combine(jobs(len(outcomes)), outcomes, {}).facts
        assert facts["verified_images"] == 4 * len(outcomes)
        own: dict[str, object] = facts["storage"]
        return own

    both = storage(told(100, 100, (0, 900)), told(0, 300, (50, 1000), 0.2))
    assert (both["from_storage"], both["delivered_bytes"], both["whole_bytes"]) == (0.125, 400, 800)
    assert (both["disk_counter"], both["disk_bytes"], both["resident_before"]) == ([0, 1000], 1000, 0.0)
    assert storage(told(100, 100, (0, 1)), told(None, 300, (0, 1)))["from_storage"] is None


def test_decoders_of_all_ranks_are_told_and_their_files_added_up() -> None:
    files = [
        {"bytes_per_file": 9, "files_seen": 5, "files_in_software": why} for why in ({"CMYK": 1}, {"CMYK": 2, "x": 1})
    ]
    decoders = [[{"backend": "hardware", "decoded": count}] for count in (10, 20)]
    told = [{"reader": own, "decoders": by} for own, by in zip(files, decoders, strict=True)]
    facts = combine(jobs(2), [outcome(trace(900.0), facts=own) for own in told], {}).facts
    assert [own["decoded"] for own in facts["decoders"]] == [10, 20]
    assert facts["reader"] == {"bytes_per_file": 9, "files_seen": 10, "files_in_software": {"CMYK": 3, "x": 1}}


def test_windows_that_demand_images_last_until_every_rank_has_them() -> None:
    own = WINDOW.changed(images=100)
    traces = [trace(100.0, ended=9.0), trace(50.0, ended=8.5)]
    total = add_up(traces, own)
    assert (total.begin_s, total.end_s, total.overlap) == (1.0, 8.5, 1.0)
    repeats = common_repeats([outcome(each) for each in traces], traces, own)
    assert [repeat.images for repeat in repeats] == [150, 375, 375, 375]


def test_a_gpu_whose_node_nobody_tells_reads_unknown_not_verified() -> None:
    job = [pipeline(Place(gpus=(99,), cpus=(0,), node=0))]
    found = combine(job, [outcome(trace(900.0), facts={"whereabouts": whereabouts([0], 1.0)})], {})
    assert found.reasons == []
    assert found.unverified == ["NUMA node of GPU 99: unknown, so nobody knows if cores and memory are near"]


@pytest.mark.parametrize(
    ("gpus", "mps", "told"),
    [((0, 0), False, True), ((0, 0), True, False), ((0, 1), False, False), ((0, 0), None, False)],
)
def test_ranks_that_take_turns_on_a_gpu_hear_of_mps(gpus: tuple[int, int], mps: bool | None, told: bool) -> None:
    facts = {"gpus": {str(gpu): {} if mps is None else {"mps": mps} for gpu in gpus}}
    own = [copying(Place(rank=rank, ranks=2, gpus=(gpu,))) for rank, gpu in enumerate(gpus)]
    found = combine(own, [outcome(trace(900.0), facts=facts)] * 2, {})
    assert any("2 ranks took turns on GPU 0: NVIDIA's MPS" in text for text in found.warnings) is told


def test_where_nvml_is_missing_nothing_is_said_of_turns() -> None:
    own = [copying(Place(rank=rank, ranks=2, gpus=(0,))) for rank in range(2)]
    found = combine(own, [outcome(trace(900.0), facts={"gpus": {"missing": "NVML: no mps"}})] * 2, {})
    assert not any("turns" in text for text in found.warnings)
