"""A user's own ONNX file, made to take the images of a data set as they lie in its files.

The data set's images are uint8 or float32, 0..255, channels first. New nodes in front of the user's network
cast, normalise and transpose them, in this order (TensorRT wants uint8 to feed nothing but a Cast); what changes
nothing is left out. The batch becomes dynamic; height and width become those of the images where the graph takes any.
"""

from collections.abc import Iterator
from typing import Any

import onnx
import onnx.inliner
from onnx import TensorProto, helper, numpy_helper

from inferkit.errors import ModelError
from inferkit.models.batching import BATCH, follows_batch, free_reshapes, unused_name
from inferkit.models.image_input import WHOLE, ImageInput, image_input
from inferkit.models.preprocessing import DTYPES, Preprocessing
from inferkit.models.shapes import INVALID, infer_shapes, nodes_of

OLDEST_OPSET = 7
"""The first that ONNX Runtime runs in full, and in which an operator broadcasts by itself; older ones are converted."""
USUAL_OPSET = 13
"""To which older ones are converted: int8 needs it."""
NEWEST_IR = int(onnx.IR_VERSION)
"""That the libraries know: a later one is about the layout of a file, which was read; operators have an opset."""
_MOVES = ("Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Slice")
"""Operators that change no value."""


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
        One input of rank 4, of floats or of whole numbers; any number of outputs. It is not changed.
    dtype
        Of the data set: ``"uint8"`` or ``"float32"``.
    shape
        (channels, height, width) of the data set. They must be the network's own where it says any; None: its own.
    preprocessing
        What the network expects; by default unchanged pixels.

    Notes
    -----
    A fixed batch is made dynamic; where needed, constant shapes of Reshape take the batch of their input. If the
    outputs still do not follow the batch, it stays fixed, and the input's first dimension says so. Whether the network
    runs is told by :func:`inferkit.models.probe.probe`.

    Raises
    ------
    ModelError
        If the network's input is not an image or does not fit the data set, or it has no output: with the reason.
    """
    wanted = preprocessing or Preprocessing()
    if dtype not in DTYPES:
        message = f"input dtype {dtype!r} is unknown; choose one of {', '.join(DTYPES)}"
        raise ModelError(message)
    if not model.graph.output:
        message = (
            f"graph {model.graph.name!r} has no output, so that nothing would be computed: export it with its scores"
        )
        raise ModelError(message)
    model = _modern(model)
    image = image_input(model, shape, wanted.layout)
    if image.elem_type in WHOLE and wanted.changes_pixels:
        message = (
            f"input {image.name!r} is of whole numbers, so the network normalises pixels itself: leave out mean, std "
            "and scale"
        )
        raise ModelError(message)
    adapted = _with_input(model, image, dtype, wanted, batch=None)
    if image.batch is not None and not follows_batch(free_reshapes(adapted, image.batch)):
        adapted = _with_input(model, image, dtype, wanted, batch=image.batch)
    return _with_shapes(adapted, model.graph)


def _modern(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy as it would be exported today: weights are no inputs (IR version 4), operators not before opset 7.

    Functions are written out, for what converts networks loses them.

    Raises
    ------
    ModelError
        If older operators cannot be converted.
    """
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    if copied.functions:
        copied = _without_functions(copied)
    opset = next((own.version for own in model.opset_import if own.domain in ("", "ai.onnx")), None)
    if opset is None:
        copied.opset_import.append(helper.make_opsetid("", USUAL_OPSET))
    elif opset < OLDEST_OPSET:
        _fix_batch(copied.graph)
        _spell_axes(copied)
        try:
            copied = onnx.version_converter.convert_version(copied, USUAL_OPSET)
        except (onnx.version_converter.ConvertError, *INVALID) as error:
            message = (
                f"graph {model.graph.name!r} has opset {opset}: {error}; export it with opset {USUAL_OPSET} or later"
            )
            raise ModelError(message) from error
    known = {own.domain for own in copied.opset_import}
    for domain in sorted({node.domain for node in nodes_of(copied.graph)} - known - {"", "ai.onnx"}):
        copied.opset_import.append(helper.make_opsetid(domain, 1))  # exporters of plugins forget it
    copied.ir_version = min(max(copied.ir_version, 4), NEWEST_IR)
    weights = {weight.name for weight in copied.graph.initializer}
    inputs = [value for value in copied.graph.input if value.name not in weights]
    del copied.graph.input[:]
    copied.graph.input.extend(inputs)
    return copied


def _fix_batch(graph: onnx.GraphProto) -> None:
    """State a batch of 1 where none is: what converts operators takes numbers alone. It is made dynamic afterwards."""
    weights = {weight.name for weight in graph.initializer}
    for value in (own for own in graph.input if own.name not in weights):
        for dim in value.type.tensor_type.shape.dim[:1]:
            if dim.dim_value < 1:
                dim.dim_value = 1


