import threading
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inferkit.pipeline import timeline as timeline_module
from inferkit.pipeline.batch_sample import MOST_KEPT, SAMPLE
from inferkit.pipeline.timeline import DONE, IMAGES, MOST_HELD, NBYTES, TIMES, Timeline
from inferkit.ranks.group_timeline import MOST_STEPS, GroupTimeline
from inferkit.records.figures import Stage
from inferkit.records.outcome import RankProgress
from inferkit.records.windows import Window
from tests.clock import Clock
from tests.pipeline.conftest import ignore

START = 7_000_000_000_123  # whose distances are no round floats
MS = 1_000_000


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock[int]:
    clock = Clock(START)
    monkeypatch.setattr(timeline_module, "monotonic_ns", clock)
    return clock


def complete(timeline: Timeline, clock: Clock[int], at_ms: float, took_ms: float = 10, images: int = 4) -> bool:
    """Complete a batch whose one stage ended at that time."""
    clock.now = START + round(at_ms * MS)
    return timeline.add(images, images * 100, clock.now - round(took_ms * MS), clock.now)


@pytest.fixture
def measured(clock: Clock[int]) -> Timeline:
    """Give two windows of 2 s after a warm-up of 1 s, a batch every 0.3 s; those of the warm-up took long."""
    timeline = Timeline(Window(warmup_s=1, duration_s=2, repeats=2), ("read",), ignore)
    ended = [complete(timeline, clock, 300 * k, 250 if k <= 4 else 10 * k) for k in range(1, 19)]
    assert ended == [False] * 17 + [True]
    return timeline


def test_windows_begin_and_end_with_completions(measured: Timeline) -> None:
    warmup, first, second = measured.repeats
    assert (warmup.warmup, first.warmup, second.warmup) == (True, False, False)
    assert (warmup.start_s, warmup.seconds) == (0, 1.2)  # the first completion after 1 s
    assert (first.start_s, first.seconds) == (1.2, 2.1)
    assert (second.start_s, second.seconds) == (3.3, 2.1)
    assert [repeat.batches for repeat in measured.repeats] == [4, 7, 7]
    assert [repeat.images for repeat in measured.repeats] == [16, 28, 28]
    assert [repeat.nbytes for repeat in measured.repeats] == [1600, 2800, 2800]
    assert first.images_per_s == pytest.approx(4 / 0.3)


def test_stages_exclude_the_warm_up(measured: Timeline) -> None:
    stage = measured.summarise({"read": 2})["read"]
    took = [0.01 * k for k in range(5, 19)]
    busy_s = sum(took) / 2
    assert stage.workers == 2
    assert stage.images_per_s == pytest.approx(56 / busy_s)
    assert stage.bytes_per_s == pytest.approx(5600 / busy_s)
    assert stage.busy == pytest.approx(busy_s / 4.2)
    assert stage.quantiles is not None
    assert stage.quantiles.p50_s == pytest.approx(0.115)
    assert stage.quantiles.max_s == pytest.approx(0.18)
    assert stage.histogram is not None
    assert sum(stage.histogram.counts) == 14
    assert stage.histogram.edges_s[0] <= 0.05 * 1.001


def test_only_the_stages_that_are_asked_for(measured: Timeline) -> None:
    assert measured.summarise({}) == {}


def test_series_cover_the_warm_up_too(measured: Timeline) -> None:
    series = measured.series()
    assert series["images_per_s"].values == pytest.approx([4 / 0.3] * 5)
    assert series["images_per_s"].unit == "images/s"


def test_a_series_is_of_bytes_where_there_are_no_images(clock: Clock[int]) -> None:
    timeline = Timeline(Window(warmup_s=1.0, duration_s=10.0, repeats=1), ("copy",), ignore)
    for k in range(1, 11):
        clock.now = START + 300 * k * MS
        timeline.add(0, 400, clock.now - 10 * MS, clock.now)
    series = timeline.series()
    assert {name: each.unit for name, each in series.items()} == {"bytes_per_s": "bytes/s"}
    assert series["bytes_per_s"].values == pytest.approx([400 / 0.3] * 3)


