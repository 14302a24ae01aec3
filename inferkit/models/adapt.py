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
from inferkit.models.old_operators import OPSET, to_opset_7
from inferkit.models.order import sort_nodes
from inferkit.models.preprocessing import DTYPES, Preprocessing
from inferkit.models.shapes import INVALID, graphs_of, infer_shapes, nodes_of

USUAL_OPSET = 13
"""Of a network that states none."""
_DOMAINS = {"ai.onnx": ""}
"""The standard's own has two names."""
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
    _check_names(model)
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


def _check_names(model: onnx.ModelProto) -> None:
    """Refuse names that libraries look up and that are no text, which protobuf hands out as bytes."""
    values = (value.name for value in (*model.graph.input, *model.graph.output))
    nodes = (*nodes_of(model.graph), *(node for function in model.functions for node in function.node))
    for name in (*values, *(name for node in nodes for name in (node.op_type, node.domain))):
        if isinstance(name, bytes):
            message = f"a name in it is not text in UTF-8 ({name!r}): export it again"
            raise ModelError(message)


def _modern(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy as it would be exported today: weights are no inputs (IR version 4), operators not before opset 7.

    Functions are written out, for what converts networks loses them.

    Raises
    ------
    ModelError
        If functions cannot be written out, older operators not be written anew, or nothing reads the input.
    """
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    if copied.functions:
        copied = _without_functions(copied)
    if _import_domains(copied) < OPSET:
        to_opset_7(copied)
    sort_nodes(copied.graph)
    copied.ir_version = min(max(copied.ir_version, 4), NEWEST_IR)
    _drop_inputs(copied.graph)
    _cast_outputs(copied)
    return copied


def _import_domains(model: onnx.ModelProto) -> int:
    """Import each domain of operators once, the standard's own by one name; return the opset of that."""
    for node in nodes_of(model.graph):
        node.domain = _DOMAINS.get(node.domain, node.domain)
    versions: dict[str, int] = {_DOMAINS.get(own.domain, own.domain): own.version for own in model.opset_import}
    versions.setdefault("", USUAL_OPSET)
    for domain in sorted({node.domain for node in nodes_of(model.graph)}):
        versions.setdefault(domain, 1)  # exporters of plugins forget it
    del model.opset_import[:]
    model.opset_import.extend(helper.make_opsetid(domain, version) for domain, version in versions.items())
    return versions[""]


def _drop_inputs(graph: onnx.GraphProto) -> None:
    """Leave out the inputs that are weights, and those that nothing reads: what they hold makes no difference."""
    weights = {weight.name for weight in graph.initializer}
    read = {name for node in nodes_of(graph) for name in node.input}
    read |= {output.name for own in graphs_of(graph) for output in own.output}
    inputs = [value for value in graph.input if value.name not in weights]
    heard = [value for value in inputs if value.name in read]
    if inputs and not heard:
        names = ", ".join(repr(value.name) for value in inputs)
        message = (
            f"nothing in graph {graph.name!r} reads its input ({names}), so that every image has the same result: "
            "export it with its first layers"
        )
        raise ModelError(message)
    del graph.input[:]
    graph.input.extend(heard)


def _cast_outputs(model: onnx.ModelProto) -> None:
    """Let outputs of types that NumPy lacks, such as bfloat16, be float32: nobody could be handed them."""
    numbers = helper.get_all_tensor_dtypes()
    for output in model.graph.output:
        own = output.type.tensor_type
        if own.elem_type in numbers and helper.tensor_dtype_to_np_dtype(own.elem_type).isbuiltin != 1:
            cast = unused_name(f"{output.name}_float32", model)
            model.graph.node.append(helper.make_node("Cast", [output.name], [cast], to=TensorProto.FLOAT))
            output.name, own.elem_type = cast, TensorProto.FLOAT


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
            constant = f"inferkit/{name}/{operator}/value"
            yield helper.make_node("Constant", [], [constant], value=numpy_helper.from_array(values, constant))
            steps.append((operator, [constant], {}))
    if image.layout == "NHWC":
        steps.append(("Transpose", [], {"perm": [0, 2, 3, 1]}))
    if image.elem_type != TensorProto.FLOAT and not (image.elem_type == TensorProto.UINT8 and moved):
        steps.append(("Cast", [], {"to": image.elem_type}))
    steps = steps or [("Identity", [], {})]
    tensors = [name, *(f"inferkit/{name}/{number}/{step[0]}" for number, step in enumerate(steps[:-1])), image.name]
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