def _spell_axes(model: onnx.ModelProto) -> None:
    """Give weights that opset 6 broadcasts from an axis on their last sizes of 1: onnx's converter miscounts."""
    inferred, graph = infer_shapes(model, strict=False), model.graph
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in (*inferred.input, *inferred.value_info)}
    weights = {weight.name: weight for weight in graph.initializer}
    for node in graph.node:
        axis = next((own for own in node.attribute if own.name == "axis"), None)
        if axis is None or len(node.input) != 2 or node.input[1] not in weights or node.input[0] not in ranks:
            continue
        if any(own.name == "broadcast" and own.i for own in node.attribute) and axis.i >= 0:
            spelt = graph.initializer.add()
            spelt.CopyFrom(weights[node.input[1]])
            spelt.name = unused_name(f"{spelt.name}_spelt", model)
            spelt.dims.extend([1] * (ranks[node.input[0]] - axis.i - len(spelt.dims)))
            node.input[1] = spelt.name
            node.attribute.remove(axis)
            graph.input.append(helper.make_tensor_value_info(spelt.name, spelt.data_type, spelt.dims))


def _without_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    try:
        inlined: onnx.ModelProto = onnx.inliner.inline_local_functions(model)
    except INVALID as error:
        message = f"the functions of graph {model.graph.name!r} cannot be written out: {error}"
        raise ModelError(message) from error
    return inlined


def _with_shapes(model: onnx.ModelProto, stated: onnx.GraphProto) -> onnx.ModelProto:
    """Infer every shape again; where nothing can be inferred of an output, keep what the file states of it."""
    graph = model.graph
    batch = graph.input[0].type.tensor_type.shape.dim[0]
    inferred = infer_shapes(model, strict=False)
    graph.value_info.extend(inferred.value_info)
    for output, found, own in zip(graph.output, inferred.output, stated.output, strict=True):
        if found.type.tensor_type.HasField("shape"):
            output.CopyFrom(found)
        elif dims := own.type.tensor_type.shape.dim:
            output.CopyFrom(own)
            output.type.tensor_type.shape.dim[0].CopyFrom(batch)
            for dim in (dim for dim in output.type.tensor_type.shape.dim[1 : len(dims)] if dim.dim_value < 0):
                dim.Clear()
    return model


def _with_input(
    model: onnx.ModelProto, image: ImageInput, dtype: str, wanted: Preprocessing, *, batch: int | None
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
    nodes = list(_prepare(name, image, dtype, wanted, moved=_only_moved(graph, image.name))) + list(graph.node)
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    for output in graph.output:
        if output.type.HasField("tensor_type"):
            output.type.tensor_type.ClearField("shape")
    return adapted


def _prepare(
    name: str, image: ImageInput, dtype: str, wanted: Preprocessing, *, moved: bool
) -> Iterator[onnx.NodeProto]:
    """Yield the nodes from the new input to the old one; ``moved``: the network itself casts it before it computes."""
    steps: list[tuple[str, list[str], dict[str, Any]]] = []
    if dtype == "uint8":
        steps.append(("Cast", [], {"to": TensorProto.FLOAT}))
    shift, factor = wanted.per_channel(image.shape[0])
    for operator, values, does_nothing in (("Sub", shift, not shift.any()), ("Mul", factor, (factor == 1).all())):
        if not does_nothing:
            constant = f"inferkit/{operator}/value"
            yield helper.make_node("Constant", [], [constant], value=numpy_helper.from_array(values, constant))
            steps.append((operator, [constant], {}))
    if image.layout == "NHWC":
        steps.append(("Transpose", [], {"perm": [0, 2, 3, 1]}))
    if image.elem_type != TensorProto.FLOAT and not (image.elem_type == TensorProto.UINT8 and moved):
        steps.append(("Cast", [], {"to": image.elem_type}))
    steps = steps or [("Identity", [], {})]
    tensors = [name, *(f"inferkit/{number}/{step[0]}" for number, step in enumerate(steps[:-1])), image.name]
    for (operator, constants, attributes), before, after in zip(steps, tensors, tensors[1:], strict=False):
        yield helper.make_node(operator, [before, *constants], [after], name=f"inferkit/{after}", **attributes)


def _only_moved(graph: onnx.GraphProto, name: str) -> bool:
    """Tell whether a tensor is cast before anything is computed of it: then its own type makes no difference."""
    if any(each.g.node or each.graphs for node in graph.node for each in node.attribute):
        return False  # an inner graph may read it
    outputs = {output.name for output in graph.output}
    waiting, seen = [name], set[str]()
    while waiting:
        tensor = waiting.pop()
        readers = [node for node in graph.node if tensor in node.input and node.op_type != "Cast"]
        if tensor in outputs or any(node.op_type not in _MOVES or node.input[0] != tensor for node in readers):
            return False
        seen.add(tensor)
        waiting += {moved for node in readers for moved in node.output} - seen
    return True