def test_a_bin_of_the_series_is_no_shorter_than_a_batch(clock: Clock[int]) -> None:
    timeline = Timeline(Window(warmup_s=2.5, duration_s=10.0, repeats=1), ("read",), ignore)
    for k in range(1, 6):
        complete(timeline, clock, 2500 * k)
    series = timeline.series()["images_per_s"]
    assert series.step_s == 3.0
    assert series.values == pytest.approx([4 / 2.5] * 4)


def test_nothing_measured_yet(clock: Clock[int]) -> None:
    timeline = Timeline(Window(warmup_s=1), ("read",), ignore)
    complete(timeline, clock, 1100)
    assert len(timeline.repeats) == 1
    assert timeline.summarise({"read": 1}) == {}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.integers(1, 400 * MS), min_size=60, max_size=120),
    st.integers(0, 10**15),
    st.integers(1, 5),
)
def test_every_batch_of_the_windows_counts_once(clock: Clock[int], gaps: list[int], origin: int, repeats: int) -> None:
    clock.now = origin
    timeline = Timeline(Window(warmup_s=0.5, duration_s=1.0, repeats=repeats), ("read",), ignore)
    for gap in gaps:
        clock.now += gap
        if timeline.add(1, 10, clock.now - gap, clock.now):
            break
    else:
        return
    kept = timeline.repeats[1:]
    stage = timeline.summarise({"read": 1})["read"]
    assert stage.histogram is not None
    assert sum(stage.histogram.counts) == sum(repeat.batches for repeat in kept)
    # Batches follow one another without a gap, so that a stage is always at work.
    assert stage.busy == pytest.approx(1.0)
    assert stage.images_per_s == pytest.approx(sum(r.images for r in kept) / sum(r.seconds for r in kept))
    for before, after in zip(timeline.repeats, kept, strict=False):
        assert before.start_s + before.seconds == pytest.approx(after.start_s)


def test_window_goes_on_until_it_has_its_images(clock: Clock[int]) -> None:
    timeline = Timeline(Window(warmup_s=0.1, duration_s=0.1, repeats=1, images=40), ("read",), ignore)
    assert [complete(timeline, clock, 100 * k) for k in range(1, 12)] == [False] * 10 + [True]
    assert [repeat.images for repeat in timeline.repeats] == [4, 40]


def test_bare_copies_have_no_images_to_wait_for(clock: Clock[int]) -> None:
    timeline = Timeline(Window(warmup_s=0.1, duration_s=0.1, repeats=1, images=24_576), ("copy",), ignore)
    clock.now += 100 * MS
    assert not timeline.add(0, 100, START, clock.now)
    clock.now += 100 * MS
    assert timeline.add(0, 100, START, clock.now)
    stage = timeline.summarise({"copy": 1})["copy"]
    assert stage.images_per_s is None
    assert stage.bytes_per_s == pytest.approx(100 / 0.2)
    assert "images_per_s" not in timeline.series()


def test_no_repeats_is_over_after_the_warm_up(clock: Clock[int]) -> None:
    timeline = Timeline(Window(warmup_s=0.0, repeats=0), ("read",), ignore)
    assert complete(timeline, clock, 1)


def test_tells_progress_five_times_a_second(clock: Clock[int]) -> None:
    told: list[RankProgress] = []
    timeline = Timeline(Window(warmup_s=1, duration_s=1, repeats=1), ("read",), told.append)
    for k in range(1, 101):
        complete(timeline, clock, 10 * k)
    assert [round(progress.fraction, 3) for progress in told] == [0.105, 0.21, 0.315, 0.42]
    assert told[0].images_per_s == pytest.approx(400)
    assert told[0].bytes_per_s == pytest.approx(40_000)
    for k in range(101, 150):
        complete(timeline, clock, 10 * k)
    assert told[-1].images_per_s == pytest.approx(400)  # of the window under way, not of the warm-up


