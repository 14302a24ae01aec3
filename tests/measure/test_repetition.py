"""Windows, each in a process of its own: how many, what they are put together to, and that cold files stay cold."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from inferkit.linux.page_cache import resident_share
from inferkit.machine.holders import holder
from inferkit.measure.measure import measure
from inferkit.measure.repetition import together, until_steady
from inferkit.plan.build import plan
from inferkit.plan.points import Point
from inferkit.ranks.launch import RankFailure, launch
from inferkit.records.figures import Figure, Json, Repeat, Series, Stage
from inferkit.records.job import CopyJob, DeviceOptions, Job, ReadJob, ReadOptions, reading_of
from inferkit.records.outcome import Outcome
from inferkit.records.params import StorageToHost
from inferkit.records.windows import Window
from tests.conftest import MakeTensors

WINDOW = Window(warmup_s=1.0, duration_s=2.0, repeats=3, target=0.1, longest_s=60.0)
READING = ReadOptions(reader="buffered", folder="/data", verify_batches=4)


def outcome(rate: float = 100.0, half_width: float | None = 0.01, seconds: float = 2.5, **facts: Json) -> Outcome:
    windows = [
        Repeat(start_s=0.0, seconds=1.0, images=90, nbytes=900, batches=9, warmup=True),
        Repeat(start_s=1.0, seconds=seconds - 1, images=150, nbytes=1500, batches=15),
    ]
    return Outcome(
        repeats=windows,
        stages={"read": Stage(images_per_s=2 * rate, busy=0.5, workers=3)},
        series={"images_per_s": Series(unit="images/s", values=[rate, rate])},
        facts=facts,
        measured=Figure(images_per_s=rate, bytes_per_s=10 * rate, half_width=half_width, block_s=0.1),
    )


def point(window: Window = WINDOW, reading: ReadOptions = READING) -> Point:
    return Point("read", {}, (ReadJob(window=window, reading=reading),))


class Processes:
    """Answers with one outcome after another, and keeps what was asked."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.asked: list[Sequence[Job]] = []
        self._answers: Iterator[Outcome] = iter(outcomes)

    def __call__(self, jobs: Sequence[Job], nth: int) -> Outcome:
        assert nth == len(self.asked)
        self.asked.append(jobs)
        return next(self._answers)


def test_each_window_is_measured_by_a_process_of_its_own() -> None:
    processes = Processes(outcome(99), outcome(100), outcome(101))
    found = until_steady(point(), processes)
    assert [jobs[0].window.repeats for jobs in processes.asked] == [1, 1, 1]
    assert found.measured is not None
    assert found.measured.images_per_s == pytest.approx(100)
    assert found.measured.bytes_per_s == pytest.approx(1000)
    assert found.measured.half_width == pytest.approx(4.303 / 3**0.5 / 100, rel=1e-3)
    assert found.measured.block_s == 1.5  # a whole window's: what lies between them is the wider
    assert found.facts["processes"] == [99, 100, 101]
    assert found.others == [outcome(100), outcome(101)]


def test_processes_are_added_until_the_figure_is_steady() -> None:
    """Three that scatter by a fifth, then more that agree."""
    rates = [80.0, 100.0, 120.0, *[100.0] * 20]
    found = until_steady(point(), Processes(*map(outcome, rates)))
    assert found.measured is not None
    assert found.measured.half_width is not None
    assert found.measured.half_width <= 0.1
    assert 5 < 1 + len(found.others) < 20


@pytest.mark.parametrize("longest_s", [0.0, 12.0])
def test_none_is_added_that_would_take_too_long(monkeypatch: pytest.MonkeyPatch, longest_s: float) -> None:
    """Each takes four seconds, by a clock that is looked at before and after."""
    now = iter(range(0, 1000, 4))
    monkeypatch.setattr("inferkit.measure.repetition.monotonic", lambda: next(now))
    wild = Processes(*(outcome(rate) for rate in (10.0, 100.0) * 9))
    until_steady(point(WINDOW.changed(longest_s=longest_s)), wild)
    assert len(wild.asked) == 3


def test_copies_and_what_has_no_figure_are_measured_in_one_process() -> None:
    copies = Point("copy", {}, (CopyJob(window=WINDOW, device=DeviceOptions(), nbytes=64),))
    for own in (copies, point(WINDOW.changed(target=0.0))):
        processes = Processes(outcome())
        assert until_steady(own, processes) == outcome()
        assert processes.asked == [own.jobs]
        assert own.processes == 1


def test_only_the_first_process_verifies_and_those_after_it_find_the_files_as_cold() -> None:
    for share, cold in ((1.0, True), (0.5, False), (None, False)):
        processes = Processes(*[outcome(storage={"from_storage": share})] * 3)
        until_steady(point(), processes)
        asked = [reading_of(jobs[0]) for jobs in processes.asked]
        assert [own.verify_batches for own in asked if own] == [4, 0, 0]
        assert [own.cold for own in asked if own] == [False, cold, cold]


