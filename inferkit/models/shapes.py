"""Shape inference without the weights: the result does not depend on them, and copying them takes seconds."""

from collections.abc import Iterator
from math import prod

import onnx
from onnx import helper

INVALID = (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, RuntimeError, ValueError)
"""What onnx raises of a graph that contradicts itself or the standard; the last where a name is no UTF-8."""
_SHAPE_LIKE = 1024  # elements; tensors up to this size may be shapes, axes or sizes that others depend on


def infer_shapes(model: onnx.ModelProto, *, strict: bool = True) -> onnx.GraphProto:
    """Return the graph of `model` with the shapes of its tensors, as far as they can be known.

    Parameters
    ----------
    model
        It is not changed.
    strict
        Raise where operators and shapes contradict each other; else what contradicts itself has no shapes.

    Returns
    -------
    GraphProto
        Its large initialisers are inputs; its ``value_info`` and ``output`` hold what was inferred.

    Raises
    ------
    one of :data:`INVALID`
        If `strict` and the graph contradicts itself.
    """
    try:
        inferred: onnx.GraphProto = onnx.shape_inference.infer_shapes(
            _light(model), strict_mode=strict, data_prop=True
        ).graph
    except INVALID:
        if strict:
            raise
        return model.graph
    return inferred


def _light(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model whose large initialisers are inputs."""
    graph = model.graph
    light = helper.make_graph(list(graph.node), "light", list(graph.input), list(graph.output))
    light.value_info.extend(graph.value_info)
    known = {value.name for value in graph.input}
    for weight in graph.initializer:
        if prod(weight.dims) <= _SHAPE_LIKE:
            light.initializer.append(weight)
        elif weight.name not in known:
            light.input.append(helper.make_tensor_value_info(weight.name, weight.data_type, weight.dims))
    bare = helper.make_model(light, opset_imports=model.opset_import, functions=list(model.functions))
    bare.ir_version = model.ir_version
    return bare


def graphs_of(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Yield a graph and the graphs inside of it."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else ()), *attribute.graphs):
                yield from graphs_of(inner)


def nodes_of(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Yield the nodes of a graph and of the graphs inside of it."""
    return (node for own in graphs_of(graph) for node in own.node)


def dimensions(value: onnx.ValueInfoProto) -> list[int | str | None]:
    """Return the shape of a tensor: a number, a name or None for each dimension."""
    dims = value.type.tensor_type.shape.dim
    return [d.dim_value if d.HasField("dim_value") else d.dim_param or None for d in dims]
