"""What a graph costs: its parameters and its multiply-adds, counted as papers and torchvision count them."""

from math import prod

import onnx

from inferkit.errors import ModelError
from inferkit.models.shapes import dimensions, infer_shapes

_FOLDED = ".folded_bias"


def count_parameters(model: onnx.ModelProto) -> int:
    """Count the trainable parameters of a zoo model.

    They are the graph's initialisers, and those of folded batch norms once more: unfolded, such a bias is a scale and a
    shift per channel.
    """
    return sum(prod(w.dims) * (2 if w.name.endswith(_FOLDED) else 1) for w in model.graph.initializer)


def count_multiply_adds(model: onnx.ModelProto) -> int:
    """Count the multiplications of convolutions and matrix products for one image (one multiply-add each).

    Raises
    ------
    ModelError
        When the shape of such a layer cannot be inferred.
    """
    graph = infer_shapes(model)
    shapes = {w.name: tuple(w.dims) for w in model.graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        # The batch, and what a batch dimension was reshaped into, is the only unknown: count it as one image.
        shapes[value.name] = tuple(size if isinstance(size, int) else 1 for size in dimensions(value))
    return sum(_multiply_adds(node, shapes) for node in graph.node)


def _multiply_adds(node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]]) -> int:
    """Multiply the output's size by the length of the dot product behind each of its elements."""
    if node.op_type not in ("Conv", "Gemm", "MatMul"):
        return 0
    try:
        output, left, right = shapes[node.output[0]], shapes[node.input[0]], shapes[node.input[1]]
    except KeyError as missing:
        message = f"{node.op_type} {node.name!r}: the shape of tensor {missing} cannot be inferred; fix it in the graph"
        raise ModelError(message) from missing
    if node.op_type == "Conv":
        return prod(output) * prod(right[1:])
    return prod(output) * left[-1]
