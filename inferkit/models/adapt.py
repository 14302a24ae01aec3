"""A user's own ONNX file, made to take the images of a data set as they lie in its files.

The data set's images are uint8 or float32, 0..255, channels first. New nodes in front of the user's network
cast, normalise and transpose them, in this order (TensorRT wants uint8 to feed nothing but a Cast). The batch becomes
dynamic.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from inferkit.errors import ModelError
from inferkit.models.batching import BATCH, check_follows, follows_batch, free_reshapes, unused_name
from inferkit.models.preprocessing import LAYOUTS, Preprocessing
from inferkit.models.shapes import infer_shapes
from inferkit.models.zoo import DTYPES

LARGEST = 2**31 - 1  # bytes of a protobuf message
_IMAGE_TYPES = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.UINT8)
_INVALID = (onnx.checker.ValidationError, onnx.shape_inference.InferenceError)
_UNREADABLE = (OSError, DecodeError, *_INVALID)


def load_model(path: Path) -> onnx.ModelProto:
    """Read an ONNX file with its external data and check it.

    Raises
    ------
    ModelError
        If it is missing, is no valid ONNX, lacks external data, or is larger than 2 GiB in all.
    """
    try:
        model = onnx.load(path)
        onnx.checker.check_model(path)
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error
    if model.ByteSize() > LARGEST:
        message = (
            f"{path}: {model.ByteSize():,} bytes with its weights; at most {LARGEST:,} are handled: export float16"
        )
        raise ModelError(message)
    return model


def files_of(path: Path) -> list[Path]:
    """Return the ONNX file and the files of its external data, without reading the latter.

    Raises
    ------
    ModelError
        If the file is missing or is not ONNX.
    """
    try:
        graph = onnx.load(path, load_external_data=False).graph
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error
    names = {ExternalDataInfo(tensor).location for tensor in graph.initializer if uses_external_data(tensor)}
    return [path, *(path.parent / name for name in sorted(names))]


def _unreadable(path: Path, error: Exception) -> ModelError:
    return ModelError(
        f"{path}: not a valid ONNX file ({error}); expected a model exported to .onnx, with all its files"
    )


@dataclass(frozen=True)
class _Image:
    """The user's image input, understood."""

    name: str
    elem_type: int
    batch: int | None
    layout: str
    shape: tuple[int, int, int]


def adapt(
    model: onnx.ModelProto,
    *,
    dtype: str = "uint8",
    shape: tuple[int, ...] | None = None,
    preprocessing: Preprocessing | None = None,
) -> onnx.ModelProto:
    """Return `model` taking (N, channels, height, width) images of `dtype`.

    Parameters
    ----------
    model
        One input of rank 4: float32, float16 or uint8; any number of outputs. It is not changed.
    dtype
        Of the data set: ``"uint8"`` or ``"float32"``.
    shape
        (channels, height, width) of the data set. They must be the network's own; None does not check that.
    preprocessing
        What the network expects; by default unchanged pixels.

    Notes
    -----
    A fixed batch is made dynamic; where needed, constant shapes of Reshape take the batch of their input. If the
    outputs still do not follow the batch, it stays fixed, and the input's first dimension says so.

    Raises
    ------
    ModelError
        If the network's input is not an image or does not fit the data set, or its output is not one result for each
        image: with the reason.
    """
    wanted = preprocessing or Preprocessing()
    if dtype not in DTYPES:
        message = f"input dtype {dtype!r} is unknown; choose one of {', '.join(DTYPES)}"
        raise ModelError(message)
    image = _understand(_image_input(model), shape, wanted.layout)
    if image.elem_type == TensorProto.UINT8 and wanted.changes_pixels:
        message = (
            f"input {image.name!r} is uint8, so the network normalises pixels itself: leave out mean, std and scale"
        )
        raise ModelError(message)
    dynamic = _with_input(model, image, dtype, wanted, batch=None)
    if image.batch is None:
        adapted = _checked(dynamic)
    elif follows_batch(free_reshapes(dynamic, image.batch)):
        return _checked(dynamic)
    else:
        adapted = _checked(_with_input(model, image, dtype, wanted, batch=image.batch))
    check_follows(adapted, image.batch)
    return adapted


def _checked(model: onnx.ModelProto) -> onnx.ModelProto:
    """Infer every shape again and check the whole model."""
    graph = model.graph
    try:
        inferred = infer_shapes(model)
        graph.value_info.extend(inferred.value_info)
        for output, found in zip(graph.output, inferred.output, strict=True):
            output.CopyFrom(found)
        onnx.checker.check_model(model)
    except _INVALID as error:
        message = f"the network does not fit behind an input of these images: {error}"
        raise ModelError(message) from error
    return model


