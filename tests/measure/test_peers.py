"""fio beside the reader: in alternation, and never skipped in silence."""

from pathlib import Path
from typing import Any

import pytest

from inferkit.dataset.synthetic import make_synthetic
from inferkit.errors import ReadError
from inferkit.linux.page_cache import resident_share
from inferkit.measure import fio
from inferkit.measure import peers as peers_module
from inferkit.measure.measure import measure
from inferkit.measure.peers import PAIRS, Peers, task_of
from inferkit.plan.build import plan
from inferkit.records.figures import Repeat
from inferkit.records.job import Job, Outcome, ReadJob, ReadOptions, Window
from inferkit.records.params import MakeDataset, SingleProcess, StorageToHost
from tests.verdicts import verdict


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_synthetic(MakeDataset(data=str(tmp_path / "tensors"), limit=64, shape=[3, 64, 64], images_per_file=16))
    return tmp_path / "tensors"


def job_of(folder: Path, **changes: Any) -> ReadJob:
    values = {"folder": str(folder), "reader": "buffered", "batch_size": 4, "verify_batches": 7}
    return ReadJob(window=Window(repeats=3), batch_log="/log", reading=ReadOptions(**values | changes))


def outcome(rate: int, *, in_memory: bool = False) -> Outcome:
    repeats = [
        Repeat(start_s=k, seconds=1, images=1, nbytes=nbytes, batches=1, warmup=k == 0)
        for k, nbytes in enumerate((7, 1, rate))
    ]
    return Outcome(repeats=repeats, stages={}, facts={"storage": {"in_memory": in_memory}})


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replace fio by a list of whose turn it was."""
    order: list[str] = []

    def run(task: fio.Task) -> fio.Result:
        order.append("fio" if task.engine == "psync" else "device")
        return fio.Result(100.0 if task.engine == "psync" else 400.0, 0.1)

    monkeypatch.setattr(fio, "missing", lambda: "")
    monkeypatch.setattr(fio, "version", lambda: "fio-9")
    monkeypatch.setattr(fio, "run", run)
    return order


WANTED = StorageToHost(peer="fio")


def test_reader_and_fio_take_turns(folder: Path, turns: list[str]) -> None:
    jobs: list[ReadJob] = []

    def again(job: Job) -> Outcome:
        assert isinstance(job, ReadJob)
        turns.append("reader")
        jobs.append(job)
        return outcome(90).model_copy(update={"repeats": outcome(90).repeats[::2]})

    peer, device = Peers(WANTED).beside(job_of(folder), outcome(110), again)
    assert turns == ["fio", "reader", "fio", "reader", "fio", "device"]
    assert all((job.window.repeats, job.reading.verify_batches, job.batch_log) == (1, 0, "") for job in jobs)
    assert peer.ratio == pytest.approx((1.1 * 0.9 * 0.9) ** (1 / PAIRS))
    assert peer.interval is not None
    assert peer.ratio is not None
    assert peer.interval[0] < peer.ratio < peer.interval[1]
    assert peer.figure is not None
    assert peer.figure.bytes_per_s == 100.0
    assert "fio-9" in peer.command
    assert "--bs=49152" in peer.command
    assert device.figure is not None
    assert device.figure.bytes_per_s == 400.0
    assert device.ratio is None


def test_fewer_files_than_the_reader_has_are_told(tmp_path: Path, turns: list[str]) -> None:
    folder = make_synthetic(
        MakeDataset(data=str(tmp_path / "many"), limit=500, shape=[1, 16, 16], images_per_file=1)
    ).dataset.folder

    def again(job: Job) -> Outcome:
        return outcome(90).model_copy(update={"repeats": outcome(90).repeats[::2]})

    named = Peers(WANTED).beside(job_of(folder, reader="direct"), outcome(110), again)[0]
    assert named.name.startswith("fio, ")
    assert named.name.endswith("of 500 files")
    cached = Peers(WANTED).beside(job_of(folder), outcome(110), again)[0]
    assert "of 500 files, which the page cache would serve" in cached.missing
    assert cached.figure is None


def test_the_device_is_measured_once_per_folder(folder: Path, turns: list[str]) -> None:
    peers = Peers(WANTED)
    for threads in (1, 2):
        peers.beside(job_of(folder, threads=threads), outcome(1), lambda job: outcome(1))
    assert turns.count("device") == 1


def test_memory_has_no_device(folder: Path, turns: list[str]) -> None:
    _, device = Peers(WANTED).beside(job_of(folder), outcome(1, in_memory=True), lambda job: outcome(1))
    assert "no device" in device.missing


@pytest.mark.parametrize(("reader", "why"), [("mapped", "reads nothing"), ("jpeg", "decodes"), ("memory", "nothing")])
def test_what_fio_cannot_do_is_said(folder: Path, turns: list[str], reader: str, why: str) -> None:
    (peer,) = Peers(WANTED).beside(job_of(folder, reader=reader), outcome(1), lambda job: outcome(1))
    assert peer.figure is None
    assert why in peer.missing
    assert not turns


def test_a_missing_fio_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fio, "missing", lambda: "fio is not installed: apt-get install fio")
    values = {"data": str(folder), "peer": "fio", "warmup_s": 0.05, "duration_s": 0.1, "repeats": 1}
    (run,) = measure(plan(StorageToHost.check(values)))
    assert verdict(run) == "VALID"
    assert [peer.missing for peer in run.peers] == ["fio is not installed: apt-get install fio"]


def test_a_failing_fio_is_said(folder: Path, turns: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(task: fio.Task) -> fio.Result:
        message = "fio ended with exit code 1: no such engine"
        raise ReadError(message)

    monkeypatch.setattr(fio, "run", refuse)
    (peer,) = Peers(WANTED).beside(job_of(folder), outcome(1), lambda job: outcome(1))
    assert "no such engine" in peer.missing


def test_nobody_asked(folder: Path) -> None:
    for params in (StorageToHost(), SingleProcess()):
        assert Peers(params).beside(job_of(folder), outcome(1), lambda job: outcome(1)) == []


def test_the_task_is_the_readers_own_work(folder: Path) -> None:
    task = task_of(job_of(folder, threads=4, batch_size=3, reader="direct"))
    assert task.direct
    assert len(task.shares) == 4
    assert task.nbytes == 3 * 3 * 64 * 64
    assert not task.once


def test_many_reads_in_flight_meet_a_fio_with_as_many(folder: Path) -> None:
    task = task_of(job_of(folder, batch_size=64, reader="uring"))
    assert task.direct
    per_file = max(file.nbytes for file in task.dataset.files)
    assert task.nbytes == min(per_file, 64 * 3 * 64 * 64)
    assert (task.engine, task.depth) == ("io_uring", -(-64 * 3 * 64 * 64 // task.nbytes))
    assert task.depth > 1


def test_a_reader_that_evicts_meets_a_fio_that_reads_cold(folder: Path, turns: list[str]) -> None:
    task = task_of(job_of(folder, evict=True))
    assert task.once
    paths = [task.dataset.path(k) for k in range(4)]
    for path in paths:
        path.read_bytes()
    peers_module.run_task(task)
    if resident_share(paths) is not None:
        assert resident_share(paths) == 0.0


@pytest.mark.skipif(bool(fio.missing()), reason=fio.missing())
def test_end_to_end(folder: Path) -> None:
    values = {"data": str(folder), "peer": "fio", "warmup_s": 0.05, "duration_s": 0.1, "repeats": 2}
    (run,) = measure(plan(StorageToHost.check(values)))
    assert verdict(run) == "VALID", run.failure
    assert run.peers[0].ratio is not None, run.peers
    assert [peer.name for peer in run.peers] == ["fio", "device"]