def test_stages_keep_their_own_times(clock: Clock[int]) -> None:
    timeline = Timeline(Window(warmup_s=0.1, duration_s=0.1, repeats=1), ("read", "copy", "infer"), ignore)
    for at in (100, 200):
        clock.now = now = START + at * MS
        timeline.add(4, 400, now - 60 * MS, now - 40 * MS, now - 30 * MS, now - 20 * MS, now - 20 * MS, now - 15 * MS)
    stages = timeline.summarise({"read": 1, "infer": 1})
    assert list(stages) == ["read", "infer"]
    medians: Callable[[str], float] = lambda name: stages[name].quantiles.p50_s  # type: ignore[union-attr]  # noqa: E731
    assert medians("read") == pytest.approx(0.02)
    assert medians("infer") == pytest.approx(0.005)


def inferring(batches: list[tuple[float, float, int]], clock: Clock[int]) -> Stage:
    """Return what inference did in a window of 100 ms, of batches' starts and ends in it (ms), and their devices."""
    clock.now = START
    timeline = Timeline(Window(warmup_s=0.0, duration_s=0.1, repeats=1), ("infer",), ignore)
    timeline.add(1, 1, START, START, device=batches[0][2])
    for start, end, device in batches:
        ended = START + round(end * MS)
        clock.now = max(clock.now, ended)  # batches are completed in the order in which they are inferred
        timeline.add(1, 100, START + round(start * MS), ended, device=device)
    assert len(timeline.repeats) == 2
    return timeline.summarise({"infer": 4})["infer"]


@pytest.mark.parametrize(
    ("batches", "busy"),
    [
        ([(0, 40, 7), (50, 90, 7), (90, 100, 7)], 0.9),  # with a pause of 10 ms
        ([(0, 60, 7), (30, 80, 7), (70, 100, 7)], 1.0),  # of two contexts one is at work, or both
        ([(0, 60, 7), (10, 50, 7), (90, 100, 7)], 0.7),  # one within another
        ([(0, 50, 7), (0, 100, 8)], 0.75),  # two devices
        ([(0, 50, 7), (25, 75, 7), (90, 98, 7), (0, 100, 8)], 0.915),
    ],
)
def test_a_device_is_at_work_while_it_infers_one_batch_or_more(
    batches: list[tuple[float, float, int]], busy: float, clock: Clock[int]
) -> None:
    stage = inferring(batches, clock)
    assert stage.busy == pytest.approx(busy)
    assert stage.images_per_s == pytest.approx(len(batches) / (busy * 0.1))
    assert stage.workers == 4


def after(gaps_ms: list[float], clock: Clock[int], lanes: int = 1, duration_s: float = 2.0) -> dict[str, float]:
    """Return the pauses of a run whose one window begins with the first completion and has these gaps."""
    clock.now = START
    timeline = Timeline(Window(warmup_s=0.0, duration_s=duration_s, repeats=1), ("read",), ignore)
    timeline.lanes = lanes
    ended = [complete(timeline, clock, float(at)) for at in np.cumsum([1.0, *gaps_ms])]
    assert ended[-1]
    return timeline.pauses()


def test_a_steady_run_never_stands_still(clock: Clock[int]) -> None:
    found = after([10.0] * 200, clock)
    assert found["usual_s"] == found["longest_s"] == pytest.approx(0.01)
    assert found["stood_s"] == found["stood"] == 0


@pytest.mark.parametrize("lanes", [1, 4])
def test_stopped_for_four_fifths_of_the_time(clock: Clock[int], lanes: int) -> None:
    found = after([1.0] * 9 + [81.0] + ([1.0] * 19 + [81.0]) * 20, clock, lanes)
    assert found["usual_s"] == pytest.approx(0.001 * lanes)
    assert found["stood"] == pytest.approx(0.81, abs=0.02)
    assert found["longest_s"] == pytest.approx(0.081)


def test_slow_batches_are_no_stops(clock: Clock[int]) -> None:
    assert after([1000.0, 700.0, 2500.0, 1000.0], clock)["stood"] == 0
    assert after([1000.0] * 9 + [11_000.0], clock, duration_s=15.0)["stood"] == pytest.approx(11 / 20)


def test_batches_that_are_completed_together_are_no_stops(clock: Clock[int]) -> None:
    together = [1.0, 1.0, 1.0, 97.0] * 25
    assert after(together, clock, lanes=4)["stood"] == 0
    assert after(together, clock, lanes=1)["stood"] > 0.9


