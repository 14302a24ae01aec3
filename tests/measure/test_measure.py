"""The conductor: every point becomes a Run, whatever becomes of its rank."""

import os
import signal
from dataclasses import replace
from pathlib import Path
from time import sleep

import pytest

from inferkit.dataset.synthetic import make_synthetic
from inferkit.measure.measure import measure
from inferkit.measure.watch import AGAIN, Status
from inferkit.plan.build import plan
from inferkit.records.job import ReadJob
from inferkit.records.params import MakeDataset, SingleProcess, StorageToHost
from inferkit.records.run import NO_PREDICTION, Run
from tests.processes import ranks_below
from tests.verdicts import verdict

TINY = {"warmup_s": 0.05, "duration_s": 0.1, "repeats": 1, "batch_sizes": [8]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_synthetic(MakeDataset(data=str(tmp_path / "tensors"), limit=64, shape=[3, 16, 16], images_per_file=20))
    return tmp_path / "tensors"


def asked(folder: Path, **changes: object) -> StorageToHost:
    return StorageToHost.check({"data": str(folder), **TINY, **changes})


def test_a_run_tells_what_was_asked_measured_and_on_what_machine(folder: Path) -> None:
    (run,) = measure(plan(asked(folder, storage="disk", seed=5)))
    assert (run.notebook, run.measure, run.storage, verdict(run)) == ("03a", "read", "disk", "VALID")
    assert run.params["seed"] == 5
    assert run.host.threads
    assert run.facts["verified_images"] == 32
    assert Run.from_dict(run.to_dict()).to_dict() == run.to_dict()


def test_the_warm_up_is_in_the_record_and_not_in_the_figure(folder: Path) -> None:
    (run,) = measure(plan(asked(folder)))
    warmup, *kept = run.repeats
    assert warmup.warmup
    assert not any(repeat.warmup for repeat in kept)
    assert run.measured is not None
    seconds = sum(repeat.seconds for repeat in kept)
    assert run.measured.images_per_s == pytest.approx(sum(repeat.images for repeat in kept) / seconds)


def test_altered_bytes_fail_the_point_and_name_the_image(folder: Path) -> None:
    file = sorted(folder.glob("*.tensors"))[0]
    content = bytearray(file.read_bytes())
    content[3 * 768 + 5] ^= 1
    file.write_bytes(content)
    (run,) = measure(plan(asked(folder, threads=[1])))
    assert run.verdict == "FAILED"
    assert run.failure is not None
    assert "image 3 " in run.failure.message
    assert file.name in run.failure.message


def test_storage_that_was_memory_is_invalid(folder: Path) -> None:
    (run,) = measure(plan(asked(folder, source="storage")))
    assert run.verdict == "INVALID"
    assert any("page cache" in reason for reason in run.reasons), run.reasons


def test_direct_reads_come_from_storage(folder: Path) -> None:
    (run,) = measure(plan(asked(folder, source="storage", readers=["direct"])))
    assert verdict(run) == "VALID", (run.reasons, run.failure)
    assert run.facts["storage"]["from_storage"] > 0.9


def test_a_short_window_is_invalid_in_a_profile_that_may_be_quoted(folder: Path) -> None:
    (run,) = measure(plan(asked(folder, profile="quick")))
    assert run.verdict == "INVALID"
    assert "duration_s was 0.1 s, profile quick demands 30.0 s" in run.reasons


def test_a_killed_rank_is_a_failed_run_and_the_next_point_goes_on(folder: Path) -> None:
    killed: list[int] = []

    def kill_the_first(status: Status) -> None:
        if status.index == 0 and not killed and status.fraction > 0:
            (rank,) = ranks_below(os.getpid())
            os.kill(rank, signal.SIGKILL)
            killed.append(rank)

    first, second = measure(plan(asked(folder, threads=[1, 2], duration_s=1.0)), kill_the_first)
    assert killed
    assert first.verdict == "FAILED"
    assert first.failure is not None
    assert "SIGKILL" in first.failure.message
    assert verdict(second) == "VALID"
    assert not ranks_below(os.getpid())


def test_a_rank_that_was_stopped_again_and_again_is_not_valid(folder: Path) -> None:
    def hold_up(status: Status) -> None:
        for rank in ranks_below(os.getpid()) if status.fraction > 0 else ():
            os.kill(rank, signal.SIGSTOP)
            sleep(0.3)
            os.kill(rank, signal.SIGCONT)

    (run,) = measure(plan(asked(folder, profile="quick", threads=[1], duration_s=1.2)), hold_up)
    assert run.verdict == "INVALID"
    assert any("work stood still for" in reason for reason in run.reasons), (run.reasons, run.facts)


def test_an_interrupt_records_the_point_and_then_stops(folder: Path) -> None:
    def interrupt(status: Status) -> None:
        if status.fraction > 0:
            raise KeyboardInterrupt

    runs = measure(plan(asked(folder, threads=[1, 2], duration_s=5.0)), interrupt)
    run = next(runs)
    assert run.verdict == "FAILED"
    assert run.failure is not None
    assert run.failure.kind == "KeyboardInterrupt"
    with pytest.raises(KeyboardInterrupt):
        next(runs)
    assert not ranks_below(os.getpid())


@pytest.mark.parametrize("presses", [1, 2])
def test_the_first_ctrl_c_finishes_the_point_and_the_second_ends_it(folder: Path, presses: int) -> None:
    pressed: list[Status] = []

    def press(status: Status) -> None:
        if status.fraction > 0 and len(pressed) < presses:
            pressed.append(status)
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    runs = measure(plan(asked(folder, threads=[1, 2, 3], duration_s=0.8)), press)
    run = next(runs)
    assert [status.stopping for status in pressed] == [False, True][:presses]
    if presses == 1:
        assert verdict(run) == "VALID"
        (left,) = runs
        assert (left.measure, left.verdict) == ("plan", "FAILED")
        assert left.failure is not None
        assert left.failure.message.startswith("stopped by the user: 2 points were not measured")
    else:
        assert run.failure is not None
        assert run.failure.kind == "KeyboardInterrupt"
        with pytest.raises(KeyboardInterrupt):
            next(runs)
    assert signal.getsignal(signal.SIGINT) == before
    assert not ranks_below(os.getpid())


def test_ctrl_c_is_as_before_once_measuring_is_over_or_given_up(folder: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    list(measure(plan(asked(folder))))
    assert signal.getsignal(signal.SIGINT) == before
    runs = measure(plan(asked(folder, threads=[1, 2])))
    next(runs)
    runs.close()  # type: ignore[attr-defined]
    assert signal.getsignal(signal.SIGINT) == before


def test_the_time_left_is_that_of_the_points_still_to_measure(folder: Path) -> None:
    planned = plan(asked(folder, threads=[1, 2]))
    seen: list[Status] = []
    list(measure(planned, seen.append))
    assert max(status.seconds_left for status in seen) <= planned.seconds
    assert [status.seconds_left for status in seen] == sorted((s.seconds_left for s in seen), reverse=True)
    last = planned.points[1].seconds
    assert {round(status.seconds_left, 6) for status in seen if (status.index, status.fraction) == (1, 0.0)} == {
        round(last, 6)
    }


def test_progress_never_goes_back_when_a_ceiling_is_measured_again(folder: Path) -> None:
    asked = {"data": str(folder), "earlier": str(folder), "engines": ["null"], "batch_sizes": [8], "threads": [1]}
    seen: list[Status] = []
    runs = list(measure(plan(SingleProcess.check({**asked, **TINY, "repeats": 2})), seen.append))
    predicts = runs[-1].predicted is not None  # else the machine was too noisy
    assert predicts == ("ceilings_again" in runs[-1].facts) == any(status.note == AGAIN for status in seen)
    done = [(status.index + status.fraction) / status.total for status in seen]
    assert done == sorted(done)
    assert [status.seconds_left for status in seen] == sorted((s.seconds_left for s in seen), reverse=True)


def test_a_network_of_less_precision_is_held_against_float32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    make_synthetic(MakeDataset(data=str(tmp_path / "bytes"), limit=40, shape=[1, 1, 784]))
    values = {"engines": ["onnx"], "models": ["sensor_net"], "precisions": ["float32", "int8"], "readers": ["memory"]}
    asked = {"data": str(tmp_path / "bytes"), **values, **TINY}
    for run in measure(plan(SingleProcess.check(asked))):
        assert verdict(run) == "VALID"
        told = "top1_agreement" in run.facts
        assert told == (run.point.get("precision") == "int8")
        assert 0.5 < run.facts.get("top1_agreement", 1.0) <= 1.0


def test_a_vanished_file_fails_the_point(folder: Path) -> None:
    planned = plan(asked(folder))
    for file in folder.glob("*.tensors"):
        file.unlink()
    (run,) = measure(planned)
    assert run.verdict == "FAILED"
    assert run.failure is not None
    assert ".tensors" in run.failure.message


def test_an_engine_that_cannot_load_fails_its_points_and_the_pipeline_says_what_lacks(folder: Path) -> None:
    planned = plan(SingleProcess.check({"data": str(folder), "earlier": str(folder), "engines": ["null"], **TINY}))
    first, *others = planned.points
    assert isinstance(first.job, ReadJob)
    broken = first.job.changed(reading=first.job.reading.changed(reader="direct", folder=str(folder / "gone")))
    read, copy, pipeline = measure(replace(planned, points=[replace(first, jobs=(broken,)), *others]))
    assert read.verdict == "FAILED"
    assert verdict(pipeline) == "VALID"
    assert set(pipeline.ceilings) == ({"copy"} if copy.verdict == "VALID" else set())
    assert any(warning.startswith(f"{NO_PREDICTION}reading alone") for warning in pipeline.warnings)
