"""From parameters to points."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inferkit.dataset.synthetic import make_synthetic
from inferkit.errors import DatasetError, InferkitError, ModelError, ParameterError
from inferkit.plan.build import plan, prepare
from inferkit.plan.points import Plan, Point
from inferkit.records.job import device_of, reading_of
from inferkit.records.params import HostToDevice, MakeDataset, SingleProcess, StorageToHost


@pytest.fixture
def data(tmp_path: Path) -> str:
    make_synthetic(MakeDataset(data=str(tmp_path / "tensors"), limit=10, shape=[3, 8, 8]))
    return str(tmp_path / "tensors")


def measures(planned: Plan) -> list[str]:
    return [point.measure for point in planned.points]


def pipelines(planned: Plan) -> list[Point]:
    return [point for point in planned.points if point.measure == "pipeline"]


def threads(point: Point) -> int:
    options = reading_of(point.job)
    assert options is not None
    return options.threads


def numbers(point: Point) -> tuple[int, ...]:
    options = device_of(point.job)
    assert options is not None
    return options.numbers


def test_03a_is_the_product_of_its_axes(data: str) -> None:
    planned = plan(StorageToHost(data=data, readers=["buffered", "direct"], threads=[1, 2], batch_sizes=[3, 4, 5]))
    assert len(planned.points) == 12
    assert len({point.key for point in planned.points}) == 12


def test_ceilings_are_measured_once_per_configuration(data: str) -> None:
    planned = plan(SingleProcess(data=data, engines=["null"], readers=["buffered", "mapped"], batch_sizes=[2, 4]))
    assert measures(planned) == ["read", "copy", "read", "copy", "pipeline", "pipeline", "pipeline", "pipeline"]
    by_reader = {str(point.axes["reader"]): set(point.ceilings) for point in pipelines(planned)}
    assert by_reader == {"buffered": {"read", "copy"}, "mapped": {"copy"}}


def test_the_null_engine_needs_no_model(data: str) -> None:
    planned = plan(SingleProcess(data=data, engines=["null"], models=["not a model"]))
    assert measures(planned) == ["read", "copy", "pipeline"]


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        (lambda data: StorageToHost(data=data, readers=["mmap"]), ParameterError, "mapped"),
        (lambda data: SingleProcess(data=data, engines=["tenserrt"]), ParameterError, "tensorrt"),
        (lambda data: SingleProcess(data=data, engines=["onnx"], models=["resnet19"]), ModelError, "resnet18"),
        (lambda data: StorageToHost(data=data + "x"), DatasetError, "tensorsx"),
        (lambda data: StorageToHost(data=data, shape=[3, 9, 9]), DatasetError, "9"),
        (lambda data: HostToDevice(memories=["pinned"]), ParameterError, "pageable"),
        (lambda data: HostToDevice(gpus=[1]), ParameterError, "device: cuda"),
    ],
)
def test_what_cannot_run_is_refused_with_the_fix(
    change: Callable[[str], Any], error: type[InferkitError], told: str, data: str
) -> None:
    with pytest.raises(error) as caught:
        plan(change(data))
    assert told in str(caught.value)
    prepared = prepare(change(data))
    assert prepared.points == []
    assert prepared.failure is not None
    assert prepared.failure.message == str(caught.value)


@pytest.fixture
def three_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    from inferkit.records.host import Gpu, Host

    gpus = [Gpu(index=index, name="GPU") for index in range(3)]
    monkeypatch.setattr("inferkit.plan.devices.facts", lambda: Host(gpus=gpus))


@pytest.mark.usefixtures("three_gpus")
@pytest.mark.parametrize(
    ("counts", "sets"), [([], [(0, 1, 2)]), ([1, 3], [(0,), (0, 1, 2)]), ([4], []), ([2, 2], [(0, 1), (0, 1)])]
)
def test_gpus_are_compared_by_their_number(data: str, counts: list[int], sets: list[tuple[int, ...]]) -> None:
    params = SingleProcess(data=data, engines=["null"], device="cuda", gpu_counts=counts)
    if not sets:
        with pytest.raises(ParameterError, match=r"gpu_counts is \[4\], but there are 3 GPUs"):
            plan(params)
        return
    assert {numbers(point) for point in pipelines(plan(params))} == set(sets)


@pytest.mark.usefixtures("three_gpus")
def test_every_gpu_has_as_many_readers_and_reading_alone_as_many_as_its_pipeline(data: str) -> None:
    params = SingleProcess(data=data, engines=["null"], device="cuda", gpu_counts=[1, 3], threads=[1, 4])
    planned = plan(params)
    own, points = pipelines(planned), planned.points
    assert [(len(numbers(point)), threads(point)) for point in own] == [(1, 1), (1, 4), (3, 3), (3, 12)]
    assert [threads(point.ceilings["read"]) for point in own] == [1, 4, 3, 12]
    assert [point.axes["threads"] for point in own] == [1, 4, 1, 4]
    assert [point.ceilings["read"].axes["threads"] for point in own] == [1, 4, 3, 12]
    assert len({point.key for point in points}) == len({point.fingerprint for point in points}) == len(points)


@pytest.mark.usefixtures("three_gpus")
def test_what_reads_with_as_many_threads_for_other_gpus_is_measured_once(data: str) -> None:
    params = SingleProcess(data=data, engines=["null"], device="cuda", gpu_counts=[1, 2], threads=[1, 2])
    points = plan(params).points
    assert [point.axes["threads"] for point in points if point.measure == "read"] == [1, 2, 4]
    assert len({point.fingerprint for point in points}) == len(points)


def test_the_cpu_has_no_number_of_gpus(data: str) -> None:
    with pytest.raises(ParameterError, match="device is cpu"):
        plan(SingleProcess(data=data, engines=["null"], gpu_counts=[2]))


def test_a_precision_that_an_engine_lacks_is_refused_with_what_to_use(data: str) -> None:
    with pytest.raises(ParameterError, match=r"engine onnx computes no fp8: .* use int8"):
        plan(SingleProcess(readers=["memory"], engines=["onnx"], models=["sensor_net"], precisions=["fp8"]))


def test_rules_leave_out_points_and_the_ceilings_that_nothing_needs(data: str) -> None:
    rules: list[dict[str, Any]] = [
        {"when": {"batch_size": 2}, "skip": True},
        {"when": {"threads": 3}, "set": {"batches": 7}},
    ]
    params = SingleProcess(data=data, engines=["null"], batch_sizes=[2, 4], threads=[1, 3], grid=rules)
    planned = plan(params)
    assert {point.axes["batch_size"] for point in planned.points} == {4}
    windows = {(p.measure, p.axes["threads"]): p.job.window.images for p in planned.points if "threads" in p.axes}
    assert windows == {("read", 1): 0, ("read", 3): 0, ("pipeline", 1): 0, ("pipeline", 3): 28}
    with pytest.raises(ParameterError, match="its rules leave out all 4 points"):
        plan(params.model_copy(update={"grid": [{"skip": True}]}))


def test_no_network_is_made_for_points_that_rules_leave_out(data: str) -> None:
    rules = [{"when": {"engine": "onnx"}, "skip": True}]
    planned = plan(SingleProcess(data=data, engines=["null", "onnx"], models=["no such model"], grid=rules))
    assert measures(planned) == ["read", "copy", "pipeline"]


def test_random_images_take_the_shape_that_models_want() -> None:
    planned = plan(SingleProcess(readers=["memory"], engines=["onnx"], models=["sensor_net"]))
    assert planned.dataset is not None
    assert planned.dataset.shape == (1, 1, 784)


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from inferkit.records.host import Host

    monkeypatch.setattr("inferkit.plan.devices.facts", lambda: Host(cpu="x"))
    with pytest.raises(ParameterError, match="inferkit doctor"):
        plan(HostToDevice(device="cuda"))


def test_the_table_tells_points_bytes_and_time(data: str) -> None:
    text = str(plan(StorageToHost(data=data, threads=[1, 7], duration_s=2.0, repeats=1, warmup_s=0.5)))
    assert "read" in text
    assert "7" in text
    assert "10 images" in text
    assert "2 points, at least 8 s" in text