def test_a_stop_in_one_window_is_not_thinned_out_by_the_others(clock: Clock[int]) -> None:
    timeline = Timeline(Window(warmup_s=0.0, duration_s=2.0, repeats=3), ("read",), ignore)
    timeline.lanes = 1
    for at in np.cumsum([1.0, *[10.0] * 250, 500.0, *[10.0] * 320]):
        complete(timeline, clock, float(at))
    found = timeline.pauses()
    assert found["stood_s"] == pytest.approx(0.5)
    assert found["stood"] == pytest.approx(0.25, abs=0.01)


def test_of_a_window_of_milliseconds_a_pause_is_a_small_share(clock: Clock[int]) -> None:
    assert after([1.0] * 50 + [60.0], clock, duration_s=0.1)["stood"] == pytest.approx(0.06)


def run_through(clock: Clock[int], window: Window, gap_ms: Callable[[float], float]) -> Timeline:
    """Complete batches, ``gap_ms`` (by the seconds since the start) apart, until the timeline has enough."""
    clock.now = START
    timeline = Timeline(window, ("read",), ignore)
    at = 0.0
    while True:
        at += gap_ms(at / 1e3)
        if complete(timeline, clock, at):
            return timeline


WANTED = Window(warmup_s=1, duration_s=1, repeats=3, target=0.02, longest_s=9)


def test_a_steady_figure_has_no_error(clock: Clock[int]) -> None:
    timeline = run_through(clock, WANTED, lambda _: 10)
    assert len(timeline.repeats) == 4
    assert timeline.repeats[0].seconds == pytest.approx(1.0, abs=0.011)
    figure = timeline.figure()
    assert figure is not None
    assert figure.images_per_s == pytest.approx(400)
    assert figure.half_width == pytest.approx(0, abs=1e-6)
    assert figure.block_s is not None
    assert timeline.warnings() == []


def test_what_is_not_steady_has_an_error_that_says_so(clock: Clock[int]) -> None:
    timeline = run_through(clock, WANTED, lambda s: 15 if 1 < s < 2.5 else 10)
    figure = timeline.figure()
    assert len(timeline.repeats) == 4
    assert figure is not None
    assert figure.half_width is not None
    assert figure.half_width > WANTED.target


def test_a_warm_up_goes_on_while_the_rate_drifts(clock: Clock[int]) -> None:
    timeline = run_through(clock, WANTED, lambda s: max(10, 30 - 10 * s))
    assert 2 < timeline.repeats[0].seconds < 4
    assert timeline.warnings() == []
    fixed = run_through(clock, WANTED.changed(target=0), lambda s: max(10, 30 - 10 * s))
    assert fixed.repeats[0].seconds == pytest.approx(1.0, abs=0.03)


def test_a_warm_up_has_an_end_and_drift_is_told(clock: Clock[int]) -> None:
    timeline = run_through(clock, WANTED, lambda s: 30 - s)
    assert timeline.repeats[0].seconds == pytest.approx(4.0, abs=0.3)
    (warning,) = timeline.warnings()
    assert warning.startswith("drift: the rate rose by ")


def told_of(clock: Clock[int], stages: tuple[str, ...], *batches: tuple[int, ...]) -> list[RankProgress]:
    """Complete batches, each the ends of its stages in ms since the start, one after another; return what was told."""
    told: list[RankProgress] = []
    timeline = Timeline(Window(warmup_s=100), stages, told.append)
    for times in batches:
        clock.now = START + times[-1] * MS
        timeline.add(4, 400, *(START + at * MS for at in times))
    return told


def test_progress_tells_what_was_completed_since_it_was_told_last(clock: Clock[int]) -> None:
    first, second = told_of(clock, ("read",), (0, 100), (50, 250), (200, 300), (240, 500))
    assert (first.latest.images_per_s, first.latest.bytes_per_s) == (32.0, 3200.0)
    assert second.latest.images_per_s == 32.0
    assert first.latest.batches == {"read": pytest.approx((100 + 200) / 250), "wait": 0.0}


