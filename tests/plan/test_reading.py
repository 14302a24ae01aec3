"""Ways to read, and the points that only read."""

from pathlib import Path
from typing import Any

import pytest

from inferkit.dataset.synthetic import make_synthetic
from inferkit.errors import ParameterError
from inferkit.plan.context import Context, context_of
from inferkit.plan.reading import (
    ReadChoice,
    check_delivery,
    read_choices,
    read_options,
    read_point,
    read_points,
    resident,
)
from inferkit.plan.settings import Setting
from inferkit.records.host import Gpu, Host
from inferkit.records.job import DeviceOptions, ReadJob, ReadOptions, device_of
from inferkit.records.params import MakeDataset, StorageToHost
from inferkit.records.place import Place
from inferkit.records.windows import window_of
from tests.dataset.pictures import folder_of

SHAPE = (3, 8, 8)


@pytest.fixture
def data(tmp_path: Path) -> str:
    make_synthetic(MakeDataset(data=str(tmp_path / "tensors"), limit=12, shape=list(SHAPE)))
    return str(tmp_path / "tensors")


def context(data: str, **changes: Any) -> Context[StorageToHost]:
    return context_of(StorageToHost.check({"data": data, **changes}), None)


def test_what_takes_no_time_has_one_thread() -> None:
    params = StorageToHost(readers=["buffered", "mapped", "memory"], threads=[1, 4], batch_sizes=[2, 3])
    assert read_choices(params) == [
        *(ReadChoice("buffered", threads, size) for threads in (1, 4) for size in (2, 3)),
        *(ReadChoice(reader, 1, size) for reader in ("mapped", "memory") for size in (2, 3)),
    ]


def test_what_has_no_files_cannot_read_storage() -> None:
    with pytest.raises(ParameterError, match="readers: memory reads no storage, but source is storage"):
        read_choices(StorageToHost(readers=["buffered", "memory"], source="storage"))
    assert read_choices(StorageToHost(readers=["buffered", "mapped"], source="storage"))


@pytest.mark.parametrize(
    ("readers", "refused"),
    [(["direct", "mapped"], True), (["memory"], True), (["direct", "buffered"], False), (["jpeg"], False)],
)
def test_evicting_is_for_readers_that_leave_something_in_the_page_cache(readers: list[str], refused: bool) -> None:
    params = StorageToHost(readers=readers, evict=True)
    if refused:
        with pytest.raises(ParameterError, match=f"evict: {', '.join(readers)} leave nothing in the page cache"):
            read_choices(params)
    else:
        assert {choice.reader for choice in read_choices(params)} == set(readers)


def test_a_job_is_told_all_that_parameters_say_of_reading(data: str) -> None:
    values = {"split": "all", "host_batches": 7, "verify_batches": 2, "seed": 5, "evict": True}
    own = context(data, **values)
    assert read_options(own, ReadChoice("buffered", 3, 4)) == ReadOptions(
        reader="buffered", folder=data, dtype="uint8", shape=SHAPE, threads=3, batch_size=4, **values
    )
    assert resident(own, 6).changed(reader="buffered", folder=data, batch_size=4, threads=3) == read_options(
        own, ReadChoice("buffered", 3, 4)
    )
    assert (resident(own, 6).reader, resident(own, 6).folder, resident(own, 6).batch_size) == ("memory", "", 6)


def test_a_decoder_is_told_how(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "photographs", 3)
    own = context("", images=str(folder), size=24, readers=["jpeg"], resize="crop", fast=True)
    options = read_options(own, ReadChoice("jpeg", 1, 2))
    assert (options.folder, options.shape, options.resize, options.fast) == (str(folder), (3, 24, 24), "crop", True)


@pytest.mark.parametrize(("reader", "threads"), [("buffered", 12), ("mapped", 3), ("memory", 3)])
def test_what_takes_time_has_as_many_threads_for_each_gpu(data: str, reader: str, threads: int) -> None:
    assert read_options(context(data), ReadChoice(reader, 3, 4), gpus=4).threads == threads


