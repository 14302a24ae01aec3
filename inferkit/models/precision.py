"""The precision of a network is a property of its graph: TensorRT 11 and RTX have neither flags nor calibrators."""

from collections.abc import Callable

import onnx
from onnxruntime.transformers.float16 import convert_float_to_float16

from inferkit.errors import ModelError
from inferkit.models.order import sort_nodes
from inferkit.models.probe import RUNTIME_ERRORS
from inferkit.models.quantize import Images, fp8, int8, prepared
from inferkit.models.shapes import INVALID

_FAULTS = (
    onnx.version_converter.ConvertError,
    AssertionError,  # onnxruntime's quantiser, about what it does not know
    *INVALID,
    *RUNTIME_ERRORS,
)


def _float32(model: onnx.ModelProto) -> onnx.ModelProto:
    return model


def _float16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Compute in float16; a uint8 input is cast to float16; float32 inputs and outputs stay and are cast."""
    half: onnx.ModelProto = convert_float_to_float16(prepared(model), keep_io_types=True)
    # It also marks as float16 what stays float32, such as the statistics of LayerNormalization; they are inferred anew.
    del half.graph.value_info[:]
    sort_nodes(half.graph)  # the converter appends casts behind the nodes that read them
    return half


def _fp8(model: onnx.ModelProto, images: Images) -> onnx.ModelProto:
    return _float16(fp8(model, images))


_UNCALIBRATED: dict[str, Callable[[onnx.ModelProto], onnx.ModelProto]] = {"float32": _float32, "float16": _float16}
_CALIBRATED: dict[str, Callable[[onnx.ModelProto, Images], onnx.ModelProto]] = {"int8": int8, "fp8": _fp8}
PRECISIONS = (*_UNCALIBRATED, *_CALIBRATED)
CALIBRATED = tuple(_CALIBRATED)
"""The precisions whose scales come from images."""


def check_precision(precision: str) -> None:
    """Refuse a precision that does not exist.

    Raises
    ------
    ModelError
        If it does not: names those that do.
    """
    if precision not in PRECISIONS:
        message = f"precision {precision!r} is unknown: choose one of {', '.join(PRECISIONS)}"
        raise ModelError(message)


def convert(model: onnx.ModelProto, precision: str, images: Images | None = None) -> onnx.ModelProto:
    """Return `model` computing in `precision`, with the dtypes of its input and outputs unchanged.

    Parameters
    ----------
    model
        A graph of float32; it is not changed.
    precision
        One of :data:`PRECISIONS`.
    images
        As the network takes them, (images, channels, height, width); precisions in :data:`CALIBRATED` need them.

    Raises
    ------
    ModelError
        If the precision is unknown or lacks images, or if the graph has operators that have no such form.
    """
    check_precision(precision)
    try:
        converted = _converted(model, precision, images)
        onnx.checker.check_model(converted, full_check=True)
    except _FAULTS as error:
        why = str(error) or type(error).__name__
        message = f"graph {model.graph.name!r} cannot be converted to {precision}: {why}; use float32"
        raise ModelError(message) from error
    return converted


def _converted(model: onnx.ModelProto, precision: str, images: Images | None) -> onnx.ModelProto:
    if precision in _UNCALIBRATED:
        return _UNCALIBRATED[precision](model)
    if images is None or not len(images):
        message = f"precision {precision} is calibrated on images, and there are none: give a data set"
        raise ModelError(message)
    return _CALIBRATED[precision](model, images)
