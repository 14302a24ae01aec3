"""Several ranks are real processes here, and whatever becomes of one, nothing of any is left."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from time import monotonic, monotonic_ns, sleep

import psutil
import pytest

from inferkit.devices.cpu import CpuDevice
from inferkit.machine import watchdog
from inferkit.machine.affinity import Binding
from inferkit.pipeline.source import Source
from inferkit.ranks import group as group_module
from inferkit.ranks import launch as launch_module
from inferkit.ranks.group import Group, together
from inferkit.ranks.launch import Handle, RankFailure
from inferkit.records.job import CopyJob, DeviceOptions, Job, PipelineJob, ReadJob, ReadOptions
from inferkit.records.outcome import Latest, Outcome
from inferkit.records.place import Place
from inferkit.records.windows import Window
from tests.conftest import MakeTensors
from tests.ranks.test_launch import PATIENCE_S, gone, reading, until

SHORT = Window(warmup_s=0.1, duration_s=0.2, repeats=2)
LONG = Window(warmup_s=600.0)
CPU = min(os.sched_getaffinity(0))


def copying(ranks: int, window: Window = SHORT, memory: str = "pageable") -> list[Job]:
    base = CopyJob(window=window, device=DeviceOptions(), nbytes=65536, host_memory=memory)
    return [base.changed(place=Place(rank=rank, ranks=ranks, cpus=(CPU,))) for rank in range(ranks)]


def measuring(group: Group) -> None:
    until(group.ready)
    group.start()
    until(lambda: group.progress is not None)


def fails(group: Group, told: str) -> RankFailure:
    """Every rank must be gone within seconds, and the failure says which it was."""
    begun = monotonic()
    with pytest.raises(RankFailure, match=told) as failure:
        group.result(PATIENCE_S)
    assert monotonic() - begun < PATIENCE_S / 2
    assert all(gone(rank.pid) for rank in group.ranks)
    return failure.value


pytestmark = pytest.mark.usefixtures("nothing_left_behind")


def test_the_figure_is_the_sum_while_all_were_running(make_dataset: MakeTensors) -> None:
    own = reading(str(make_dataset((200, 200)).dataset.folder)).changed(batch_size=8)
    base = PipelineJob(window=SHORT, device=DeviceOptions(), reading=own)
    places = [Place(rank=rank, ranks=2, cpus=(CPU,), node=None) for rank in range(2)]
    with Group([base.changed(place=place) for place in places]) as group:
        assert group.progress is None
        until(group.ready)
        assert not group.answered()
        group.start()
        outcome = group.result(PATIENCE_S)
        assert group.answered()
    together, ranks = outcome.facts["group"], outcome.facts["ranks"]
    assert together["overlap"] == 1.0
    assert outcome.measured is not None
    assert outcome.measured.images_per_s == pytest.approx(sum(rank["rate"] for rank in ranks))
    assert outcome.measured.half_width is not None
    assert outcome.measured.half_width > 0
    assert len(together["ready_s"]) == 2
    assert [rank["rank"] for rank in ranks] == [0, 1]
    assert all(rank["found"]["cpus"] == [CPU] and rank["ended_s"] >= SHORT.seconds for rank in ranks)
    assert [repeat.warmup for repeat in outcome.repeats] == [True, False, False]
    assert {"read", "copy"} <= set(outcome.stages)
    assert f"2 ranks shared CPUs {CPU}" in " ".join(outcome.warnings)
    assert outcome.reasons == []


def test_every_image_is_read_by_one_rank_of_several(make_dataset: MakeTensors) -> None:
    """Ranks that read the same would answer one another from the page cache."""
    options = reading(str(make_dataset((7, 5, 9)).dataset.folder)).changed(batch_size=1)
    seen: list[set[int]] = []
    for rank in range(3):
        with ExitStack() as stack:
            source = Source(options, stack.enter_context(CpuDevice()), stack)
            source.start(Place(rank=rank, ranks=3), in_flight=3, threads=True)
            firsts = set()
            for _ in range(21):
                batch = source.batches.get()
                assert batch is not None
                firsts |= {segment.first for segment in batch.segments}
                batch.release()
        seen.append(firsts)
    assert set.union(*seen) == set(range(21))
    assert sum(map(len, seen)) == 21


def test_ranks_hold_no_shared_memory_semaphore_or_file_that_has_a_name() -> None:
    """What has no name goes with the process, however it ends."""
    with Group(copying(2, LONG, memory="mapped")) as group:
        measuring(group)
        for rank in group.ranks:
            held = [
                line.split(None, 5)[5]
                for line in Path(f"/proc/{rank.pid}/maps").read_text().splitlines()
                if "/" in line
            ]
            held += [str(link.readlink()) for link in Path(f"/proc/{rank.pid}/fd").iterdir()]
            named = [name for name in held if name.startswith(("/dev/shm", tempfile.gettempdir()))]
            assert [name for name in named if not name.endswith("(deleted)")] == []


def test_a_killed_rank_stops_the_others_and_is_named() -> None:
    with Group(copying(3, LONG)) as group:
        measuring(group)
        os.kill(group.ranks[1].pid, signal.SIGKILL)
        failure = fails(
            group, rf"^rank 1 \(CPUs {CPU}\): .* was killed by SIGKILL \(out of memory\?\); the others were"
        )
    assert failure.kind == "RankError"


def test_a_rank_that_dies_before_the_barrier_stops_the_others() -> None:
    with Group(copying(2, LONG)) as group:
        os.kill(group.ranks[0].pid, signal.SIGTERM)
        until(group.ready)
        group.start()
        fails(group, "rank 0 .* was killed by SIGTERM")


def test_a_hanging_rank_is_found_and_what_it_waits_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_module, "HANG_S", 0.8)
    monkeypatch.setattr(group_module, "HANG_GAPS", 1.0)
    with Group(copying(2, LONG)) as group:
        measuring(group)
        os.kill(group.ranks[0].pid, signal.SIGSTOP)
        fails(group, r"rank 0 .* completed no batch for \d+ s: it was stopped by a signal")


def test_a_rank_that_hangs_before_the_barrier_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def launch(job: Job) -> Handle:
        rank = launch_module.launch(job)
        if job.place == jobs[0].place:
            os.kill(rank.pid, signal.SIGSTOP)  # now: it is ready once the other is there
        return rank

    jobs = copying(2, LONG)
    monkeypatch.setattr(group_module, "launch", launch)
    monkeypatch.setattr(watchdog, "STILL_S", 1.0)
    with Group(jobs) as group:
        until(group.ready)
        group.start()
        fails(group, r"rank 0 .* was stopped: it prepared nothing for \d+ s: it was stopped by a signal")


def test_a_rank_without_memory_fails_with_the_rest() -> None:
    few, many = copying(2, LONG)
    with Group([few, many.changed(nbytes=1 << 55)]) as group:
        until(group.ready)
        failure = fails(group, "rank 1 ")
    assert failure.kind in {"DeviceError", "MemoryError", "OSError"}
    assert failure.detail.startswith("Traceback")


def test_a_rank_that_loses_its_data_is_named(make_dataset: MakeTensors, tmp_path: Path) -> None:
    known = [make_dataset((4000,), folder=tmp_path / name) for name in ("a", "b")]
    options = [reading(str(own.dataset.folder), "mapped") for own in known]
    jobs = [
        PipelineJob(window=LONG, device=DeviceOptions(), reading=own, place=Place(rank=rank, ranks=2))
        for rank, own in enumerate(options)
    ]
    with Group(jobs) as group:
        measuring(group)
        os.truncate(known[1].dataset.path(0), 0)
        fails(group, r"rank 1: .*\(a mapped file was truncated")


def test_a_rank_whose_data_is_missing_never_starts() -> None:
    job = ReadJob(window=SHORT, reading=reading("/nowhere"), place=Place(rank=1, ranks=2))
    with Group([copying(2)[0], job]) as group:
        until(group.ready)
        failure = fails(group, "rank 1: /nowhere is not a folder")
    assert failure.kind == "DatasetError"


def test_a_rank_that_cannot_be_started_takes_the_started_ones_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Handle] = []

    def launch(job: Job) -> Handle:
        if started:
            raise RankFailure("rank 1 cannot start: Resource temporarily unavailable", "OSError", "")
        started.append(launch_module.launch(job))
        return started[0]

    monkeypatch.setattr(group_module, "launch", launch)
    with pytest.raises(RankFailure, match="rank 1 cannot start: Resource temporarily"):
        Group(copying(2))
    assert gone(started[0].pid)


def test_a_crash_keeps_the_end_of_that_rank_s_standard_error() -> None:
    good, other = copying(2)
    bad = ReadJob(window=SHORT, reading=ReadOptions(dtype="nonsense", shape=(1,)), place=other.place)
    with Group([good, bad]) as group:
        until(group.ready)
        failure = fails(group, "rank 1 ")
    assert "nonsense" in failure.detail


def disturbed(window: Window, act: Callable[[Group, int], None]) -> Outcome:
    with Group(copying(2, window)) as group:
        until(group.ready)
        at = monotonic_ns() + 100_000_000
        act(group, at)
        return group.result(PATIENCE_S)


def test_a_rank_that_starts_late_makes_the_figure_invalid() -> None:
    def late(group: Group, at: int) -> None:
        os.kill(group.ranks[1].pid, signal.SIGSTOP)
        group.start(at)
        sleep(0.6)
        os.kill(group.ranks[1].pid, signal.SIGCONT)

    outcome = disturbed(Window(warmup_s=0.1, duration_s=0.8, repeats=1), late)
    assert outcome.facts["group"]["overlap"] < 0.9
    assert "all ranks were running for only" in outcome.reasons[0]
    assert any(text.startswith("rank 1 started ") and text.endswith(" late") for text in outcome.warnings)
    assert outcome.facts["ranks"][1]["began_s"] > 0.3
    assert outcome.facts["ranks"][0]["ended_s"] > outcome.facts["ranks"][1]["began_s"] + 0.8  # the load was kept up


def test_a_rank_that_is_slowed_down_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    def slowed(group: Group, at: int) -> None:
        group.start(at)
        while monotonic_ns() < at + 1_300_000_000:
            group.answered()
            os.kill(group.ranks[0].pid, signal.SIGSTOP)
            sleep(0.09)
            os.kill(group.ranks[0].pid, signal.SIGCONT)
            sleep(0.01)

    outcome = disturbed(Window(warmup_s=0.2, duration_s=1.0, repeats=1), slowed)
    slow, fast = (rank["rate"] for rank in outcome.facts["ranks"])
    assert slow < 0.9 * fast
    assert any(text.startswith("rank 0 reached only") for text in outcome.warnings)


def test_memory_that_could_not_be_bound_is_unverified(monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = "memory of rank 0 is not bound to node 0: numactl is not installed"
    monkeypatch.setattr(launch_module, "rank_binding", lambda place: Binding(cpus=place.cpus, lacking=(lacking,)))
    before = os.sched_getaffinity(0)
    with Group(copying(1)) as group:
        assert os.sched_getaffinity(group.ranks[0].pid) == {CPU}
        assert os.sched_getaffinity(0) == before
        until(group.ready)
        group.start()
        assert lacking in group.result(PATIENCE_S).unverified


@pytest.mark.parametrize("stuck", [False, True])
def test_no_rank_outlives_a_killed_parent(stuck: bool) -> None:
    code = (
        "import sys, time; from inferkit.records.job import JOB; from inferkit.ranks.group import Group\n"
        "group = Group([JOB.validate_json(text) for text in sys.argv[1:]])\n"
        "while not group.ready(): time.sleep(0.01)\n"
        "group.start(); print(*[rank.pid for rank in group.ranks], flush=True); time.sleep(600)\n"
    )
    command = [sys.executable, "-c", code, *(job.model_dump_json() for job in copying(2, LONG))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = list(map(int, parent.stdout.readline().split()))
        assert len(pids) == 2
        assert all(psutil.pid_exists(pid) for pid in pids)
        if stuck:  # so that it hears of nothing
            os.kill(pids[0], signal.SIGSTOP)
        parent.kill()
    until(lambda: all(gone(pid) for pid in pids))


def test_what_ranks_do_at_the_moment_is_added_up() -> None:
    one = Latest(images_per_s=1.0, bytes_per_s=10.0, batches={"read": 0.5, "wait": 1.0}, machine={"host_cpu": 0.2})
    other = Latest(images_per_s=2.0, bytes_per_s=20.0, batches={"read": 1.0}, machine={"gpu0_busy": 0.9})
    machine = {"host_cpu": 0.2, "gpu0_busy": 0.9}
    added = Latest(images_per_s=3.0, bytes_per_s=30.0, batches={"read": 1.5, "wait": 1.0}, machine=machine)
    assert together([one, other]) == added
