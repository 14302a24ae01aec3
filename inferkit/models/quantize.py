"""int8 and fp8: explicit QuantizeLinear and DequantizeLinear before every convolution and matrix product.

TensorRT takes such pairs if activations have one scale per tensor, zero points are 0 and biases are unchanged (see
"Working with Quantized Types" in its documentation); its parser refuses other zero points. The scales of activations
come from images: the largest value that a tensor took.

What is not multiplied stays float32 beside int8 (ONNX Runtime then computes convolutions and products in integers), and
becomes float16 beside fp8 (as TensorRT wants it).
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.calibrate import CalibrationMethod, create_calibrator

from inferkit.models.shapes import dimensions

Images = npt.NDArray[Any]

MULTIPLIED = ("Conv", "MatMul", "Gemm")
E4M3_MAX = 448.0
"""The largest value of FLOAT8E4M3FN (Micikevicius et al. 2022, arXiv:2209.05433, table 1)."""
INT8_OPSET = 13
"""The first that quantises per channel."""
FP8_OPSET = 19
"""The first opset that quantises to fp8."""
_BATCH = 8
_PREPARED = ("onnx.quant.pre_process", "onnxruntime.quant")
_INT8_OPTIONS = {
    "ActivationSymmetric": True,
    "WeightSymmetric": True,
    "AddQDQPairToWeight": True,
    "DedicatedQDQPair": True,
    "QuantizeBias": False,
}
"""TensorRT's parser refuses a graph that was made with onnxruntime's defaults."""


def _batches(model: onnx.ModelProto, images: Images) -> Iterator[dict[str, Images]]:
    """Cut images into feeds for the network; a fixed batch is filled up with the first images again."""
    value = model.graph.input[0]
    size = dimensions(value)[0]
    batch = size if isinstance(size, int) else min(_BATCH, len(images))
    whole = np.resize(images, (-(-len(images) // batch) * batch, *images.shape[1:]))
    for start in range(0, len(whole), batch):
        yield {value.name: whole[start : start + batch]}


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Hands over images the way onnxruntime's calibrators want them."""

    def __init__(self, model: onnx.ModelProto, images: Images) -> None:
        self._batches = _batches(model, images)

    def get_next(self) -> dict[str, Images] | None:
        """Return the next feed; None at the end."""
        return next(self._batches, None)


def prepared(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy whose constants are initialisers: onnxruntime's converters look for weights only there."""
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    nodes = []
    for node in copied.graph.node:
        if node.op_type == "Constant" and (value := _value(node.attribute[0])) is not None:
            copied.graph.initializer.append(value)
            copied.graph.initializer[-1].name = node.output[0]
        else:
            nodes.append(node)
    del copied.graph.node[:]
    copied.graph.node.extend(nodes)
    return copied


def _value(attribute: onnx.AttributeProto) -> TensorProto | None:
    """Return what a constant holds; None of texts and of what is sparse."""
    types = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}
    if attribute.name in types:
        return numpy_helper.from_array(np.array(helper.get_attribute_value(attribute), types[attribute.name]))
    return attribute.t if attribute.name == "value" else None


def int8(model: onnx.ModelProto, images: Images) -> onnx.ModelProto:
    """Quantise to int8: symmetric, weights per channel of the output, activations per tensor by `images`."""
    model = _at_least(INT8_OPSET, prepared(model))
    with tempfile.TemporaryDirectory(prefix="inferkit-int8-") as folder:
        before, after = Path(folder, "before.onnx"), Path(folder, "after.onnx")
        _save(model, before)
        quantize_static(
            before,
            after,
            _Reader(model, images),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(MULTIPLIED),
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            extra_options=_INT8_OPTIONS,
        )
        quantised = onnx.load(after)
    del quantised.metadata_props[:]
    quantised.metadata_props.extend(model.metadata_props)
    return quantised


def _save(model: onnx.ModelProto, path: Path) -> None:
    """Write a copy that says it needs no preparing; otherwise onnxruntime would warn."""
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    copied.metadata_props.add(key=_PREPARED[0], value=_PREPARED[1])
    onnx.save(copied, path)


