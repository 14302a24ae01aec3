"""The zoo against published facts, against torchvision's answers and against itself in float16."""

import json
from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, numpy_helper

from inferkit.errors import ModelError
from inferkit.models.precision import convert
from inferkit.models.zoo import MODELS, find_model
from tests.models.counting import count_multiply_adds, count_parameters

GOLDEN = json.loads((Path(__file__).parent / "golden" / "golden.json").read_text())["logits"]
QUICK = {
    *("alexnet_owt", "resnet18", "resnet50", "googlenet", "inception3", "mobilenet_v3_large", "efficientnet_b0"),
    *("convnext_tiny", "deep_mnist", "sensor_net", "text_cnn"),
}
QUICK_HALF = {"resnet18", "mobilenet_v3_large", "text_cnn"}


def images(shape: tuple[int, ...], count: int = 2) -> Any:
    """Noise, bit for bit that of golden/make_golden.py."""
    size = count * int(np.prod(shape))
    return np.random.PCG64(1).random_raw((size + 7) // 8).view(np.uint8)[:size].reshape(count, *shape)


def by_model(names: Iterable[str], quick: Collection[str]) -> list[Any]:
    """Give names as parameters; what is asked of one network is asked by one process, which builds it once."""
    return [
        pytest.param(
            name, marks=[pytest.mark.xdist_group(f"zoo-{name}"), *([] if name in quick else [pytest.mark.slow])]
        )
        for name in names
    ]


@lru_cache(maxsize=1)
def built(name: str) -> onnx.ModelProto:
    return find_model(name).build()


@lru_cache(maxsize=1)
def logits_of(name: str) -> Any:
    return infer(built(name), images(MODELS[name].input_shape))


def infer(model: onnx.ModelProto, *batches: Any) -> Any:
    """Return the logits of all batches, one after the other."""
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(["output"], {"input": batch})[0] for batch in batches])


@pytest.fixture(scope="module", autouse=True)
def forget_networks() -> Iterator[None]:
    yield
    built.cache_clear()


@pytest.fixture(scope="module", params=by_model(MODELS, QUICK))
def model(request: pytest.FixtureRequest) -> onnx.ModelProto:
    return built(request.param)


class TestEveryModel:
    def test_has_the_published_size(self, model: onnx.ModelProto) -> None:
        info = MODELS[model.graph.name]
        assert count_parameters(model) == info.parameters
        assert count_multiply_adds(model) == pytest.approx(info.multiply_adds, rel=0.01)

    def test_is_a_valid_graph_that_casts_uint8_first(self, model: onnx.ModelProto) -> None:
        info, (value,), (output,) = MODELS[model.graph.name], model.graph.input, model.graph.output
        onnx.checker.check_model(model, full_check=True)
        assert (value.name, value.type.tensor_type.elem_type) == ("input", TensorProto.UINT8)
        assert [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim] == ["N", *info.input_shape]
        assert (output.name, output.type.tensor_type.elem_type) == ("output", TensorProto.FLOAT)
        assert [d.dim_param or d.dim_value for d in output.type.tensor_type.shape.dim] == ["N", info.classes]
        assert [node.op_type for node in model.graph.node if "input" in node.input] == ["Cast"]
        assert [n.op_type for n in model.graph.node if n.op_type != "Constant"][:3] == ["Cast", "Sub", "Mul"]

    def test_tells_images_apart(self, model: onnx.ModelProto) -> None:
        logits = logits_of(model.graph.name)
        assert np.isfinite(logits).all()
        assert np.abs(logits[0] - logits[1]).max() > 1e-2 * logits.std()

    def test_answers_as_torchvision_does(self, model: onnx.ModelProto) -> None:
        if model.graph.name not in GOLDEN:
            pytest.skip("torchvision has no such model, or it was left out of golden.json")
        expected = np.array(GOLDEN[model.graph.name])
        found = logits_of(model.graph.name)[:, :8]
        np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("name", by_model(MODELS, QUICK_HALF))
def test_agrees_with_itself_in_float16(name: str) -> None:
    logits, half = logits_of(name), infer(convert(built(name), "float16"), images(MODELS[name].input_shape))
    assert half.dtype == np.float32
    assert np.abs(half - logits).max() < 0.03 * logits.std()
    assert half.argmax(1).tolist() == logits.argmax(1).tolist()


@pytest.mark.parametrize("name", by_model(["resnet18", "efficientnet_b0", "vgg19"], QUICK))
def test_no_activation_comes_near_the_end_of_float16(name: str) -> None:
    model = find_model(name).build()
    for node in model.graph.node:
        if node.op_type in ("Conv", "Add", "Gemm", "Relu") and node.output[0] != "output":
            model.graph.output.append(onnx.helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, None))
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    extremes = np.stack([np.zeros((3, 224, 224)), np.full((3, 224, 224), 255)]).astype(np.uint8)
    for x in (images((3, 224, 224)), extremes):
        assert max(np.abs(tensor).max() for tensor in session.run(None, {"input": x})) < 6e3


BOTTLENECKS = {
    "resnet50": (3, 4, 6, 3),
    "resnet152": (3, 8, 36, 3),
    "resnet200": (3, 24, 36, 3),
    "resnet269": (3, 30, 48, 8),
}