def test_the_axis_tells_threads_of_one_process_and_threads_per_gpu_of_ranks(data: str) -> None:
    own, choice = context(data), ReadChoice("buffered", 3, 4)
    process = read_point(own, choice, Setting(DeviceOptions(kind="cuda", numbers=(0, 1)), {"device": "cuda", "gpu": 2}))
    assert process.axes == {"reader": "buffered", "threads": 6, "batch_size": 4}
    places = (Place(rank=0, ranks=2, gpus=(0, 1)), Place(rank=1, ranks=2, gpus=(2,)))
    ranks = read_point(own, choice, Setting(DeviceOptions(kind="cuda"), {"device": "cuda", "ranks": 2}, places))
    assert ranks.axes == {"ranks": 2, "reader": "buffered", "threads": 3, "batch_size": 4}
    for point in (process, ranks):
        jobs = [job for job in point.jobs if isinstance(job, ReadJob)]
        assert [job.reading.threads for job in jobs] == [6] * len(point.jobs)
    assert [job.place for job in ranks.jobs] == list(places)


def test_reading_alone_is_one_process_that_is_not_bound(data: str) -> None:
    own = context(data, threads=[1, 2], batch_sizes=[4], batch_log=data)
    points = list(read_points(own))
    assert [point.axes["threads"] for point in points] == [1, 2]
    for point in points:
        (job,) = point.jobs
        assert job == ReadJob(
            window=window_of(own.params),
            batch_log=data,
            reading=read_options(own, ReadChoice("buffered", int(point.axes["threads"]), 4)),
        )


GPU = DeviceOptions(kind="cuda")


@pytest.fixture
def straight(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a GPU and KvikIO."""
    monkeypatch.setattr("inferkit.plan.reading.facts", lambda: Host(gpus=[Gpu(index=0, name="GPU")]))
    monkeypatch.setattr("inferkit.machine.direct_storage.find_spec", lambda name: True)


@pytest.mark.usefixtures("straight")
def test_reading_alone_to_a_device_is_to_the_first_gpu(data: str) -> None:
    direct, gds = read_points(context(data, readers=["direct", "gds"], batch_sizes=[4]))
    assert [device_of(point.job) for point in (direct, gds)] == [None, GPU]
    assert gds.axes == {**direct.axes, "reader": "gds"}
    own, choice = context(data), ReadChoice("gds", 2, 4)
    ranks = (Place(rank=0, ranks=2, gpus=(5,)), Place(rank=1, ranks=2, gpus=(7,)))
    point = read_point(own, choice, Setting(GPU, {"device": "cuda", "ranks": 2}, ranks))
    assert point.axes == {"device": "cuda", "ranks": 2, "reader": "gds", "threads": 2, "batch_size": 4}
    assert [device_of(job) for job in point.jobs] == [GPU, GPU]


@pytest.mark.usefixtures("straight")
def test_where_there_is_no_memory_of_a_device_reading_there_is_refused(
    data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = context(data, readers=["gds", "buffered"])
    two = Setting(DeviceOptions(kind="cuda", numbers=(0, 1)))
    refusals = {
        r"^readers: gds delivers .* device is cpu, which has no memory of its own": Setting(DeviceOptions()),
        r"here a process feeds 2: set gpus: \[0\] .* notebook 03c": two,
        r"here a process feeds 2": Setting(GPU, places=(Place(gpus=(3, 4)),)),
    }
    for said, setting in refusals.items():
        with pytest.raises(ParameterError, match=said):
            check_delivery(own, [Setting(GPU), setting])
        check_delivery(context(data, readers=["buffered"]), [setting])
    monkeypatch.setattr("inferkit.plan.reading.facts", Host)
    with pytest.raises(ParameterError, match=r"^readers: gds .* this machine has no NVIDIA GPU .*: leave it out"):
        list(read_points(own))
    monkeypatch.setattr("inferkit.machine.direct_storage.find_spec", lambda name: None)
    with pytest.raises(ParameterError, match=r"pip install 'inferkit\[gds\]'"):
        list(read_points(own))