def fp8(model: onnx.ModelProto, images: Images) -> onnx.ModelProto:
    """Quantise to fp8 (E4M3), weights and activations per tensor, the latter by `images`; the rest stays float32."""
    model = prepared(model)
    largest = _largest(model, images)
    quantised = _at_least(FP8_OPSET, model)
    writer = _Fp8(quantised.graph, largest)
    nodes = [each for node in quantised.graph.node for each in writer.quantised(node)]
    del quantised.graph.node[:], quantised.graph.value_info[:]
    quantised.graph.node.extend(nodes)
    used = {tensor for node in nodes for tensor in node.input}
    kept = [weight for weight in quantised.graph.initializer if weight.name in used]
    del quantised.graph.initializer[:]
    quantised.graph.initializer.extend(kept)
    return quantised


def _at_least(opset: int, model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model of that opset or a later one; a copy if it has to be converted."""
    own = next(entry.version for entry in model.opset_import if not entry.domain)
    converted: onnx.ModelProto = model if own >= opset else onnx.version_converter.convert_version(model, opset)
    return converted


def _largest(model: onnx.ModelProto, images: Images) -> dict[str, float]:
    """Return the largest magnitude of each tensor that is multiplied, over all images."""
    with tempfile.TemporaryDirectory(prefix="inferkit-fp8-") as folder:
        before = Path(folder, "before.onnx")
        _save(model, before)
        calibrator = create_calibrator(
            before,
            list(MULTIPLIED),
            augmented_model_path=str(Path(folder, "augmented.onnx")),
            calibrate_method=CalibrationMethod.MinMax,
        )
        calibrator.collect_data(_Reader(model, images))
        ranges = calibrator.compute_data().data
    return {name: float(np.abs(found.range_value).max()) for name, found in ranges.items()}


class _Fp8:
    """Puts the pairs in front of nodes; each tensor gets one pair, however many nodes read it."""

    def __init__(self, graph: onnx.GraphProto, largest: dict[str, float]) -> None:
        self._graph = graph
        self._largest = largest
        self._weights = {weight.name: weight for weight in graph.initializer}
        self._done: set[str] = set()
        self._zero = "fp8/zero"
        graph.initializer.append(helper.make_tensor(self._zero, TensorProto.FLOAT8E4M3FN, [], b"\0", raw=True))

    def quantised(self, node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        """Yield what a node becomes: the pairs of its two factors, then itself."""
        if node.op_type in MULTIPLIED:
            for place, tensor in enumerate(node.input[:2]):
                if tensor in self._weights or tensor in self._largest:
                    yield from self._pair(tensor)
                    node.input[place] = f"{tensor}/fp8/back"
        yield node

    def _pair(self, tensor: str) -> Iterator[onnx.NodeProto]:
        if tensor in self._done:
            return
        self._done.add(tensor)
        scale, narrow = f"{tensor}/fp8/scale", f"{tensor}/fp8"
        if tensor in self._weights:
            values = numpy_helper.to_array(self._weights[tensor])
            factor = self._scale(scale, float(np.abs(values).max()))
            packed = (values / factor).astype(ml_dtypes.float8_e4m3fn)
            weight = helper.make_tensor(narrow, TensorProto.FLOAT8E4M3FN, values.shape, packed.tobytes(), raw=True)
            self._graph.initializer.append(weight)
        else:
            self._scale(scale, self._largest[tensor])
            yield helper.make_node("QuantizeLinear", [tensor, scale, self._zero], [narrow])
        yield helper.make_node("DequantizeLinear", [narrow, scale, self._zero], [f"{tensor}/fp8/back"])

    def _scale(self, name: str, largest: float) -> np.float32:
        factor = np.float32((largest or 1.0) / E4M3_MAX)  # for a tensor of zeros any scale will do
        self._graph.initializer.append(numpy_helper.from_array(np.array(factor), name))
        return factor
