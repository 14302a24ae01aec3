"""Every network of the zoo in every precision through TensorRT's parser, and where it needs no GPU, its builder."""

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import numpy as np
import pytest

from inferkit.errors import EngineError
from inferkit.models.cache import model_path
from inferkit.models.model_file import ModelFile
from inferkit.models.zoo import MODELS

QUICK = ("resnet18", "googlenet", "mobilenet_v3_large", "text_cnn")
NAMES = [
    pytest.param(name, marks=[pytest.mark.xdist_group(f"zoo-{name}"), *([] if name in QUICK else [pytest.mark.slow])])
    for name in MODELS
]
"""What is asked of one network is asked by one process, which makes each of its precisions once."""


@pytest.fixture(scope="module")
def plans() -> Any:
    """Give the module that builds plans; skip, with the reason, where there is no TensorRT."""
    try:
        return import_module("inferkit.engines.tensorrt_plan")
    except EngineError as error:
        pytest.skip(str(error))


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as changed:
        changed.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


def quantised(name: str, precision: str) -> ModelFile:
    images = np.random.default_rng(0).integers(0, 256, (2, *MODELS[name].input_shape)).astype(np.uint8)
    return model_path(name, precision=precision, calibration=images)


@pytest.mark.parametrize("precision", [pytest.param("float32", marks=pytest.mark.slow), "float16"])
@pytest.mark.parametrize("name", NAMES)
def test_is_built(plans: Any, name: str, precision: str) -> None:
    model = model_path(name, precision=precision)
    assert len(plans.build_plan(model.path, 4, "uint8", model.input_shape)) > 1000


@pytest.mark.parametrize("precision", [pytest.param("int8", marks=pytest.mark.slow), "fp8"])
@pytest.mark.parametrize("name", NAMES)
def test_is_read_and_multiplies_in_its_type(plans: Any, name: str, precision: str) -> None:
    """TensorRT-RTX 1.4 builds int8 nowhere, and gains nothing from fp8: TensorRT is to infer these."""
    trt, model = plans.trt, quantised(name, precision)
    network, _parser = plans.read_network(trt.Builder(plans.LOG), model.path)
    layers = [network.get_layer(k) for k in range(network.num_layers)]
    wanted = {"int8": (trt.int8, trt.float32), "fp8": (trt.fp8, trt.float16)}[precision]
    assert plans.quantised_to(network) == {wanted[0]}
    back = {layer.get_output(0).name for layer in layers if layer.type == trt.LayerType.DEQUANTIZE}
    products = [layer for layer in layers if layer.type in (trt.LayerType.CONVOLUTION, trt.LayerType.MATRIX_MULTIPLY)]
    assert products
    assert {layer.get_output(0).dtype for layer in products} == {wanted[1]}
    assert back


@pytest.mark.xdist_group("zoo-resnet18")
def test_int8_is_refused_by_rtx_in_one_line(plans: Any) -> None:
    if plans.trt.__name__ != "tensorrt_rtx":
        pytest.skip("tensorrt builds int8")
    model = quantised("resnet18", "int8")
    with pytest.raises(EngineError, match=r"^tensorrt_rtx \S+ builds no network of int8: use precision float16,"):
        plans.build_plan(model.path, 4, "uint8", model.input_shape)


@pytest.mark.xdist_group("zoo-resnet18")
def test_fp8_is_refused_by_rtx_in_one_line(plans: Any) -> None:
    if not plans.slow_in_fp8(plans.trt.__name__, plans.trt.__version__):
        pytest.skip(f"nothing is known of fp8 in {plans.trt.__name__} {plans.trt.__version__}")
    model = quantised("resnet18", "fp8")
    with pytest.raises(
        EngineError, match=r"^tensorrt_rtx 1\.4\.\S+ infers fp8 slower than float16, and wrongly: use \S+ float16$"
    ):
        plans.build_plan(model.path, 4, "uint8", model.input_shape)


@pytest.mark.parametrize(
    ("library", "version", "slow"),
    [
        *(("tensorrt_rtx", version, True) for version in ("1.4.0.76", "1.5.0.114", "1.6.1.120")),
        ("tensorrt_rtx", "1.7.1", False),
        ("tensorrt", "10.16.1.11", False),
    ],
)
def test_fp8_is_left_to_whatever_may_gain_from_it(plans: Any, library: str, version: str, slow: bool) -> None:
    assert plans.slow_in_fp8(library, version) is slow
