"""Ranks are real processes here."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic, monotonic_ns, sleep

import pytest

from inferkit.errors import RankError
from inferkit.machine import watchdog
from inferkit.machine.affinity import Binding
from inferkit.ranks import launch as launch_module
from inferkit.ranks.launch import STDERR_KEPT, Handle, RankFailure, launch
from inferkit.records.job import CopyJob, DeviceOptions, PipelineJob, ReadJob, ReadOptions
from inferkit.records.windows import Window
from tests.conftest import MakeTensors
from tests.pipeline.conftest import SHORT

LONG = Window(warmup_s=600.0)
PATIENCE_S = 30.0


def copying(window: Window = SHORT, memory: str = "pageable") -> CopyJob:
    return CopyJob(window=window, device=DeviceOptions(), nbytes=65536, host_memory=memory)


def reading(folder: str, reader: str = "buffered") -> ReadOptions:
    return ReadOptions(reader=reader, folder=folder, dtype="uint8", shape=(3, 5, 7), batch_size=4)


def until(condition: Callable[[], bool]) -> None:
    """Wait until something becomes true, in a process that may be slow to start."""
    end = monotonic() + PATIENCE_S
    while not condition():
        assert monotonic() < end
        sleep(0.01)


def gone(pid: int) -> bool:
    """Tell whether there is no such process any more, not even a zombie."""
    return not Path(f"/proc/{pid}").exists()


def measuring(rank: Handle) -> None:
    until(rank.ready)
    rank.start()
    until(lambda: rank.progress is not None)


pytestmark = pytest.mark.usefixtures("nothing_left_behind")


def test_result(make_dataset: MakeTensors) -> None:
    known = make_dataset((20, 20))
    with launch(ReadJob(window=SHORT, reading=reading(str(known.dataset.folder)))) as rank:
        assert not gone(rank.pid)
        until(rank.ready)
        assert not rank.answered()
        at = monotonic_ns() + 50_000_000
        rank.start(at)
        outcome = rank.result(PATIENCE_S)
        assert monotonic_ns() > at + (SHORT.seconds * 1e9)
        assert rank.answered()
    assert [repeat.warmup for repeat in outcome.repeats] == [True, False, False]
    assert outcome.repeats[1].images > 0
    assert set(outcome.series) <= {"images_per_s", "bytes_per_s", "host_cpu", "foreign_cpu"}
    assert gone(rank.pid)


def test_failure_keeps_kind_and_traceback() -> None:
    with launch(ReadJob(window=SHORT, reading=reading("/nowhere"))) as rank:
        until(rank.ready)
        rank.start()
        with pytest.raises(RankFailure, match="/nowhere is not a folder") as failure:
            rank.result(PATIENCE_S)
    assert failure.value.kind == "DatasetError"
    assert failure.value.detail.startswith("Traceback (most recent call last)")
    assert "open_dataset" in failure.value.detail
    assert isinstance(failure.value, RankError)
    assert gone(rank.pid)


def test_killed_from_outside() -> None:
    with launch(copying(LONG)) as rank:
        measuring(rank)
        os.kill(rank.pid, signal.SIGKILL)
        with pytest.raises(RankFailure, match=rf"rank {rank.pid} was killed by SIGKILL \(out of memory\?\)") as failure:
            rank.result(PATIENCE_S)
        assert failure.value.kind == "RankError"
    assert gone(rank.pid)


def test_shared_memory_has_no_name_that_could_be_left() -> None:
    with launch(copying(LONG, "mapped")) as rank:
        measuring(rank)
        maps = Path(f"/proc/{rank.pid}/maps").read_text()
        assert "memfd:inferkit" in maps
        assert "/dev/shm" not in maps


def test_stopped() -> None:
    with launch(copying(LONG)) as rank:
        measuring(rank)
        progress = rank.progress
        assert progress is not None
        assert progress.bytes_per_s > 0
        assert 0 <= progress.fraction < 1
        rank.stop()
        assert gone(rank.pid)
        with pytest.raises(RankFailure, match=f"rank {rank.pid} was stopped"):
            rank.result(PATIENCE_S)
        rank.stop()


def test_handle_closed_while_the_rank_still_starts() -> None:
    with launch(copying()) as rank:
        pass
    assert gone(rank.pid)
    rank.close()


def test_rank_ends_when_its_parent_hangs_up() -> None:
    with launch(copying(LONG)) as rank:
        measuring(rank)
        assert rank._process.stdin is not None
        rank._process.stdin.close()
        until(lambda: rank._process.poll() is not None)
        with pytest.raises(RankFailure, match="ended with exit code 1 and no result"):
            rank.result(PATIENCE_S)


def test_rank_ends_when_its_parent_hangs_up_before_it_began() -> None:
    with launch(copying(LONG)) as rank:
        until(rank.ready)
        assert rank._process.stdin is not None
        rank._process.stdin.close()
        until(lambda: rank._process.poll() is not None)


@pytest.mark.parametrize("begun", [True, False])
def test_no_rank_outlives_a_killed_parent(begun: bool) -> None:
    code = (
        "import sys, time; from inferkit.records.job import JOB; from inferkit.ranks.launch import launch\n"
        "rank = launch(JOB.validate_json(sys.argv[1])); print(rank.pid, flush=True)\n"
        "while not rank.ready(): time.sleep(0.01)\n"
        f"if {begun}: rank.start()\n"
        f"while {begun} and rank.progress is None: time.sleep(0.01)\n"
        "print('measuring', flush=True); time.sleep(600)\n"
    )
    command = [sys.executable, "-c", code, copying(LONG).model_dump_json()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert parent.stdout.readline() == "measuring\n"
        assert not gone(pid)
        parent.kill()
    until(lambda: gone(pid))


def test_crash_keeps_the_end_of_its_standard_error() -> None:
    with launch(ReadJob(window=SHORT, reading=ReadOptions(dtype="nonsense", shape=(1,)))) as rank:
        until(rank.ready)
        with pytest.raises(RankFailure, match="ended with exit code 1 and no result") as failure:
            rank.result(PATIENCE_S)
    assert failure.value.detail.endswith("TypeError: data type 'nonsense' not understood")


def test_an_unknown_reader_is_a_failure_that_names_those_there_are() -> None:
    with launch(ReadJob(window=SHORT, reading=reading("", "nonsense"))) as rank:
        until(rank.ready)
        with pytest.raises(RankFailure, match="'nonsense' is none: use memory, buffered, ") as failure:
            rank.result(PATIENCE_S)
    assert failure.value.kind == "ParameterError"


def test_truncated_mapped_file_is_explained(make_dataset: MakeTensors, shm: Path) -> None:
    known = make_dataset((4000,), folder=shm)
    mapped = reading(str(known.dataset.folder), "mapped")
    with launch(PipelineJob(window=LONG, device=DeviceOptions(), reading=mapped)) as rank:
        measuring(rank)
        os.truncate(known.dataset.path(0), 0)
        with pytest.raises(RankFailure, match=r"killed by SIGBUS \(a mapped file was truncated: .*holds 0 bytes"):
            rank.result(PATIENCE_S)


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], Handle]:
    """Launch a shell script in place of a rank; it has read its job."""

    def start(script: str) -> Handle:
        path = tmp_path / "pretended-rank"
        path.write_text(f"#!/bin/sh\nread job\n{script}\n")
        path.chmod(0o700)
        monkeypatch.setattr(launch_module, "rank_binding", lambda place: Binding(prefix=(str(path),)))
        return launch(copying())

    return start


def test_killed_while_it_speaks(pretend: Callable[[str], Handle]) -> None:
    with pretend("""printf '{"event": "result", "outco'; kill -9 $$""") as rank:
        until(rank.ready)
        with pytest.raises(RankFailure, match="killed by SIGKILL"):
            rank.result(PATIENCE_S)


def test_hanging_rank_is_stopped_in_time(pretend: Callable[[str], Handle]) -> None:
    with pretend("""echo '{"event": "ready"}'; echo waiting for a disk >&2; sleep 600""") as rank:
        until(rank.ready)
        until(lambda: bool(rank.last_words()))
        with pytest.raises(RankFailure, match="did not finish within 0 s and was stopped") as failure:
            rank.result(0.05)
        assert failure.value.detail == "waiting for a disk"


def test_only_the_end_of_a_long_standard_error_is_kept(pretend: Callable[[str], Handle]) -> None:
    script = "i=0; while [ $i -lt 1000 ]; do echo line $i >&2; i=$((i+1)); done; exit 3"
    with pretend(script) as rank, pytest.raises(RankFailure, match="exit code 3 and no result") as failure:
        rank.result(PATIENCE_S)
    assert failure.value.detail.endswith("line 998\nline 999")
    assert STDERR_KEPT - 10 < len(failure.value.detail) <= STDERR_KEPT


def test_asking_for_the_last_words_does_not_disturb_them(pretend: Callable[[str], Handle]) -> None:
    script = "echo first line >&2; read go; echo second >&2; read go; exit 1"
    with pretend(script) as rank:
        until(lambda: rank.last_words() == "first line")
        rank.start()
        until(lambda: rank.last_words() == "first line\nsecond")
        rank.start()
        with pytest.raises(RankFailure) as failure:
            rank.result(PATIENCE_S)
    assert failure.value.detail == "first line\nsecond"


def test_what_a_rank_started_ends_with_it(pretend: Callable[[str], Handle]) -> None:
    with pretend('sleep 600 & echo $! >&2; echo \'{"event": "ready"}\'; wait') as rank:
        until(lambda: rank.ready() and bool(rank.last_words()))
        child = int(rank.last_words())
        assert not gone(child)
    until(lambda: gone(child))


def test_rank_that_dies_before_it_hears_of_its_job(pretend: Callable[[str], Handle]) -> None:
    with pretend("exec 0<&-; exit 7") as rank:
        until(rank.ready)
        rank.start()
        with pytest.raises(RankFailure, match="exit code 7"):
            rank.result(PATIENCE_S)


def test_answer_of_a_rank_is_json(pretend: Callable[[str], Handle]) -> None:
    answer = json.dumps({"event": "failure", "error": "ReadError", "message": "no bytes", "detail": "where"})
    with pretend(f"echo '{answer}'; sleep 600") as rank, pytest.raises(RankFailure, match="no bytes") as failure:
        rank.result(PATIENCE_S)
    assert (failure.value.kind, failure.value.detail) == ("ReadError", "where")


def test_one_that_hangs_and_cannot_be_killed_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a system call that storage never answers: a signal does not end it."""
    monkeypatch.setattr(watchdog, "STILL_S", 0.5)
    monkeypatch.setattr(launch_module, "STUCK_S", 0.1)
    with launch(copying(LONG)) as rank:
        os.kill(rank.pid, signal.SIGSTOP)
        with monkeypatch.context() as deaf:
            deaf.setattr(os, "killpg", lambda *_: None)
            until(rank.ready)
            assert rank.answered()
            told = rf"rank {rank.pid} was stopped: it prepared nothing for \d+ s: it was stopped by a signal"
            with pytest.raises(RankFailure, match=told):
                rank.result(PATIENCE_S)
    assert gone(rank.pid)


def test_one_that_waits_for_its_start_is_not_taken_for_one_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "STILL_S", 0.5)
    with launch(copying()) as rank:
        until(rank.ready)
        sleep(1.0)
        assert rank.ready()
        assert not rank.answered()
        rank.start()
        assert rank.result(PATIENCE_S).repeats
