"""The batch dimension of a user's graph: made dynamic where it was fixed."""

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from inferkit.errors import ModelError
from inferkit.models.probe import run_shapes
from inferkit.models.shapes import dimensions, graphs_of, infer_shapes

BATCH = "N"


def unused_name(name: str, model: onnx.ModelProto) -> str:
    """Return `name`, lengthened until no tensor has that name, in the graph or in one inside of it."""
    graphs = tuple(graphs_of(model.graph))
    taken = {value.name for graph in graphs for value in (*graph.input, *graph.output, *graph.initializer)}
    taken |= {tensor for graph in graphs for node in graph.node for tensor in (*node.input, *node.output)}
    while name in taken:
        name += "_"
    return name


def free_reshapes(model: onnx.ModelProto, batch: int) -> onnx.ModelProto:
    """Let every Reshape of batched data to a constant (`batch`, …) keep its data's batch instead.

    The model is changed in place and returned. Exporters write such constants when they trace one batch.
    """
    graph = model.graph
    while fixed := _fixed_reshapes(model, batch):
        for node, target in fixed:
            name = unused_name(f"{node.input[1]}_any_batch", model)
            graph.initializer.append(numpy_helper.from_array(np.array([0, *target[1:]], np.int64), name))
            node.input[1] = name  # 0 copies this dimension from the data
    return model


def _fixed_reshapes(model: onnx.ModelProto, batch: int) -> list[tuple[onnx.NodeProto, list[int]]]:
    """Find the Reshapes whose data have the dynamic batch and whose constant shape begins with `batch`."""
    inferred = infer_shapes(model, strict=False)
    batched = {value.name for value in (*inferred.input, *inferred.value_info) if dimensions(value)[:1] == [BATCH]}
    constants = _constants(model)
    reshapes = [n for n in model.graph.node if n.op_type == "Reshape" and len(n.input) == 2]
    candidates = [n for n in reshapes if n.input[0] in batched]
    targets = [(node, constants.get(node.input[1], [])) for node in candidates if not _allows_zero(node)]
    return [(node, target) for node, target in targets if target[:1] == [batch]]


def _allows_zero(node: onnx.NodeProto) -> bool:
    return any(attribute.name == "allowzero" and attribute.i for attribute in node.attribute)


def _constants(model: onnx.ModelProto) -> dict[str, list[int]]:
    """Return the constant vectors of integers, which shapes are, by name."""
    tensors = {w.name: w for w in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            tensors[node.output[0]] = node.attribute[0].t
    return {n: _vector(t) for n, t in tensors.items() if t.data_type == TensorProto.INT64 and len(t.dims) == 1}


def _vector(tensor: TensorProto) -> list[int]:
    """Return what a vector holds; nothing if its bytes are not as many as it says."""
    try:
        return [int(value) for value in numpy_helper.to_array(tensor)]
    except ValueError:
        return []


def follows_batch(model: onnx.ModelProto) -> bool:
    """Tell whether the first dimension of every output is the batch.

    Shape inference usually knows; if it does not, the network is run on two images.
    """
    leading = [dimensions(output)[:1] for output in infer_shapes(model, strict=False).output]
    if any(isinstance(size, int) for sizes in leading for size in sizes):
        return False
    try:
        return all(shape[:1] == (2,) for shape in run_shapes(model, batch=2))
    except ModelError:
        return False  # something inside has the fixed batch
