"""A user's own plan: what is refused, and why. That one is run is seen on a GPU alone (tests/gpu)."""

from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from inferkit.errors import EngineError
from tests.engines.conftest import MakeModel

SHAPE = (3, 5, 7)
GPU = SimpleNamespace(name="a GPU", compute_capability="9.0")


@pytest.fixture(scope="module")
def own() -> Any:
    """Give the module; skip, with the reason, where there is no TensorRT."""
    try:
        return import_module("inferkit.engines.tensorrt_own")
    except EngineError as error:
        pytest.skip(str(error))


class BuiltEngine:
    """An engine as a library tells of it: name, whether it is an input, dtype and shape of each tensor."""

    def __init__(self, trt: Any, *tensors: tuple[str, bool, str, tuple[int, ...]]) -> None:
        self.trt = trt
        self.tensors = {name: (image, dtype, shape) for name, image, dtype, shape in tensors}
        self.num_io_tensors = len(tensors)

    def get_tensor_name(self, index: int) -> str:
        return list(self.tensors)[index]

    def get_tensor_mode(self, name: str) -> Any:
        return self.trt.TensorIOMode.INPUT if self.tensors[name][0] else self.trt.TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> Any:
        return getattr(self.trt, self.tensors[name][1])

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.tensors[name][2]

    def get_tensor_profile_shape(self, name: str, profile: int) -> list[tuple[int, ...]]:
        return [(count, *SHAPE) for count in (2, 4, 8)]


OUT = ("out", False, "float32", (4, 10))


@pytest.mark.parametrize(("batch", "asked"), [(4, 4), (-1, 2), (-1, 5), (-1, 8)])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_a_plan_for_these_images_fits(own: Any, batch: int, asked: int, dtype: str) -> None:
    own.check_fits(BuiltEngine(own.trt, ("in", True, dtype, (batch, *SHAPE)), OUT), Path("x.plan"), asked, dtype, SHAPE)


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ([("in", True, "float16", (4, *SHAPE)), OUT], r"takes in DataType.HALF \(4, 3, 5, 7\) and gives 1 outputs"),
        ([("in", True, "uint8", (4, 7, 5, 3)), OUT], r"\(4, 7, 5, 3\).*the images are uint8 \(batch, 3, 5, 7\)"),
        ([("in", True, "uint8", (4, 105)), OUT], r"\(4, 105\)"),
        ([("in", True, "uint8", ()), OUT], r"takes in DataType.UINT8 \(\)"),
        ([("in", True, "uint8", (4, 3, -1, -1)), OUT], r"\(4, 3, -1, -1\)"),
        ([("a", True, "uint8", (4, *SHAPE)), ("b", True, "uint8", (4, *SHAPE)), OUT], r"takes a .*, b .*"),
        ([OUT], "takes nothing"),
        ([("in", True, "uint8", (4, *SHAPE))], "gives 0 outputs"),
        ([("in", True, "uint8", (5, *SHAPE)), OUT], r"batches of 5, asked for 4: set batch_sizes to \[5\]"),
    ],
)
def test_a_plan_for_other_images_is_refused_with_what_it_takes(own: Any, tensors: list[Any], reason: str) -> None:
    with pytest.raises(EngineError, match=rf"x.plan .*{reason}"):
        own.check_fits(BuiltEngine(own.trt, *tensors), Path("x.plan"), 4, "uint8", SHAPE)


@pytest.mark.parametrize("asked", [1, 9])
def test_a_batch_outside_the_profile_is_refused(own: Any, asked: int) -> None:
    engine = BuiltEngine(own.trt, ("in", True, "uint8", (-1, *SHAPE)), OUT)
    with pytest.raises(EngineError, match=rf"batches of 2 to 8, asked for {asked}: set batch_sizes to \[8\]"):
        own.check_fits(engine, Path("x.plan"), asked, "uint8", SHAPE)


def test_a_real_plan_that_cannot_run_here_and_rubbish_are_refused_by_the_library(
    own: Any, make_model: MakeModel, tmp_path: Path
) -> None:
    build_plan = import_module("inferkit.engines.tensorrt_plan").build_plan
    plan = build_plan(Path(make_model("uint8", SHAPE)), 4, "uint8", SHAPE)
    runtime = import_module("inferkit.engines.tensorrt_library").open_runtime()
    path = tmp_path / "x.plan"
    for content in (plan, plan[: len(plan) // 2], b"no plan"):  # there is no GPU in this test: none is run
        path.write_bytes(content)
        path.chmod(0o600)
        if runtime.deserialize_cuda_engine(content) is not None:
            continue  # a machine with a GPU that runs it
        with pytest.raises(EngineError, match=r"does not run .*x.plan on a GPU \(compute capability 9.0\): \S+"):
            own.own_engine(runtime, GPU, path, 4, "uint8", SHAPE, {})


@pytest.mark.parametrize(
    ("library", "version", "capability", "told"),
    [
        ("tensorrt_rtx", "1.7.1.116", "9.0", True),
        ("tensorrt_rtx", "1.6.1.120", "9.0", False),
        ("tensorrt_rtx", "1.7.1.116", "8.9", False),
        ("tensorrt", "11.4.0.106", "9.0", False),
    ],
)
def test_a_refusal_on_hopper_names_the_versions_that_run_there(
    own: Any, monkeypatch: pytest.MonkeyPatch, library: str, version: str, capability: str, *, told: bool
) -> None:
    monkeypatch.setattr(own, "trt", SimpleNamespace(__name__=library, __version__=version))
    message = str(own.refused_by(SimpleNamespace(name="H", compute_capability=capability), what="does not run x.plan"))
    assert ("tensorrt-rtx>=1.4,<1.7" in message) == told
    assert f"{library} {version} does not run x.plan on H" in message