@pytest.mark.parametrize("name", BOTTLENECKS)
def test_bottlenecks_add_up(name: str) -> None:
    """Count a bottleneck network independently: convolutions without bias, two parameters a channel of batch norm."""
    parameters, products, channels, pixels = 3 * 64 * 49 + 2 * 64, 3 * 64 * 49 * 112**2, 64, 56**2
    for stage, (width, depth) in enumerate(zip((64, 128, 256, 512), BOTTLENECKS[name], strict=True)):
        inner = pixels // 4 if stage else pixels  # the 3 × 3 convolution of the first unit strides
        for index in range(depth):
            reduced, filtered, expanded = channels * width, 9 * width * width, 4 * width * width
            shortcut = 0 if index else channels * 4 * width
            parameters += reduced + filtered + expanded + shortcut + 2 * (2 * width + 4 * width * (1 if index else 2))
            products += reduced * (inner if index else pixels) + (filtered + expanded + shortcut) * inner
            channels = 4 * width
        pixels = inner
    assert parameters + 2048 * 1000 + 1000 == MODELS[name].parameters
    assert products + 2048 * 1000 == pytest.approx(MODELS[name].multiply_adds, rel=1e-4)


class TestInput:
    def test_float32_pixels_give_the_same_logits(self) -> None:
        x = images((3, 224, 224))
        model = find_model("resnet18").build(dtype="float32")
        assert model.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT
        expected = infer(find_model("resnet18").build(), x)
        np.testing.assert_allclose(infer(model, x.astype(np.float32)), expected, rtol=1e-5)

    def test_any_batch(self) -> None:
        x = images((3, 224, 224), 3)
        whole, alone = np.split(infer(find_model("googlenet").build(), x, x[:1], x[1:2], x[2:]), 2)
        np.testing.assert_allclose(alone, whole, rtol=1e-3)

    @pytest.mark.parametrize("shape", [(3, 32, 32), (3, 64, 97)])
    def test_other_sizes_where_the_network_averages_globally(self, shape: tuple[int, ...]) -> None:
        x = images(shape)
        assert infer(find_model("resnet18").build(shape=shape), x).shape == (2, 1000)

    @pytest.mark.parametrize("name", [name for name, info in MODELS.items() if info.smallest and name in QUICK])
    def test_the_smallest_size_of_each(self, name: str) -> None:
        smallest = MODELS[name].smallest
        assert smallest is not None
        shape = (3, smallest, smallest)
        assert np.isfinite(infer(find_model(name).build(shape=shape), images(shape))).all()

    @pytest.mark.parametrize("shape", [(3, 31, 224), (3, 224), (1, 224, 224), (4, 224, 224)])
    def test_sizes_that_do_not_fit_are_refused(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ModelError, match=r"'resnet18' cannot take images of .* 32 pixels or more"):
            find_model("resnet18").build(shape=shape)

    @pytest.mark.parametrize("name", ["alexnet_owt", "vgg16", "vit_b16", "overfeat", "deep_mnist"])
    def test_dense_networks_take_their_own_size_only(self, name: str) -> None:
        with pytest.raises(ModelError, match=r"it takes images of \(.*\) only"):
            find_model(name).build(shape=(3, 256, 256))

    def test_other_dtypes_are_refused(self) -> None:
        with pytest.raises(ModelError, match="'float16' is unknown; choose one of uint8, float32"):
            find_model("resnet18").build(dtype="float16")


class TestNames:
    def test_unknown_names_bring_the_nearest_and_all_others(self) -> None:
        with pytest.raises(ModelError, match=r"did you mean 'resnet50'\?.*alexnet_owt, .*text_cnn") as caught:
            find_model("resnet5o").build()
        assert all(name in str(caught.value) for name in MODELS)

    def test_names_unlike_any_bring_no_guess(self) -> None:
        with pytest.raises(ModelError, match="'zzzz' is unknown: choose one of"):
            find_model("zzzz").build()

    def test_the_recipe_is_complete(self) -> None:
        recipe = "alexnet_owt googlenet inception3 inception4 overfeat resnet18 resnet34 resnet50 resnet101 resnet152 "
        recipe += "resnet200 resnet269 vgg11 vgg13 vgg16 vgg19 deep_mnist acoustic_model sensor_net text_cnn"
        assert set(recipe.split()) <= set(MODELS)


class TestWeights:
    def test_the_seed_decides(self) -> None:
        def weights(seed: int) -> list[Any]:
            return [numpy_helper.to_array(w) for w in find_model("text_cnn").build(seed=seed).graph.initializer]

        first, again, other = weights(3), weights(3), weights(4)
        assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
        assert not any(np.array_equal(a, b) for a, b in zip(first, other, strict=True))

    def test_have_the_variance_of_he_and_no_mean(self) -> None:
        weights = {w.name: numpy_helper.to_array(w) for w in find_model("resnet18").build().graph.initializer}
        first = weights["conv9.weight"]
        assert first.var() == pytest.approx(2 / np.prod(first.shape[1:]), rel=0.02)
        assert abs(first.mean()) < 0.01 * first.std()
        assert len(np.unique(first)) > 0.95 * first.size
