"""Ranks that are stopped, held back or crowded out from outside, by the real thing: their figures say so."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import sleep

import pytest

from inferkit.machine.affinity import inherited
from inferkit.ranks.group import Group
from inferkit.ranks.launch import Handle, launch
from inferkit.records.job import CopyJob, DeviceOptions, Job
from inferkit.records.outcome import Outcome
from inferkit.records.place import Place
from inferkit.records.windows import Window
from inferkit.validity.disturbance import disturbances
from tests.machines import busy_loop
from tests.ranks.test_launch import PATIENCE_S, gone, until

SECOND = Window(warmup_s=0.2, duration_s=1.2, repeats=1)
CPU = min(os.sched_getaffinity(0))
COPIES = CopyJob(window=SECOND, device=DeviceOptions(), nbytes=65536)


def measured(rank: Handle | Group, while_it_measures: Callable[[], object] = lambda: None) -> Outcome:
    until(rank.ready)
    rank.start()
    while not rank.answered():
        while_it_measures()
        sleep(0.01)
    return rank.result(PATIENCE_S)


def said(outcome: Outcome, kind: str, profile: str = "quick") -> list[str]:
    return [finding.text for finding in disturbances(profile, [outcome.facts]) if finding.kind == kind]


@contextmanager
def stopped(pid: int, stop_s: float, run_s: float) -> Iterator[None]:
    """Stop a process again and again, with pauses in which it runs."""
    ended = threading.Event()

    def act() -> None:
        with suppress(ProcessLookupError):
            while not ended.wait(run_s):
                os.kill(pid, signal.SIGSTOP)
                ended.wait(stop_s)
                os.kill(pid, signal.SIGCONT)

    thread = threading.Thread(target=act)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.mark.parametrize(("stop_s", "run_s"), [(0.08, 0.02), (0.4, 0.4)])
def test_a_rank_alone_that_is_stopped_is_invalid(stop_s: float, run_s: float) -> None:
    with launch(COPIES) as rank:
        until(rank.ready)
        with stopped(rank.pid, stop_s, run_s):
            outcome = measured(rank)
    assert any("work stood still for" in text for text in said(outcome, "reason"))
    assert outcome.facts["pauses"]["longest_s"] >= stop_s


def test_one_of_several_ranks_that_is_stopped_is_named() -> None:
    jobs: list[Job] = [COPIES.changed(place=Place(rank=rank, ranks=2, cpus=(CPU,))) for rank in range(2)]
    with Group(jobs) as group:
        until(group.ready)
        with stopped(group.ranks[1].pid, 0.16, 0.02):
            outcome = measured(group)
    assert any(text.startswith("rank 1: work stood still for") for text in said(outcome, "reason"))


def test_a_busy_loop_on_a_rank_s_cpu_makes_it_invalid_and_a_demo_noisy() -> None:
    # Several, since the rank has threads of its own that take their shares of the CPU.
    with busy_loop(CPU), busy_loop(CPU), busy_loop(CPU), inherited((CPU,)), launch(COPIES) as rank:
        outcome = measured(rank)
    cpus = outcome.facts["cpus"]
    assert cpus["on"] == str(CPU)
    assert cpus["others"]
    assert any(f"of the time of CPUs {CPU}, " in text for text in said(outcome, "reason")), cpus
    assert any(text.startswith("noisy: other programs had ") for text in said(outcome, "warning", "demo"))


def test_another_run_beside_a_rank_alone_is_seen() -> None:
    """It is no child of this process: a run does not count its own ranks."""
    code = (
        "import sys, time; from inferkit.records.job import JOB; from inferkit.ranks.launch import launch\n"
        "rank = launch(JOB.validate_json(sys.argv[1]))\n"
        "print(rank.pid, flush=True); time.sleep(600)\n"
    )
    endless = COPIES.changed(window=Window(warmup_s=600.0)).model_dump_json()
    with subprocess.Popen([sys.executable, "-c", code, endless], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        pid = int(other.stdout.readline())
        with launch(COPIES) as rank:
            outcome = measured(rank)
        other.kill()
    until(lambda: gone(pid))
    assert pid in outcome.facts["cpus"]["other_runs"]
    (told,) = [text for text in said(outcome, "reason") if "another run of inferkit measured on the same CPUs" in text]
    assert str(pid) in told


def _limited(group: Path) -> None:
    """Allow a control group a fifth of a CPU."""
    group.mkdir()
    if (group / "cpu.max").exists():
        (group / "cpu.max").write_text("20000 100000")
    else:
        (group / "cpu.cfs_period_us").write_text("100000")
        (group / "cpu.cfs_quota_us").write_text("20000")


@pytest.fixture
def quota() -> Iterator[Path]:
    """Make a control group with a quota; skip, with the reason, where none may be made."""
    tops = [Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")]
    group = next(top for top in tops if top.is_dir() or top == tops[-1]) / f"inferkit-test-{os.getpid()}"
    try:
        _limited(group)
    except OSError as error:
        with suppress(OSError):
            group.rmdir()
        pytest.skip(f"no control group with a CPU quota can be made here: {error}")
    yield group
    until(lambda: not (group / "cgroup.procs").read_text())
    group.rmdir()


def test_a_quota_that_holds_a_rank_back_makes_it_invalid(quota: Path) -> None:
    with launch(COPIES) as rank:
        until(rank.ready)
        (quota / "cgroup.procs").write_text(str(rank.pid))
        outcome = measured(rank)
    assert outcome.facts["cpus"]["throttled_s"] > 0
    (text,) = [text for text in said(outcome, "reason") if "quota withheld" in text]
    assert text.endswith("raise the quota (cpu.max, docker --cpus), or use as few threads as it allows")


def test_a_rank_whose_cpus_are_changed_has_no_figure() -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("there is one CPU alone")
    with launch(COPIES) as rank:
        outcome = measured(rank, lambda: os.sched_setaffinity(rank.pid, {CPU}))
    assert outcome.facts["cpus"]["allowed"] == str(CPU)
    assert any(f"and then had {CPU}:" in text for text in said(outcome, "reason", "demo"))


def test_a_rank_that_is_moved_to_another_control_group_has_no_figure(quota: Path) -> None:
    with launch(COPIES) as rank:
        outcome = measured(rank, lambda: rank.progress and (quota / "cgroup.procs").write_text(str(rank.pid)))
    assert any("moved to another control group" in text for text in said(outcome, "reason", "demo"))
