"""Which input of a user's network takes the images, and how: its type, its batch, and where the channels are."""

from dataclasses import dataclass

import onnx
from onnx import TensorProto

from inferkit.errors import ModelError
from inferkit.models.preprocessing import LAYOUTS
from inferkit.models.shapes import dimensions

WHOLE = (TensorProto.UINT8, TensorProto.UINT16, TensorProto.INT16, TensorProto.INT32, TensorProto.INT64)
"""Types of whole numbers that hold 0 … 255: such networks normalise pixels themselves."""
_TYPES = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE, *WHOLE)


@dataclass(frozen=True)
class ImageInput:
    """A network's image input, understood.

    Parameters
    ----------
    name, elem_type
        As the graph has them.
    batch
        Images in a batch where the graph fixes them; None if it takes any number.
    layout
        ``"NCHW"`` or ``"NHWC"``.
    shape
        (channels, height, width).
    """

    name: str
    elem_type: int
    batch: int | None
    layout: str
    shape: tuple[int, int, int]


def image_input(model: onnx.ModelProto, shape: tuple[int, ...] | None, layout: str | None) -> ImageInput:
    """Find the image input of a network.

    Parameters
    ----------
    model
        Its inputs that have a value of their own (initialisers, as before IR version 4) count as weights.
    shape
        (channels, height, width) of the images; they decide where the graph leaves a size open. None: the network's.
    layout
        None: the number of channels tells.

    Raises
    ------
    ModelError
        If there is no such input, or it does not fit the images.
    """
    value = _only_input(model)
    dims = [size if isinstance(size, int) and size > 0 else None for size in dimensions(value)]
    if len(dims) != 4 or (shape is not None and len(shape) != 3):
        message = f"input {value.name!r} has shape {dims}, images {shape}; expected 4 and 3 dimensions"
        raise ModelError(message)
    batch, *sizes = dims
    layout = layout or _recognise(value.name, sizes, shape)
    own = sizes if layout == "NCHW" else [sizes[2], *sizes[:2]]
    fitted = [size or found for size, found in zip(own, shape or own, strict=True)]
    if shape is not None and tuple(fitted) != tuple(shape):
        message = (
            f"input {value.name!r} takes (channels, height, width) {own} ({layout}), images are {shape}: "
            f"make a data set with that shape (shape: {fitted})"
        )
        raise ModelError(message)
    channels, height, width = fitted
    if channels is None or height is None or width is None:
        message = f"input {value.name!r} takes images of any size {own}: say which (shape: channels, height, width)"
        raise ModelError(message)
    return ImageInput(value.name, value.type.tensor_type.elem_type, batch, layout, (channels, height, width))


def _only_input(model: onnx.ModelProto) -> onnx.ValueInfoProto:
    graph = model.graph
    known = {weight.name for weight in graph.initializer} | {weight.values.name for weight in graph.sparse_initializer}
    inputs: list[onnx.ValueInfoProto] = [value for value in graph.input if value.name not in known]
    if len(inputs) != 1:
        names = ", ".join(repr(value.name) for value in inputs) or "none"
        hint = (
            ": what the others hold may decide how much is computed, so that invented numbers would measure another "
            "network; give them values in the file, as initialisers of their names, or export the part behind the image"
        )
        message = f"the network has {len(inputs)} inputs ({names}); expected one, of images{hint if inputs else ''}"
        raise ModelError(message)
    kind = inputs[0].type.WhichOneof("value")
    elem_type = inputs[0].type.tensor_type.elem_type
    if kind != "tensor_type" or elem_type not in _TYPES:
        found = _type_name(elem_type) if kind == "tensor_type" else str(kind).removesuffix("_type")
        allowed = ", ".join(map(_type_name, _TYPES))
        message = f"input {inputs[0].name!r} is {found}; expected an image of {allowed}: export it so"
        raise ModelError(message)
    return inputs[0]


def _type_name(elem_type: int) -> str:
    names: dict[int, str] = {number: name for name, number in TensorProto.DataType.items()}
    return names.get(elem_type, f"type {elem_type}")


def _recognise(name: str, dims: list[int | None], shape: tuple[int, ...] | None) -> str:
    """Find the axis that holds the channels: as many as the images have, or 1, 3 or 4; else one that may hold any."""
    channels = (1, 3, 4) if shape is None else (shape[0],)
    axes = dict(zip(LAYOUTS, (dims[0], dims[2]), strict=True))
    fits = [layout for layout, size in axes.items() if size in channels]
    fits = fits or [layout for layout, size in axes.items() if size is None]
    if len(fits) == 1:
        return fits[0]
    if not fits:
        expected = " or ".join(map(str, channels))
        message = f"input {name!r} has shape {dims}; no axis holds {expected} channels: the data set does not fit"
    else:
        message = f"input {name!r} has shape {dims}; its layout is ambiguous: set layout to {' or '.join(LAYOUTS)}"
    raise ModelError(message)
