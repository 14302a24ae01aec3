"""Peers beside points: in alternation, and never skipped in silence."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from inferkit.dataset.synthetic import make_synthetic
from inferkit.engines.engine_cache import EngineFile
from inferkit.errors import PeerError
from inferkit.linux.page_cache import resident_share
from inferkit.measure import fio
from inferkit.measure import peers as peers_module
from inferkit.measure.measure import measure
from inferkit.measure.peers import PAIRS, Peers, Rival, alternate, task_of
from inferkit.plan.build import plan
from inferkit.records.figures import Figure, Repeat, Stage
from inferkit.records.groups import Parameters
from inferkit.records.job import (
    CopyJob,
    DeviceOptions,
    Images,
    InferJob,
    InferOptions,
    Job,
    PipelineJob,
    ReadJob,
    ReadOptions,
)
from inferkit.records.outcome import Outcome
from inferkit.records.params import HostToDevice, MakeDataset, MultiProcess, SingleProcess, StorageToHost
from inferkit.records.place import Place
from inferkit.records.run import Peer
from inferkit.records.windows import Window
from tests.stand_ins import StandIn, stand_in
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


WANTED = StorageToHost.check({"peer": "fio"})


def test_reader_and_fio_take_turns(folder: Path, turns: list[str]) -> None:
    jobs: list[ReadJob] = []

    def again(again_jobs: Sequence[Job]) -> Outcome:
        (job,) = again_jobs
        assert isinstance(job, ReadJob)
        turns.append("reader")
        jobs.append(job)
        return outcome(90).model_copy(update={"repeats": outcome(90).repeats[::2]})

    peer, device = Peers(WANTED).beside([job_of(folder)], outcome(110), again)
    assert turns == ["fio", "reader", "fio", "reader", "fio", "device"]
    assert all((job.window.repeats, job.reading.verify_batches, job.batch_log) == (1, 0, "") for job in jobs)
    assert peer.ratio == pytest.approx((1.1 * 0.9 * 0.9) ** (1 / PAIRS))
    assert peer.interval is not None
    assert peer.ratio is not None
    assert peer.interval[0] < peer.ratio < peer.interval[1]
    assert peer.figure == Figure(bytes_per_s=100.0, half_width=0.0)
    assert "fio-9" in peer.command
    assert "--bs=49152" in peer.command
    assert device.figure is not None
    assert device.figure.bytes_per_s == 400.0
    assert device.ratio is None


def test_fewer_files_than_the_reader_has_are_told(tmp_path: Path, turns: list[str]) -> None:
    folder = (
        make_synthetic(MakeDataset(data=str(tmp_path / "many"), limit=500, shape=[1, 16, 16], images_per_file=1))
        .dataset.path(0)
        .parent
    )

    def again(jobs: Sequence[Job]) -> Outcome:
        return outcome(90).model_copy(update={"repeats": outcome(90).repeats[::2]})

    named = Peers(WANTED).beside([job_of(folder, reader="direct")], outcome(110), again)[0]
    assert named.name.startswith("fio, ")
    assert named.name.endswith("of 500 files")
    cached = Peers(WANTED).beside([job_of(folder)], outcome(110), again)[0]
    assert "of 500 files, which the page cache would serve" in cached.missing
    assert cached.figure is None


def test_the_device_is_measured_once_per_folder(folder: Path, turns: list[str]) -> None:
    peers = Peers(WANTED)
    for threads in (1, 2):
        peers.beside([job_of(folder, threads=threads)], outcome(1), lambda jobs: outcome(1))
    assert turns.count("device") == 1


def test_memory_has_no_device(folder: Path, turns: list[str]) -> None:
    _, device = Peers(WANTED).beside([job_of(folder)], outcome(1, in_memory=True), lambda jobs: outcome(1))
    assert "no device" in device.missing


@pytest.mark.parametrize(("reader", "why"), [("mapped", "reads nothing"), ("jpeg", "decodes"), ("memory", "nothing")])
def test_what_fio_cannot_do_is_said(folder: Path, turns: list[str], reader: str, why: str) -> None:
    (peer,) = Peers(WANTED).beside([job_of(folder, reader=reader)], outcome(1), lambda jobs: outcome(1))
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
        raise PeerError(message)

    monkeypatch.setattr(fio, "run", refuse)
    (peer,) = Peers(WANTED).beside([job_of(folder)], outcome(1), lambda jobs: outcome(1))
    assert "no such engine" in peer.missing


def test_nobody_asked(folder: Path) -> None:
    for params in (StorageToHost(), SingleProcess()):
        assert Peers(params).beside([job_of(folder)], outcome(1), lambda jobs: outcome(1)) == []


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


def test_a_peers_figure_is_its_mean_with_its_own_interval() -> None:
    turns = iter((90.0, 100.0, 110.0))
    rival = Rival("other", "other --now", "images_per_s", lambda: next(turns))
    ours = [Figure(images_per_s=value, bytes_per_s=7.0) for value in (99.0, 110.0, 121.0)]
    peer = alternate(rival, ours)
    assert peer.figure is not None
    assert peer.figure.images_per_s == 100.0
    assert peer.figure.bytes_per_s is None
    # Student's t of two degrees of freedom times the standard error, by hand
    assert peer.figure.half_width == pytest.approx(4.303 * 10 / 3**0.5 / 100)
    assert peer.ratio == pytest.approx(1.1)
    assert (peer.name, peer.command) == ("other", "other --now")


COPIES = HostToDevice.check({"device": "cpu", "peer": "nvbandwidth"})


def copy_job(gpus: int, **changes: Any) -> CopyJob:
    device = DeviceOptions(kind="cuda", numbers=tuple(range(gpus)))
    values: dict[str, Any] = {"device": device, "nbytes": 2**26, "host_memory": "pinned"}
    return CopyJob(window=Window(repeats=3), batch_log="/log", **values | changes)


def copied(bytes_per_s: float) -> Outcome:
    return outcome(1).model_copy(update={"stages": {"copy": Stage(bytes_per_s=bytes_per_s)}})


def bandwidths(test: str, *rates: float) -> str:
    told = {"bandwidth_matrix": [[str(rate) for rate in rates]], "name": test, "status": "Passed"}
    return json.dumps({"nvbandwidth": {"testcases": [told]}})


@pytest.fixture
def nvbandwidth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    return stand_in(tmp_path, "nvbandwidth", monkeypatch)


@pytest.mark.parametrize(
    ("gpus", "test"), [(1, "host_to_device_memcpy_ce"), (2, "host_to_all_memcpy_ce"), (4, "host_to_all_memcpy_ce")]
)
def test_copies_and_nvbandwidth_take_turns(nvbandwidth: StandIn, gpus: int, test: str) -> None:
    help_text = "nvbandwidth Version: v0.8\n"
    nvbandwidth.answer(bandwidths(test, *[50.0] * gpus), help_text=help_text)
    turns: list[int] = []

    def again(jobs: Sequence[Job]) -> Outcome:
        (job,) = jobs
        turns.append(len(nvbandwidth.calls))
        assert (job.window.repeats, job.window.target, job.batch_log) == (1, 0.0, "")
        return copied(gpus * 55e9)

    (peer,) = Peers(COPIES).beside([copy_job(gpus)], copied(gpus * 55e9), again)
    assert peer.missing == ""
    assert turns == [1, 2]
    assert len(nvbandwidth.calls) == PAIRS
    assert peer.ratio == pytest.approx(1.1)
    assert peer.figure == Figure(bytes_per_s=gpus * 50e9, half_width=0.0)
    assert ("sums what each GPU reaches" in peer.command) == (gpus > 1)


def test_a_copy_from_a_node_is_held_against_one_that_is_bound_there(nvbandwidth: StandIn) -> None:
    nvbandwidth.answer(bandwidths("host_to_device_memcpy_ce", 50.0))
    bound = copy_job(1, place=Place(gpus=(3,)))
    (peer,) = Peers(COPIES).beside([bound], copied(50e9), lambda jobs: copied(50e9))
    assert peer.ratio == pytest.approx(1.0)
    assert all(call.startswith("PCI_BUS_ID 3 ") for call in nvbandwidth.calls)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"host_memory": "pageable"}, "pinned memory alone"),
        ({"nbytes": 65536}, "whole MiB"),
        ({"device": DeviceOptions()}, "copies to GPUs"),
    ],
)
def test_what_nvbandwidth_cannot_do_is_said(nvbandwidth: StandIn, changes: dict[str, Any], why: str) -> None:
    (peer,) = Peers(COPIES).beside([copy_job(1, **changes)], copied(1e9), lambda jobs: copied(1e9))
    assert (peer.name, peer.figure) == ("nvbandwidth", None)
    assert why in peer.missing
    assert not nvbandwidth.calls


@pytest.mark.parametrize("code", [0, 1])
def test_a_peer_that_fails_in_between_is_said(nvbandwidth: StandIn, code: int) -> None:
    nvbandwidth.answer("garbage", code=code)
    (peer,) = Peers(COPIES).beside([copy_job(1)], copied(1e9), lambda jobs: copied(1e9))
    assert "garbage" in peer.missing


def test_a_missing_nvbandwidth_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (peer,) = Peers(COPIES).beside([copy_job(1)], copied(1e9), lambda jobs: copied(1e9))
    assert peer.missing.startswith("nvbandwidth is not installed: build ")


def test_a_copy_on_the_cpu_has_no_nvbandwidth_in_its_record() -> None:
    values = {"peer": ["nvbandwidth"], "memories": ["pageable"], "transfer_bytes": [65536]}
    run, memory = measure(plan(HostToDevice.check({**values, "warmup_s": 0.05, "duration_s": 0.1, "repeats": 1})))
    assert verdict(run) == "VALID", run.failure
    assert run.peers == [
        Peer(name="nvbandwidth", missing="nvbandwidth copies to GPUs, and the device is cpu: set device: cuda")
    ]
    assert memory.peers == []


INFERS = SingleProcess.check({"peer": ["fio", "nvbandwidth", "trtexec"]})
ENGINE = {"library": "tensorrt", "version": "10.16.0.72", "input": "input"}


def infer_job(*gpus: int) -> InferJob:
    return InferJob(
        window=Window(duration_s=0.5),
        device=DeviceOptions(kind="cuda", numbers=gpus),
        images=Images(dtype="uint8", shape=(3, 8, 8), batch_size=4),
        inference=InferOptions(engine="tensorrt", model="m.onnx", contexts=2),
    )


def inferred(images: int, engine: dict[str, str]) -> Outcome:
    repeats = [Repeat(start_s=0, seconds=1, images=images, nbytes=images, batches=1)]
    return Outcome(repeats=repeats, stages={}, facts={"engine": engine})


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = EngineFile("m", {})
    with file.locked():
        file.write(b"plan")
    return {**ENGINE, "file": file.path.name}


@pytest.fixture
def trtexec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    found = stand_in(tmp_path, "trtexec", monkeypatch)
    found.answer("[I] Throughput: 250 qps\n", help_text="&&&& RUNNING TensorRT.trtexec [TensorRT v101600]\n")
    return found


def test_inference_alone_and_trtexec_take_turns(trtexec: StandIn, engine: dict[str, str]) -> None:
    (peer,) = Peers(INFERS).beside([infer_job(0)], inferred(900, engine), lambda jobs: inferred(900, engine))
    assert peer.missing == ""
    assert len(trtexec.calls) == PAIRS
    assert peer.figure == Figure(images_per_s=1000.0, half_width=0.0)
    assert peer.ratio == pytest.approx(0.9)


def test_what_trtexec_cannot_do_is_said(trtexec: StandIn, engine: dict[str, str]) -> None:
    cases: list[tuple[Sequence[Job], dict[str, str], str]] = [
        ([infer_job(0, 1)], engine, "drives one GPU"),
        ([infer_job(0)], {"library": "onnxruntime"}, "TensorRT alone"),
        ([infer_job(0)] * 2, engine, "trtexec is one process, and these are 2: set ranks: [1]"),
        ([infer_job(0)], {**engine, "version": "11.1.0"}, "of TensorRT 10.16.0, the engine of 11.1.0"),
    ]
    for jobs, facts, why in cases:
        (peer,) = Peers(INFERS).beside(jobs, inferred(1, facts), lambda jobs: inferred(1, ENGINE))
        assert peer.name == "trtexec"
        assert why in peer.missing
    assert not trtexec.calls


def test_each_peer_stands_beside_its_own_work_alone(trtexec: StandIn, nvbandwidth: StandIn, folder: Path) -> None:
    pipeline = PipelineJob(
        window=Window(), device=DeviceOptions(), reading=ReadOptions(folder=str(folder)), inference=InferOptions()
    )
    cases: list[tuple[Parameters, Job]] = [
        (INFERS, pipeline),
        (MakeDataset(), pipeline),
        (SingleProcess.check({"peer": "trtexec"}), job_of(folder)),
        (MultiProcess.check({"peer": "fio"}), infer_job(0)),
        (StorageToHost.check({"peer": "nvbandwidth"}), job_of(folder)),
    ]
    for params, job in cases:
        assert Peers(params).beside([job], outcome(1), lambda jobs: outcome(1)) == []
