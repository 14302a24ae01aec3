"""User files: the adapted network on raw pixels against the original on pixels that NumPy prepared."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import spox
import spox.opset.ai.onnx.v17 as op
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, numpy_helper

from inferkit.errors import ModelError
from inferkit.models.adapt import adapt
from inferkit.models.onnx_file import digest_of, load_model
from inferkit.models.preprocessing import Preprocessing
from inferkit.models.probe import probe

SHAPE = (3, 10, 12)
WEIGHT = np.random.default_rng(7).normal(size=(5, 3, 3, 3)).astype(np.float32)


def pixels(count: int = 4, shape: tuple[int, ...] = SHAPE) -> Any:
    return np.random.default_rng(1).integers(0, 256, (count, *shape), dtype=np.uint8)


def user_model(
    *,
    layout: str = "NCHW",
    dtype: Any = np.float32,
    batch: int | str | None = "batch",
    size: tuple[int | None, int | None] = (10, 12),
    name: str = "data",
    reshape: list[int] | None = None,
) -> onnx.ModelProto:
    """A convolution that notices any swap of axes or channels, and what exporters put behind it."""
    dims = (batch, 3, *size) if layout == "NCHW" else (batch, *size, 3)
    image = spox.argument(spox.Tensor(dtype, dims))
    x = image if layout == "NCHW" else op.transpose(image, perm=(0, 3, 1, 2))
    x = op.cast(x, to=np.float32) if dtype != np.float32 else x
    y = op.global_average_pool(op.relu(op.conv(x, op.const(WEIGHT))))
    y = op.flatten(y) if reshape is None else op.reshape(y, op.const(reshape, dtype=np.int64))
    return spox.build({name: image}, {"scores": y})


def run_all(model: onnx.ModelProto, x: Any) -> list[Any]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, {session.get_inputs()[0].name: x}))


def run(model: onnx.ModelProto, x: Any) -> Any:
    return run_all(model, x)[0]


def dims(value: onnx.ValueInfoProto) -> list[int | str]:
    return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]


class TestPreprocessing:
    @settings(max_examples=25)
    @given(
        layout=st.sampled_from(["NCHW", "NHWC"]),
        dtype=st.sampled_from(["uint8", "float32"]),
        scale=st.sampled_from([None, 1 / 255, 1 / 127.5, 2.0]),
        mean=st.one_of(st.none(), st.floats(-2, 200), st.tuples(*[st.floats(-2, 200)] * 3)),
        std=st.one_of(st.none(), st.floats(0.1, 80), st.tuples(*[st.floats(0.1, 80)] * 3)),
    )
    def test_equals_that_of_numpy(self, layout: str, dtype: str, scale: Any, mean: Any, std: Any) -> None:
        original, x = user_model(layout=layout), pixels()
        adapted = adapt(original, dtype=dtype, preprocessing=Preprocessing(scale=scale, mean=mean, std=std))
        prepared = x.transpose(0, 2, 3, 1).astype(np.float64) * (scale or 1.0)
        prepared = (prepared - (0.0 if mean is None else mean)) / (1.0 if std is None else std)
        prepared = prepared if layout == "NHWC" else prepared.transpose(0, 3, 1, 2)
        expected = run(original, np.ascontiguousarray(prepared, np.float32))
        found = run(adapted, x.astype(dtype))
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * (1 + np.abs(prepared).max()))

    def test_uint8_feeds_a_cast_and_nothing_else(self) -> None:
        wanted = Preprocessing(scale=1 / 255, mean=(0.5, 0.4, 0.3), std=0.2)
        nodes = adapt(user_model(layout="NHWC"), preprocessing=wanted).graph.node
        order = [node.op_type for node in nodes if node.op_type != "Constant"]
        assert order[:5] == ["Cast", "Sub", "Mul", "Transpose", "Transpose"]
        assert [node.op_type for node in nodes if "input" in node.input] == ["Cast"]

    def test_float16_networks_get_float16(self) -> None:
        original, x = user_model(dtype=np.float16), pixels()
        np.testing.assert_allclose(run(adapt(original), x), run(original, x.astype(np.float16)), rtol=1e-5)

    @pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
    def test_uint8_networks_keep_their_own_normalisation(self, layout: str) -> None:
        original, x = user_model(dtype=np.uint8, layout=layout), pixels()
        adapted = adapt(original)
        assert [node.op_type for node in adapted.graph.node if "input" in node.input] == ["Cast"]
        own = x if layout == "NCHW" else np.ascontiguousarray(x.transpose(0, 2, 3, 1))
        np.testing.assert_allclose(run(adapted, x), run(original, own), rtol=1e-5)
        with pytest.raises(ModelError, match="normalises pixels itself"):
            adapt(original, preprocessing=Preprocessing(mean=1.0))

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"std": 0.0}, "must not be zero"),
            ({"std": (1.0, -1.0, 1.0)}, "nor std negative"),
            ({"scale": 0.0}, "must not be zero"),
            ({"layout": "CHWN"}, "'CHWN' is unknown: choose one of NCHW, NHWC"),
            ({"mean": (1.0, 2.0)}, "mean has 2 values, images have 3 channels"),
        ],
    )
    def test_nonsense_is_refused(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(ModelError, match=message):
            adapt(user_model(), preprocessing=Preprocessing(**options))


class TestBatch:
    @pytest.mark.parametrize(
        ("batch", "reshape"),
        [("batch", None), (None, None), (1, None), (3, None), (1, [1, 5]), (3, [3, 5]), (1, [1, -1]), (1, [-1, 5])],
    )
    def test_becomes_dynamic(self, batch: Any, reshape: Any) -> None:
        adapted, x = adapt(user_model(batch=batch, reshape=reshape)), pixels()
        assert dims(adapted.graph.input[0]) == ["N", *SHAPE]
        rows = [run(adapted, x[i : i + 1]) for i in range(len(x))]
        np.testing.assert_allclose(run(adapted, x), np.concatenate(rows), rtol=1e-5)

    def test_stays_fixed_where_the_graph_cannot_follow(self) -> None:
        image = spox.argument(spox.Tensor(np.float32, (2, *SHAPE)))
        mixed = op.reshape(image, op.const([720], dtype=np.int64))  # the images of a batch
        adapted = adapt(spox.build({"data": image}, {"y": op.reshape(mixed, op.const([2, 360], dtype=np.int64))}))
        assert dims(adapted.graph.input[0]) == [2, *SHAPE]
        assert run(adapted, pixels(2)).shape == (2, 360)

    @pytest.mark.parametrize(("batch", "shape"), [(2, [10]), ("batch", [1, -1]), (None, [1, -1]), (4, [1, 20])])
    def test_an_output_that_is_not_one_result_for_each_image_is_refused(self, batch: Any, shape: list[int]) -> None:
        images = batch if isinstance(batch, int) else 2
        found = [images * 5] if len(shape) == 1 else [1, images * 5]
        words = re.escape(f"output 'scores' has shape {found} for a batch of {images} images: export the model")
        with pytest.raises(ModelError, match=words):
            probe(adapt(user_model(batch=batch, reshape=shape)))

    def test_a_shared_constant_serves_other_readers_unchanged(self) -> None:
        image = spox.argument(spox.Tensor(np.float32, (1, *SHAPE)))
        target = op.const([1, 360], dtype=np.int64)
        flat = op.reshape(image, target)
        model = spox.build(
            {"data": image}, {"scores": flat, "target": op.add(flat, op.cast(op.reduce_sum(target), to=np.float32))}
        )
        scores, shifted = run_all(adapt(model), pixels(3))
        np.testing.assert_array_equal(shifted, scores + 361)


class TestShape:
    @pytest.mark.parametrize("size", [(None, None), (None, 12), (10, None), (-1, -1)])
    @pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
    def test_an_open_height_or_width_is_that_of_the_images(self, size: Any, layout: str) -> None:
        height, width = (None if each == -1 else each for each in size)
        original = user_model(size=(height, width), layout=layout)
        if -1 in size:  # as Paddle writes them
            for dim in original.graph.input[0].type.tensor_type.shape.dim[1:]:
                dim.dim_value = dim.dim_value or -1
        adapted, x = adapt(original, shape=SHAPE), pixels()
        assert dims(adapted.graph.input[0]) == ["N", *SHAPE]
        own = x if layout == "NCHW" else np.ascontiguousarray(x.transpose(0, 2, 3, 1))
        np.testing.assert_allclose(run(adapted, x), run(original, own.astype(np.float32)), rtol=1e-5)
        with pytest.raises(ModelError, match=r"'data' takes images of any size .*: say which"):
            adapt(original)

    def test_an_open_height_that_the_inside_fixes_is_told(self) -> None:
        image = spox.argument(spox.Tensor(np.float32, ("batch", 3, None, None)))
        scores = op.gemm(op.flatten(image), op.const(np.ones((360, 2), "f4")))
        original = spox.build({"data": image}, {"scores": scores})
        assert probe(adapt(original, shape=SHAPE)).output_shape == (2,)
        assert probe(adapt(original, shape=(3, 12, 10))).output_shape == (2,)  # as many pixels
        with pytest.raises(ModelError, match="does not fit behind an input of these images"):
            probe(adapt(original, shape=(3, 20, 12)))

    def test_where_channels_are_open_too_the_layout_must_be_told(self) -> None:
        original = user_model(layout="NHWC", size=(None, None))
        original.graph.input[0].type.tensor_type.shape.dim[3].Clear()
        with pytest.raises(ModelError, match="ambiguous: set layout to NCHW or NHWC"):
            adapt(original, shape=SHAPE)
        adapted = adapt(original, shape=SHAPE, preprocessing=Preprocessing(layout="NHWC"))
        assert probe(adapted).output_shape == (5,)

    def test_the_images_shape_is_the_networks_own(self) -> None:
        assert dims(adapt(user_model(), shape=SHAPE).graph.input[0]) == ["N", *SHAPE]

    @pytest.mark.parametrize("shape", [(3, 10, 13), (3, 12, 10)])
    def test_other_sizes_are_refused(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ModelError, match=r"'data' takes .*\[3, 10, 12\] \(NCHW\), images are"):
            adapt(user_model(), shape=shape)

    def test_other_channels_are_refused(self) -> None:
        with pytest.raises(ModelError, match="no axis holds 1 channels"):
            adapt(user_model(), shape=(1, 10, 12))

    def test_an_ambiguous_layout_must_be_told(self) -> None:
        original = user_model(size=(3, 3))
        with pytest.raises(ModelError, match="ambiguous: set layout to NCHW or NHWC"):
            adapt(original)
        x = pixels(shape=(3, 3, 3))
        adapted = adapt(original, preprocessing=Preprocessing(layout="NCHW"))
        np.testing.assert_allclose(run(adapted, x), run(original, x.astype(np.float32)), rtol=1e-5)

    def test_a_network_whose_inside_does_not_fit_is_refused(self) -> None:
        image = spox.argument(spox.Tensor(np.float32, ("batch", *SHAPE)))
        original = spox.build(
            {"data": image}, {"scores": op.gemm(op.flatten(image), op.const(np.ones((360, 2), "f4")))}
        )
        assert run(adapt(original, shape=SHAPE), pixels()).shape == (4, 2)
        original.graph.input[0].type.tensor_type.shape.dim[3].dim_value = 13
        with pytest.raises(ModelError, match="does not fit behind an input of these images"):
            probe(adapt(original))


class TestInput:
    def test_its_name_never_collides(self) -> None:
        adapted = adapt(user_model(name="input"))
        assert adapted.graph.input[0].name == "input_"
        assert run(adapted, pixels()).shape == (4, 5)

    def test_what_was_adapted_before_is_adapted_again(self) -> None:
        half = Preprocessing(mean=(8.0, 4.0, 2.0), scale=0.5)
        once = adapt(user_model(), dtype="float32", preprocessing=half)
        twice = adapt(once, dtype="float32", preprocessing=half)
        halved = (pixels() - 2 * np.array([8, 4, 2], np.float32)[:, None, None]) * np.float32(0.5)
        np.testing.assert_allclose(run(twice, pixels().astype(np.float32)), run(once, halved), rtol=1e-5)

    def test_weights_listed_as_inputs_are_none(self) -> None:
        original = user_model()
        original.graph.initializer.append(numpy_helper.from_array(np.ones(3, np.float32), "extra"))
        original.graph.input.append(onnx.helper.make_tensor_value_info("extra", TensorProto.FLOAT, [3]))
        assert run(adapt(original), pixels()).shape == (4, 5)

    def test_several_are_refused(self) -> None:
        original = user_model()
        original.graph.input.append(onnx.helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1, 3]))
        original.graph.output.append(onnx.helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1, 3]))
        with pytest.raises(
            ModelError, match="has 2 inputs \\('data', 'mask'\\); expected one, of images: what the others hold may"
        ):
            adapt(original)

    @pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint16, np.float64])
    @pytest.mark.parametrize("images", ["uint8", "float32"])
    def test_other_numbers_are_cast(self, dtype: Any, images: str) -> None:
        original, x = user_model(dtype=dtype), pixels()
        np.testing.assert_allclose(
            run(adapt(original, dtype=images), x.astype(images)), run(original, x.astype(dtype)), rtol=1e-5
        )
        if np.dtype(dtype).kind in "iu":
            with pytest.raises(ModelError, match="whole numbers, so the network normalises pixels itself"):
                adapt(original, preprocessing=Preprocessing(mean=3.0))

    @pytest.mark.parametrize("elem_type", ["INT8", "BOOL", "STRING", "COMPLEX64", "UNDEFINED"])
    def test_other_types_are_refused(self, elem_type: str) -> None:
        original = user_model()
        original.graph.input[0].type.tensor_type.elem_type = TensorProto.DataType.Value(elem_type)
        with pytest.raises(ModelError, match=rf"'data' is {elem_type}; expected an image of FLOAT, FLOAT16, BFLOAT16"):
            adapt(original)

    def test_other_ranks_are_refused(self) -> None:
        x = spox.argument(spox.Tensor(np.float32, (1, 30)))
        with pytest.raises(ModelError, match=r"has shape \[1, 30\].*expected 4"):
            adapt(spox.build({"data": x}, {"y": op.relu(x)}))

    def test_other_dtypes_of_images_are_refused(self) -> None:
        with pytest.raises(ModelError, match="'int8' is unknown; choose one of uint8, float32"):
            adapt(user_model(), dtype="int8")

    def test_the_original_is_left_as_it_is(self) -> None:
        original = user_model(batch=1, reshape=[1, 5])
        before = original.SerializeToString()
        adapt(original, preprocessing=Preprocessing(mean=3.0))
        assert original.SerializeToString() == before


class TestFiles:
    def test_external_data(self, tmp_path: Path) -> None:
        path, original = tmp_path / "big.onnx", user_model()
        weight = numpy_helper.from_array(WEIGHT, "weight")
        conv = next(node for node in original.graph.node if node.op_type == "Conv")
        conv.input[1] = "weight"
        original.graph.initializer.append(weight)
        onnx.save(original, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
        x = pixels()
        np.testing.assert_allclose(run(adapt(load_model(path)), x), run(user_model(), x.astype(np.float32)), rtol=1e-5)
        (tmp_path / "weights.bin").unlink()
        with pytest.raises(ModelError, match=r"weights.bin: cannot be read"):
            load_model(path)

    @pytest.mark.parametrize("content", [b"GIF89a nothing of the kind", b"\x0a\x80"])
    def test_what_is_no_onnx_is_refused(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "wrong.onnx"
        path.write_bytes(content)
        with pytest.raises(ModelError, match=r"wrong.onnx: not a valid ONNX file"):
            load_model(path)

    def test_a_truncated_file_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "cut.onnx"
        path.write_bytes(user_model().SerializeToString()[:-40])
        with pytest.raises(ModelError, match=r"cut.onnx: not a valid ONNX file"):
            load_model(path)

    def test_a_graph_that_lacks_a_tensor_is_refused(self, tmp_path: Path) -> None:
        original = user_model()
        original.graph.node[0].output[0] = "elsewhere"
        onnx.save(original, tmp_path / "loose.onnx")
        with pytest.raises(ModelError, match=r"does not fit behind .*'scores'|does not fit"):
            probe(adapt(load_model(tmp_path / "loose.onnx")))

    def test_missing_files_are_refused(self, tmp_path: Path) -> None:
        for read in (load_model, digest_of):
            with pytest.raises(ModelError, match=r"none.onnx: not a valid ONNX file.*No such file"):
                read(tmp_path / "none.onnx")
