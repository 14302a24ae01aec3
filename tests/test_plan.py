"""From parameters to points."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inferkit.dataset.synthetic import make_synthetic
from inferkit.errors import DatasetError, InferkitError, ModelError, ParameterError
from inferkit.params import HostToDevice, SingleProcess, StorageToHost
from inferkit.plan import Plan, plan, prepare


@pytest.fixture
def data(tmp_path: Path) -> str:
    make_synthetic(tmp_path / "tensors", images=10, shape=(3, 8, 8))
    return str(tmp_path / "tensors")


def measures(planned: Plan) -> list[str]:
    return [point.measure for point in planned.points]


def test_03a_is_the_product_of_its_axes(data: str) -> None:
    planned = plan(StorageToHost(data=data, readers=["buffered", "direct"], threads=[1, 2], batch_sizes=[3, 4, 5]))
    assert len(planned.points) == 12
    assert len({point.key for point in planned.points}) == 12


def test_ceilings_are_measured_once_per_configuration(data: str) -> None:
    planned = plan(SingleProcess(data=data, engines=["null"], readers=["buffered", "mapped"], batch_sizes=[2, 4]))
    assert measures(planned) == ["read", "copy", "read", "copy", "pipeline", "pipeline", "pipeline", "pipeline"]
    by_reader = {str(p.axes["reader"]): set(p.ceilings) for p in planned.points if p.measure == "pipeline"}
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


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from inferkit.host import Host

    monkeypatch.setattr("inferkit.plan.facts", lambda: Host(cpu="x"))
    with pytest.raises(ParameterError, match="inferkit doctor"):
        plan(HostToDevice(device="cuda"))


def test_the_table_tells_points_bytes_and_time(data: str) -> None:
    text = str(plan(StorageToHost(data=data, threads=[1, 7], duration_s=2.0, repeats=1, warmup_s=0.5)))
    assert "read" in text
    assert "7" in text
    assert "10 images" in text
    assert "2 points, at least 8 s" in text
