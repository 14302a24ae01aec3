"""A network tried in ONNX Runtime before it is measured: what comes out, whether that is one result for each image."""

from math import prod
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto
from onnxruntime.capi import onnxruntime_pybind11_state as runtime

from inferkit.errors import ModelError
from inferkit.models.shapes import INVALID, dimensions, infer_shapes, nodes_of

RUNTIME_ERRORS = (
    runtime.EPFail,
    runtime.Fail,
    runtime.InvalidArgument,
    runtime.InvalidGraph,
    runtime.InvalidProtobuf,
    runtime.NoSuchFile,
    runtime.NotImplemented,
    runtime.RuntimeException,
)
"""ONNX Runtime's own exceptions derive from Exception alone."""
IMAGES = 2
"""Where the network takes any number."""
MOST_BYTES = 1 << 38
"""Of an input: more than any GPU holds."""


class Probe(NamedTuple):
    """What a trial told.

    Parameters
    ----------
    output_shape
        Of the first output, without the batch; empty where nothing tells it.
    lacking
        Why ONNX Runtime cannot run the network, which others may; empty if it can.
    """

    output_shape: tuple[int, ...]
    lacking: str = ""


def probe(model: onnx.ModelProto) -> Probe:
    """Run a network on black images; outputs whose rank nothing told get the one that came out.

    Raises
    ------
    ModelError
        If its first output is not one result of numbers for each image, or the graph contradicts itself. A graph that
        ONNX Runtime runs is taken to be valid, whatever else is odd about it.
    """
    batch = dimensions(model.graph.input[0])[0]
    images = batch if isinstance(batch, int) else IMAGES
    try:
        outputs = _run(model, images)
    except ModelError as error:
        strange = unknown_operators(model)
        if not strange and not _valid(model):
            message = f"the network does not fit behind an input of these images: {error}"
            raise ModelError(message) from error
        dims = dimensions(model.graph.output[0])[1:]
        known = tuple(size for size in dims if isinstance(size, int))
        named = f"{', '.join(strange)} is no operator of ONNX (a plugin of TensorRT?); " if strange else ""
        return Probe(known if len(known) == len(dims) else (), f"{named}{error}")
    first = outputs[0]
    found = f"output {model.graph.output[0].name!r}"
    if not isinstance(first, np.ndarray) or first.dtype.kind not in "biuf":
        kind = first.dtype if isinstance(first, np.ndarray) else type(first).__name__
        message = f"{found} is of type {kind}; expected numbers: let another output be the first one"
        raise ModelError(message)
    fixed = dimensions(model.graph.output[0])[:1]
    if first.shape[:1] != (images,) or (fixed == [images] and batch != images):
        message = (
            f"{found} has shape {list(first.shape)} for a batch of {images} images: export the "
            "model so that the output's first dimension is the batch"
        )
        raise ModelError(message)
    if not first.size:
        message = f"{found} has shape {list(first.shape)}, which holds no numbers: let another output be the first one"
        raise ModelError(message)
    for output, values in zip(model.graph.output, outputs, strict=True):
        if isinstance(values, np.ndarray) and not output.type.tensor_type.HasField("shape"):
            output.type.tensor_type.shape.dim.extend(onnx.TensorShapeProto.Dimension() for _ in values.shape)
    return Probe(first.shape[1:])


def unknown_operators(model: onnx.ModelProto) -> list[str]:
    """Return the operators that the standard's own domain has not: what is around them nobody here can check."""
    mine = (node for node in nodes_of(model.graph) if not node.domain)
    return sorted({node.op_type for node in mine if not onnx.defs.has(node.op_type)})


def _valid(model: onnx.ModelProto) -> bool:
    """Tell whether a graph is what the standard allows, as far as onnx knows its operators."""
    try:
        infer_shapes(model)
        onnx.checker.check_model(model)
    except INVALID:
        return False
    return True


def run_shapes(model: onnx.ModelProto, *, batch: int) -> list[tuple[int, ...]]:
    """Run `model` on `batch` black images and return the shapes of its outputs, batch included.

    Raises
    ------
    ModelError
        If ONNX Runtime cannot.
    """
    return [np.shape(output) if isinstance(output, np.ndarray) else () for output in _run(model, batch)]


def _run(model: onnx.ModelProto, batch: int) -> list[Any]:
    """Return the outputs for black images."""
    value = model.graph.input[0]
    sizes = [size for size in dimensions(value)[1:] if isinstance(size, int)]
    dtype = np.uint8 if value.type.tensor_type.elem_type == TensorProto.UINT8 else np.float32
    if (nbytes := prod((batch, *sizes)) * np.dtype(dtype).itemsize) > MOST_BYTES:
        message = (
            f"its input of {batch:,} × {sizes} takes {nbytes:,} bytes, more than a GPU has: export a smaller batch"
        )
        raise ModelError(message)
    images = np.zeros((batch, *sizes), dtype)
    options = ort.SessionOptions()
    options.log_severity_level = 4  # the error says what goes wrong
    try:
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return list(session.run(None, {value.name: images}))
    except (*RUNTIME_ERRORS, RuntimeError, ValueError, MemoryError) as error:
        message = f"ONNX Runtime cannot run the network on {batch} image(s): {error}"
        raise ModelError(message) from error
