from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto

from inferkit.errors import ModelError
from inferkit.models.adapt import adapt
from inferkit.models.precision import PRECISIONS, convert
from inferkit.models.reference import reference_session
from inferkit.models.zoo import find_model
from tests.models.odd_networks import RUN, SHAPE, network, weight


@pytest.fixture(scope="module", params=["uint8", "float32"])
def model(request: pytest.FixtureRequest) -> onnx.ModelProto:
    return find_model("text_cnn").build(dtype=request.param)


def _run(model: onnx.ModelProto, x: Any) -> Any:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"input": x})[0]


def test_float32_is_the_graph_as_it_is(model: onnx.ModelProto) -> None:
    assert convert(model, "float32").SerializeToString() == model.SerializeToString()


def test_float16_changes_all_weights_and_neither_input_nor_output(model: onnx.ModelProto) -> None:
    before = model.SerializeToString()
    half = convert(model, "float16")
    assert model.SerializeToString() == before
    assert {w.data_type for w in half.graph.initializer} == {TensorProto.FLOAT16}
    assert half.graph.input[0].type == model.graph.input[0].type
    assert half.graph.output[0].type == model.graph.output[0].type


def test_float16_casts_the_pixels_to_float16_at_once(model: onnx.ModelProto) -> None:
    half = convert(model, "float16")
    (first,) = [node for node in half.graph.node if "input" in node.input]
    assert (first.op_type, first.attribute[0].i) == ("Cast", TensorProto.FLOAT16)


def test_float16_is_close_to_float32(model: onnx.ModelProto) -> None:
    dtype = np.uint8 if model.graph.input[0].type.tensor_type.elem_type == TensorProto.UINT8 else np.float32
    x = np.random.default_rng(0).integers(0, 256, (5, 1, 59, 128)).astype(dtype)
    expected = _run(model, x)
    np.testing.assert_allclose(_run(convert(model, "float16"), x), expected, atol=0.01 * np.abs(expected).max())


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(
    "name", ["opset 1, as Caffe2 wrote it", "a Resize", "constants behind those who read them", "a batch of 1"]
)
def test_networks_of_others_are_close_to_float32(name: str, precision: str) -> None:
    x = np.random.default_rng(0).integers(0, 256, (4, *SHAPE), dtype=np.uint8)
    adapted = adapt(RUN[name](), shape=SHAPE)
    wanted = _run(adapted, x)
    found = reference_session(convert(adapted, precision, x).SerializeToString()).run(None, {"input": x})[0]
    np.testing.assert_allclose(found, wanted, atol=0.1 * np.abs(wanted).max())


def test_what_a_converter_gives_up_is_refused_with_the_reason() -> None:
    twice = adapt(network(weights=[weight(), weight()]), shape=SHAPE)
    for precision, why in (("float16", "AssertionError"), ("int8", "not unique")):
        with pytest.raises(ModelError, match=f"cannot be converted to {precision}: .*{why}.*; use float32"):
            convert(twice, precision, np.zeros((1, *SHAPE), np.uint8))


def test_unknown_precisions_are_refused(model: onnx.ModelProto) -> None:
    with pytest.raises(ModelError, match="'int4' is unknown: choose one of " + ", ".join(PRECISIONS)):
        convert(model, "int4")