def test_progress_tells_where_batches_spend_their_time_and_counts_it_once(clock: Clock[int]) -> None:
    """Read, a wait of 50 ms for the copy; the engine infers nothing and has the copy's span."""
    (told,) = told_of(clock, ("read", "copy", "infer", "out"), (0, 100, 150, 250, 150, 250, 150, 250))
    assert told.latest.batches == {"read": 0.4, "copy": 0.4, "infer": 0.0, "out": 0.0, "wait": pytest.approx(0.2)}


def test_a_pipeline_without_stages_tells_its_rate_alone(clock: Clock[int]) -> None:
    told: list[RankProgress] = []
    timeline = Timeline(Window(warmup_s=100), (), told.append)
    clock.now = START + 500 * MS
    timeline.add(4, 400)
    assert (told[0].latest.batches, told[0].latest.images_per_s) == ({}, 8.0)


def held(thing: object, seen: set[int] | None = None) -> int:
    """Count the numbers that an object of ours keeps, in arrays and in lists of any depth."""
    seen = set() if seen is None else seen
    if id(thing) in seen:
        return 0
    seen.add(id(thing))
    if isinstance(thing, np.ndarray):
        return thing.size
    if isinstance(thing, bytearray):
        return len(thing) // 8
    if isinstance(thing, dict):
        return sum(held(value, seen) for value in thing.values())
    if isinstance(thing, list | tuple):
        return len(thing) + sum(held(value, seen) for value in thing)
    own = getattr(thing, "__dict__", {}) if type(thing).__module__.startswith("inferkit") else {}
    return held(own, seen) if own else 0


def feed(timeline: Timeline, clock: Clock[int], batches: int, gap_ns: int) -> None:
    """Complete batches of one lot after another, as add() does, without a call for each."""
    for _ in range(0, batches, MOST_HELD):
        rows = timeline._rows
        rows[:, DONE] = clock.now + gap_ns * np.arange(1, MOST_HELD + 1)
        rows[:, [IMAGES, NBYTES]] = 4, 400
        rows[:, TIMES:] = rows[:, :1] - np.array([3, 2, 2, 1]) * gap_ns
        timeline._held = MOST_HELD
        timeline._window_images += 4 * MOST_HELD
        timeline._window_nbytes += 400 * MOST_HELD
        timeline._sum_up()
        clock.now = int(rows[-1, DONE])


@pytest.mark.parametrize(
    ("of_several", "batches"), [pytest.param(False, 10**7, marks=pytest.mark.slow), (False, 10**6), (True, 10**6)]
)
def test_millions_of_batches_take_no_more_memory_than_few(clock: Clock[int], of_several: bool, batches: int) -> None:
    stages, gap_ns = ("read", "copy"), 3700 * 10**9 // batches
    timeline = Timeline(Window(warmup_s=0.0, duration_s=3600.0, repeats=1), stages, ignore)
    if of_several:
        agreed = (clock.now, lambda: None, threading.Event())
        timeline = GroupTimeline(timeline.window, stages, ignore, *agreed)
    timeline.add(4, 400, *[clock.now] * 4)
    assert len(timeline.repeats) == 1
    feed(timeline, clock, 20_000, gap_ns)
    before = held(timeline)
    feed(timeline, clock, batches, gap_ns)
    assert held(timeline) - before <= MOST_KEPT * 12  # of the sample
    assert held(timeline) < 400_000
    clock.now += gap_ns
    timeline.add(4, 400, *[clock.now - gap_ns, clock.now] * 2)
    (repeat,) = timeline.repeats[1:]
    assert repeat.batches > batches
    stage = timeline.summarise({"read": 1})["read"]
    assert stage.quantiles is not None
    assert stage.quantiles.p99_s == pytest.approx(gap_ns / 1e9)
    figure = timeline.figure()
    assert figure is not None
    assert figure.images_per_s == pytest.approx(4e9 / gap_ns)
    assert figure.half_width == pytest.approx(0, abs=1e-3)
    assert len(timeline.sample(stages)["copy"].split()) == SAMPLE
    if isinstance(timeline, GroupTimeline):
        assert len(timeline.trace().images) <= MOST_STEPS + 2