def test_each_process_reads_on_where_those_before_it_ended() -> None:
    """One that began anew would read what caches of drives and servers hold since."""
    processes = Processes(*[outcome()] * 3)
    until_steady(point(reading=READING.changed(threads=2)), processes)
    images = sum(repeat.images for repeat in outcome().repeats)
    skipped = [own.skip for jobs in processes.asked if (own := reading_of(jobs[0]))]
    assert skipped == [0, images // 2, images]


def test_windows_and_series_of_all_processes_lie_one_behind_another() -> None:
    found = together([outcome(1.0), outcome(2.0, seconds=3.5), outcome(3.0)])
    assert [(repeat.start_s, repeat.warmup) for repeat in found.repeats] == [
        (0.0, True), (1.0, False), (3.0, False), (6.0, False)
    ]  # fmt: skip
    assert found.series["images_per_s"].values == [1.0, 1.0, None, 2.0, None, None, 3.0]


def test_series_in_other_steps_are_told_in_the_longest() -> None:
    fine, coarse = outcome(), outcome()
    fine = fine.model_copy(update={"series": {"w": Series(unit="W", values=[1.0, 3.0, 5.0])}})
    coarse = coarse.model_copy(update={"series": {"w": Series(unit="W", step_s=2.0, values=[7.0, 8.0])}})
    (series,) = together([fine, coarse]).series.values()
    assert (series.step_s, series.values) == (2.0, [2.0, 5.0, 7.0, 8.0])
    nothing = coarse.model_copy(update={"series": {}})
    assert together([fine, nothing]).series["w"].values == [1.0, 3.0, 5.0]


def test_processes_that_agree_have_the_error_of_what_is_inside_them() -> None:
    found = together([outcome()] * 4)
    assert found.measured is not None
    assert found.measured.half_width == pytest.approx(0.005)
    assert found.measured.block_s == 0.1


def test_processes_too_short_for_a_step_are_told_by_their_figures() -> None:
    short = [outcome(rate, seconds=1.1) for rate in (1.0, 2.0)]
    short = [own.model_copy(update={"series": {"images_per_s": Series(unit="images/s", values=[])}}) for own in short]
    assert together(short).series["images_per_s"].values == [1.0, None, 2.0]


def test_a_stage_is_the_mean_of_the_processes() -> None:
    stage = together([outcome(100.0), outcome(300.0)]).stages["read"]
    assert (stage.images_per_s, stage.busy, stage.workers) == (400.0, 0.5, 3)


@pytest.mark.parametrize("name", ["ranks", "nodes"])
def test_ranks_and_nodes_reach_their_mean(name: str) -> None:
    first, second = ([{"name": "a", "rate": rate}, {"name": "b", "rate": rate + 2}] for rate in (10.0, 20.0))
    found = together(
        [
            own.model_copy(update={"facts": {name: told}})
            for own, told in zip([outcome()] * 2, (first, second), strict=True)
        ]
    )
    assert found.facts[name] == [{"name": "a", "rate": 15.0}, {"name": "b", "rate": 17.0}]


def test_one_whose_error_is_unknown_leaves_that_of_their_scatter() -> None:
    found = together([outcome(half_width=None), outcome(), outcome()])
    assert found.measured is not None
    assert found.measured.half_width == 0.0


def test_a_process_that_fails_fails_the_point() -> None:
    def fails(jobs: Sequence[Job], nth: int) -> Outcome:
        if nth:
            raise RankFailure("gone", "RankError", "")
        return outcome()

    with pytest.raises(RankFailure, match="gone"):
        until_steady(point(), fails)


def test_a_record_tells_what_each_process_reached(make_dataset: MakeTensors) -> None:
    folder = make_dataset((40, 40), (3, 32, 32)).dataset.folder
    values = {"data": str(folder), "warmup_s": 0.05, "duration_s": 0.1, "repeats": 3, "batch_sizes": [4]}
    shape = {"dtype": "uint8", "shape": [3, 32, 32]}
    (run,) = measure(plan(StorageToHost.check({**values, **shape})))
    assert run.measured is not None
    assert len(run.facts["processes"]) >= 3  # more on a busy machine, until it is steady
    mean = sum(run.facts["processes"]) / len(run.facts["processes"])
    assert run.measured.images_per_s == pytest.approx(mean)
    assert [repeat.warmup for repeat in run.repeats].count(True) == 1


@pytest.mark.parametrize("cold", [False, True])
def test_files_are_cold_where_they_are_to_be(tmp_path: Path, make_dataset: MakeTensors, cold: bool) -> None:
    folder = make_dataset((200, 200), (3, 32, 32)).dataset.folder
    files = sorted(Path(str(folder)).glob("*.tensors"))
    if holder(tmp_path).kind != "disk":
        pytest.skip(f"{tmp_path} lies on {holder(tmp_path)}")
    for file in files:
        file.read_bytes()
    assert resident_share(files) == 1.0
    reading = ReadOptions(
        reader="buffered", folder=str(folder), dtype="uint8", shape=(3, 32, 32), batch_size=4, cold=cold
    )
    with launch(ReadJob(window=Window(warmup_s=0.05, duration_s=0.1, repeats=1), reading=reading)) as rank:
        rank.wait(60)
        rank.start()
        assert rank.result(60).facts["storage"]["resident_before"] == (0.0 if cold else 1.0)
