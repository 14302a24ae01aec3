"""Reading and building, which TensorRT-RTX does without a GPU; tests/gpu infers."""

import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from inferkit.devices.cpu import CpuDevice
from inferkit.engines import ENGINES, engine_class
from inferkit.errors import EngineError
from inferkit.models.cache import model_path
from tests.engines.conftest import MakeModel

SHAPE = (3, 5, 7)


@pytest.fixture(scope="module")
def plans() -> Any:
    """Give the module that builds plans; skip, with the reason, where there is no TensorRT."""
    try:
        return import_module("inferkit.engines.tensorrt_plan")
    except EngineError as error:
        pytest.skip(str(error))


def test_missing_library_is_named_with_its_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, name, None)
    for name in [name for name in sys.modules if name.startswith("inferkit.engines.tensorrt")]:
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert "tensorrt" in ENGINES
    with pytest.raises(EngineError, match=r"tensorrt_rtx.*pip install"):
        engine_class("tensorrt")


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("batch", ["batch", 4])
def test_model_that_fits_is_built(plans: Any, make_model: MakeModel, dtype: str, batch: int | str) -> None:
    assert len(plans.build_plan(Path(make_model(dtype, SHAPE, batch)), 4, dtype, SHAPE)) > 1000


def test_an_output_of_another_batch_is_refused(plans: Any, make_model: MakeModel) -> None:
    model = onnx.load(make_model("uint8", SHAPE))
    model.graph.node[-1].output[0] = "flat"
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.int64), "first"))
    model.graph.node.append(helper.make_node("Gather", ["flat", "first"], ["output"]))
    path = Path(make_model("uint8", SHAPE)).with_name("one.onnx")
    onnx.save(model, path)
    with pytest.raises(EngineError, match=r"one.onnx gives 1 results \(shape \[1, 105\]\) for a batch of 4 images"):
        plans.build_plan(path, 4, "uint8", SHAPE)


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_zoo_model_is_built(plans: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    model = model_path("sensor_net", precision=precision)
    assert len(plans.build_plan(model.path, 300, "uint8", model.input_shape)) > 1000


@pytest.mark.parametrize(
    ("dtype", "shape", "batch", "fix"),
    [
        ("float32", SHAPE, 4, "the images are float32"),
        ("uint8", (3, 7, 5), 4, r"the images are uint8 \(batch, 3, 7, 5\)"),
        ("uint8", SHAPE, 5, r"set batch_sizes to \[4\]"),
    ],
)
def test_images_that_do_not_fit_are_refused(
    plans: Any, make_model: MakeModel, dtype: str, shape: tuple[int, ...], batch: int, fix: str
) -> None:
    with pytest.raises(EngineError, match=fix):
        plans.build_plan(Path(make_model("uint8", SHAPE, 4)), batch, dtype, shape)


def test_node_that_cannot_be_read_is_named(plans: Any, tmp_path: Path) -> None:
    node = helper.make_node("Transpose", ["input"], ["output"], name="turn", perm=[0, 2, 3, 1])
    values = [helper.make_tensor_value_info(name, TensorProto.UINT8, None) for name in ("input", "output")]
    values[0] = helper.make_tensor_value_info("input", TensorProto.UINT8, ["N", *SHAPE])
    graph = helper.make_graph([node], "turned", values[:1], values[1:])
    onnx.save(helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 17)]), tmp_path / "m.onnx")
    with pytest.raises(EngineError, match=r"node 0 'turn' \(Transpose\)"):
        plans.build_plan(tmp_path / "m.onnx", 4, "uint8", SHAPE)


def test_file_that_is_no_model_or_missing_is_named(plans: Any, tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no protobuf")
    for name in ("text", "missing"):
        with pytest.raises(EngineError, match=f"{name}.onnx"):
            plans.build_plan(tmp_path / f"{name}.onnx", 4, "uint8", SHAPE)


def test_key_follows_model_batch_and_images(plans: Any, make_model: MakeModel) -> None:
    model = Path(make_model("uint8", SHAPE))
    known = plans.shaped_by(model, 4, "uint8", SHAPE)
    assert known == plans.shaped_by(model, 4, "uint8", SHAPE)
    assert known["library"] in {"tensorrt", "tensorrt_rtx"}
    others = [(5, "uint8", SHAPE), (4, "float32", SHAPE), (4, "uint8", (3, 7, 5))]
    assert all(plans.shaped_by(model, *other) != known for other in others)
    model.write_bytes(model.read_bytes() + b"\0")
    assert plans.shaped_by(model, 4, "uint8", SHAPE) != known


def test_engine_wants_a_gpu(plans: Any, make_model: MakeModel) -> None:
    with CpuDevice() as device, pytest.raises(EngineError, match="use engine onnx"):
        engine_class("tensorrt").build(device, make_model("uint8", SHAPE), 4, "uint8", SHAPE)


class RefusingRuntime:
    """Refuses the first plans, as a library does that did not make them."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals

    def deserialize_cuda_engine(self, plan: bytes) -> bytes | None:
        self.refusals -= 1
        return plan if self.refusals < 0 else None


def make(runtime: RefusingRuntime, model: Path) -> tuple[Any, dict[str, str]]:
    facts: dict[str, str] = {}
    gpu = SimpleNamespace(name="a GPU", compute_capability="9.0", driver="580")
    make_engine = import_module("inferkit.engines.tensorrt")._engine
    return make_engine(runtime, gpu, model, 4, "uint8", SHAPE, facts), facts


def test_engine_is_built_once_and_again_where_the_cache_is_damaged_or_foreign(
    plans: Any, make_model: MakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    model = Path(make_model("uint8", SHAPE))
    built, facts = make(RefusingRuntime(0), model)
    assert facts["engine"].startswith("built in")
    found, facts = make(RefusingRuntime(0), model)
    assert found == built
    (file,) = (tmp_path / "inferkit" / "engines").glob("*.engine")
    assert facts == {"engine": "from the cache", "file": file.name}
    _, facts = make(RefusingRuntime(1), model)
    assert "refused" in facts["cache_warning"]
    assert facts["engine"].startswith("built in")
    file.write_bytes(file.read_bytes()[:-1])
    _, facts = make(RefusingRuntime(0), model)
    assert "torn" in facts["cache_warning"]
    assert "cache_warning" not in make(RefusingRuntime(0), model)[1]


def test_engine_that_the_gpu_refuses_is_no_engine(
    plans: Any, make_model: MakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(EngineError, match=r"does not run on a GPU \(compute capability 9.0\)"):
        make(RefusingRuntime(9), Path(make_model("uint8", SHAPE)))
    assert not list((tmp_path / "inferkit" / "engines").glob("*.engine"))