def _image_input(model: onnx.ModelProto) -> onnx.ValueInfoProto:
    weights = {w.name for w in model.graph.initializer}  # before IR version 4 these were inputs too
    inputs: list[onnx.ValueInfoProto] = [value for value in model.graph.input if value.name not in weights]
    if len(inputs) != 1:
        names = ", ".join(repr(value.name) for value in inputs) or "none"
        message = f"the network has {len(inputs)} inputs ({names}); expected one, of images"
        raise ModelError(message)
    tensor = inputs[0].type.tensor_type
    if tensor.elem_type not in _IMAGE_TYPES:
        found = TensorProto.DataType.Name(tensor.elem_type)
        message = f"input {inputs[0].name!r} is {found}; expected FLOAT, FLOAT16 or UINT8: export it so"
        raise ModelError(message)
    return inputs[0]


def _understand(value: onnx.ValueInfoProto, shape: tuple[int, ...] | None, layout: str | None) -> _Image:
    dims = [d.dim_value or None for d in value.type.tensor_type.shape.dim]
    if len(dims) != 4 or (shape is not None and len(shape) != 3):
        message = f"input {value.name!r} has shape {dims}, images {shape}; expected 4 and 3 dimensions"
        raise ModelError(message)
    batch, *sizes = dims
    fixed = [size for size in sizes if size is not None]
    if len(fixed) != len(sizes):
        message = (
            f"input {value.name!r} has shape {dims}, whose height, width or channels are dynamic; only the batch may "
            "be: export the network for one size (leave the others out of dynamic_axes)"
        )
        raise ModelError(message)
    layout = layout or _recognise(value.name, fixed, shape)
    own = (fixed[0], fixed[1], fixed[2]) if layout == "NCHW" else (fixed[2], fixed[0], fixed[1])
    if shape not in (None, own):
        message = (
            f"input {value.name!r} takes (channels, height, width) {list(own)} ({layout}), images are {shape}: "
            f"make a data set with that shape (shape: {list(own)})"
        )
        raise ModelError(message)
    return _Image(value.name, value.type.tensor_type.elem_type, batch, layout, own)


def _recognise(name: str, dims: list[int], shape: tuple[int, ...] | None) -> str:
    """Find the axis that holds the channels: as many as the images have, or 1, 3 or 4."""
    channels = (1, 3, 4) if shape is None else (shape[0],)
    fits = [layout for layout, axis in zip(LAYOUTS, (0, 2), strict=True) if dims[axis] in channels]
    if len(fits) == 1:
        return fits[0]
    if not fits:
        expected = " or ".join(map(str, channels))
        message = f"input {name!r} has shape {dims}; no axis holds {expected} channels: the data set does not fit"
    else:
        message = f"input {name!r} has shape {dims}; its layout is ambiguous: set layout to {' or '.join(LAYOUTS)}"
    raise ModelError(message)


def _with_input(
    model: onnx.ModelProto, image: _Image, dtype: str, wanted: Preprocessing, *, batch: int | None
) -> onnx.ModelProto:
    """Put a new input in front of the network; its old input becomes the tensor that the new nodes compute."""
    adapted = onnx.ModelProto()
    adapted.CopyFrom(model)
    graph = adapted.graph
    name = unused_name("input", adapted)
    elem_type = TensorProto.UINT8 if dtype == "uint8" else TensorProto.FLOAT
    old = next(value for value in graph.input if value.name == image.name)
    graph.input.remove(old)
    graph.input.insert(0, helper.make_tensor_value_info(name, elem_type, [batch or BATCH, *image.shape]))
    nodes = list(_prepare(name, image, dtype, wanted)) + list(graph.node)
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    for output in graph.output:
        output.type.tensor_type.ClearField("shape")
    return adapted


def _prepare(name: str, image: _Image, dtype: str, wanted: Preprocessing) -> Iterator[onnx.NodeProto]:
    """Yield the nodes from the new input to the old one."""
    steps: list[tuple[str, list[str], dict[str, Any]]] = []
    if dtype == "uint8":
        steps.append(("Cast", [], {"to": TensorProto.FLOAT}))
    if wanted.changes_pixels:
        for operator, values in zip(("Sub", "Mul"), wanted.per_channel(image.shape[0]), strict=True):
            constant = f"inferkit/{operator}/value"
            yield helper.make_node("Constant", [], [constant], value=numpy_helper.from_array(values, constant))
            steps.append((operator, [constant], {}))
    if image.layout == "NHWC":
        steps.append(("Transpose", [], {"perm": [0, 2, 3, 1]}))
    if image.elem_type == TensorProto.FLOAT16:
        steps.append(("Cast", [], {"to": TensorProto.FLOAT16}))
    steps = steps or [("Identity", [], {})]
    tensors = [name, *(f"inferkit/{number}/{step[0]}" for number, step in enumerate(steps[:-1])), image.name]
    for (operator, constants, attributes), before, after in zip(steps, tensors, tensors[1:], strict=False):
        yield helper.make_node(operator, [before, *constants], [after], name=f"inferkit/{after}", **attributes)
