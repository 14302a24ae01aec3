"""The processes and devices that do a point's work, and what each process is told."""

import pytest

from inferkit.errors import ParameterError
from inferkit.plan.settings import Setting, job_at, of_one_process, of_ranks
from inferkit.records.figures import Scalar
from inferkit.records.host import Gpu, Host
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
    device_of,
    reading_of,
)
from inferkit.records.params import MultiProcess, SingleProcess
from inferkit.records.place import Place, Placement
from inferkit.records.windows import Window

WINDOW = Window()
GPUS = DeviceOptions(kind="cuda", numbers=(4, 6))
READING = ReadOptions(reader="buffered", folder="/data")
JOBS: list[Job] = [
    ReadJob(window=WINDOW, reading=READING),
    ReadJob(window=WINDOW, device=GPUS, reading=READING),
    CopyJob(window=WINDOW, device=GPUS, nbytes=5),
    InferJob(window=WINDOW, device=GPUS, images=Images(), inference=InferOptions()),
    PipelineJob(window=WINDOW, device=GPUS, reading=READING),
]
every_kind = pytest.mark.parametrize("job", JOBS, ids=lambda job: job.work)


@pytest.fixture(autouse=True)
def four_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = [Gpu(index=index, name="GPU") for index in range(4)]
    monkeypatch.setattr("inferkit.plan.devices.facts", lambda: Host(gpus=gpus))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@every_kind
def test_a_rank_counts_its_own_gpus_from_0(job: Job) -> None:
    place = Place(rank=1, ranks=2, gpus=(6, 4, 7), cpus=(3,), node=1)
    found = job_at(job, place)
    assert found.place == place
    if device_of(job) is not None:
        assert device_of(found) == DeviceOptions(kind="cuda", numbers=(0, 1, 2))
    assert found.changed(place=None, **({} if device_of(job) is None else {"device": GPUS})) == job


@every_kind
def test_a_rank_without_gpus_has_its_devices_as_they_are(job: Job) -> None:
    assert job_at(job, Place(rank=1, ranks=2)) == job.changed(place=Place(rank=1, ranks=2))


@every_kind
def test_a_rank_reads_the_copy_that_is_its_own(job: Job) -> None:
    found = reading_of(job_at(job, Place(folder="/near")))
    assert found == (None if reading_of(job) is None else READING.changed(folder="/near"))


def test_what_lies_in_memory_has_no_copy() -> None:
    job = PipelineJob(window=WINDOW, device=GPUS, reading=ReadOptions())
    assert reading_of(job_at(job, Place(folder="/near"))) == ReadOptions()


def test_photographs_are_read_where_they_lie_and_not_from_a_copy_of_tensors() -> None:
    job = ReadJob(window=WINDOW, reading=READING.changed(reader="jpeg", folder="/photographs"))
    found = job_at(job, Place(folder="/dev/shm/staged/node0"))
    assert reading_of(found) == job.reading


@every_kind
def test_one_process_does_a_job_as_it_is(job: Job) -> None:
    assert Setting(GPUS).jobs(job) == (job,)


@every_kind
def test_each_rank_has_a_job_at_its_place(job: Job) -> None:
    places = tuple(Place(rank=rank, ranks=3, gpus=(rank,)) for rank in range(3))
    jobs = Setting(DeviceOptions(kind="cuda"), places=places).jobs(job)
    assert jobs == tuple(job_at(job, place) for place in places)
    assert [own.place for own in jobs] == list(places)


def test_gpus_are_those_of_the_process_that_feeds_most() -> None:
    assert Setting(DeviceOptions()).gpus == 1
    assert Setting(GPUS).gpus == 2
    ranks = (Place(gpus=(0, 1, 2)), Place(rank=1, gpus=(3, 4)))
    assert Setting(DeviceOptions(kind="cuda"), places=ranks).gpus == 3
    assert Setting(DeviceOptions(), places=(Place(), Place(rank=1))).gpus == 1


def test_devices_make_no_difference_to_reading_alone() -> None:
    axes: dict[str, Scalar] = {"device": "cuda", "gpu": "0+1", "gpus": 2, "ranks": 2, "cores": 8}
    assert Setting(GPUS, axes).reading_axes == {"gpus": 2, "ranks": 2, "cores": 8}


@pytest.mark.parametrize(
    ("asked", "axes", "numbers"),
    [
        ({}, [{"device": "cuda", "gpu": "0+1+2+3"}], [(0, 1, 2, 3)]),
        ({"gpus": [3, 1]}, [{"device": "cuda", "gpu": "3+1"}], [(3, 1)]),
        (
            {"gpus": [3, 1], "gpu_counts": [1, 2]},
            [{"device": "cuda", "gpu": 3}, {"device": "cuda", "gpu": "3+1"}],
            [(3,), (3, 1)],
        ),
    ],
)
def test_one_process_is_set_beside_itself_with_other_gpus(
    asked: dict[str, object], axes: list[dict[str, object]], numbers: list[tuple[int, ...]]
) -> None:
    settings = of_one_process(SingleProcess.check({"device": "cuda", **asked}))
    assert [setting.axes for setting in settings] == axes
    assert [setting.device for setting in settings] == [DeviceOptions(kind="cuda", numbers=own) for own in numbers]
    assert {setting.places for setting in settings} == {()}


def test_the_cpu_is_one_device_without_a_number() -> None:
    assert of_one_process(SingleProcess(device="cpu")) == [Setting(DeviceOptions(), {"device": "cpu"})]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"device": "cuda", "gpu_counts": [1, 5]}, r"gpu_counts is \[1, 5\], but there are 4 GPUs to use"),
        ({"device": "cuda", "gpus": [2], "gpu_counts": [2]}, "but there are 1 GPUs to use"),
        ({"device": "cpu", "gpu_counts": [1]}, "but device is cpu: lower it, or leave it empty"),
        ({"device": "cuda", "gpus": [9]}, r"no GPU \[9\], only \[0, 1, 2, 3\]"),
    ],
)
def test_gpus_that_there_are_not_are_refused(asked: dict[str, object], told: str) -> None:
    with pytest.raises(ParameterError, match=told):
        of_one_process(SingleProcess.check(asked))


@pytest.mark.parametrize(
    ("device", "gpus", "cores", "axes"),
    [
        ("cuda", ((0, 1), (2,)), 0, {"device": "cuda", "gpus": 3, "ranks": 2}),
        ("cuda", ((0,), (0,)), 3, {"device": "cuda", "gpus": 1, "ranks": 2, "cores": 6}),
        ("cpu", ((), (), ()), 2, {"device": "cpu", "ranks": 3, "cores": 6}),
    ],
)
def test_plans_of_ranks_tell_gpus_ranks_and_cores(
    device: str, gpus: tuple[tuple[int, ...], ...], cores: int, axes: dict[str, Scalar]
) -> None:
    places = tuple(Place(rank=rank, ranks=len(gpus), gpus=own) for rank, own in enumerate(gpus))
    params = MultiProcess.check({"device": device, "cores": cores})
    (setting,) = of_ranks(params, [Placement(places=places)])
    assert setting == Setting(DeviceOptions(kind=device), axes, places)
    assert list(setting.axes) == list(axes)
