"""Operators of opsets 1 to 6 as opset 7 writes them, the first that ONNX Runtime runs in full.

What changed is little (onnx's Changelog.md): attributes that say nothing went, numbers became an input, and sizes
broadcast by themselves if the last ones are equal. onnx's own converter lacks some of it, and converts nothing behind
an operator whose shapes it cannot infer. An operator that is not in the standard stays as it is.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from inferkit.errors import ModelError
from inferkit.models.batching import unused_name
from inferkit.models.shapes import dimensions, graphs_of, infer_shapes, nodes_of

OPSET = 7
_SAY_NOTHING = ("consumed_inputs", "is_test", "output_sequence")
"""Attributes about memory, about training, and about an output that is there if it has a name."""
_BROADCAST = ("Add", "And", "Div", "Equal", "Greater", "Less", "Mul", "Or", "Pow", "Sub", "Xor")


def to_opset_7(model: ModelProto) -> None:
    """Write a network's operators anew, in place.

    Raises
    ------
    ModelError
        If values are to be broadcast over a tensor of which nothing tells how many dimensions it has.
    """
    opset = next(own for own in model.opset_import if not own.domain)
    for node in nodes_of(model.graph):
        if _has_rules(node):
            _spell(node, model)
    opset.version = OPSET - 1  # whose operators have shapes to infer
    ranks = _ranks(infer_shapes(model, strict=False))
    for graph in graphs_of(model.graph):
        nodes = [new for node in graph.node for new in (_aligned(node, ranks, model) if _has_rules(node) else (node,))]
        del graph.node[:]
        graph.node.extend(nodes)
    opset.version = OPSET


def _has_rules(node: NodeProto) -> bool:
    return not node.domain and len(node.output) > 0  # no operator of the standard is without


def _take(node: NodeProto, name: str) -> AttributeProto | None:
    """Remove an attribute from a node and return it."""
    found = next((own for own in node.attribute if own.name == name), None)
    if found is not None:
        node.attribute.remove(found)
    return found


def _spell(node: NodeProto, model: ModelProto) -> None:
    """Write a node as opset 6 has it, which needs no shapes."""
    for name in _SAY_NOTHING:
        _take(node, name)
    if node.op_type == "Reshape" and len(node.input) == 1 and (shape := _take(node, "shape")):
        node.input.append(unused_name(f"{node.output[0]}/shape", model))
        model.graph.initializer.append(numpy_helper.from_array(np.array(shape.ints, np.int64), node.input[1]))
    if node.op_type in _SPELLINGS:
        node.attribute.extend(helper.make_attribute(*new) for new in _SPELLINGS[node.op_type](node))


def _cast(node: NodeProto) -> Iterator[tuple[str, Any]]:
    if to := _take(node, "to"):
        types: dict[str, int] = dict(TensorProto.DataType.items())
        yield "to", types.get(to.s.decode(errors="replace").upper(), to.i)


def _concat(node: NodeProto) -> Iterator[tuple[str, Any]]:
    if not any(own.name == "axis" for own in node.attribute):
        yield "axis", 1


def _gemm(node: NodeProto) -> tuple[()]:
    _take(node, "broadcast")  # its third input does so by itself
    return ()


def _pad(node: NodeProto) -> Iterator[tuple[str, Any]]:
    if paddings := _take(node, "paddings"):
        yield "pads", list(paddings.ints)


def _upsample(node: NodeProto) -> Iterator[tuple[str, Any]]:
    height, width = _take(node, "height_scale"), _take(node, "width_scale")
    if height and width:
        yield "scales", [1.0, 1.0, height.f, width.f]


_SPELLINGS: dict[str, Callable[[NodeProto], Iterable[tuple[str, Any]]]] = {
    "Cast": _cast,
    "Concat": _concat,
    "Gemm": _gemm,
    "Pad": _pad,
    "Upsample": _upsample,
}
"""Take the attributes that an operator has no more, and return those that it has instead."""


def _ranks(graph: GraphProto) -> dict[str, int]:
    """Return how many dimensions tensors have, of those where it is known."""
    ranks: dict[str, int] = {}
    for own in graphs_of(graph):
        known = (each for each in (*own.input, *own.value_info) if each.type.tensor_type.HasField("shape"))
        ranks |= {value.name: len(dimensions(value)) for value in known}
        ranks |= {weight.name: len(weight.dims) for weight in own.initializer}
    return ranks


def _aligned(node: NodeProto, ranks: dict[str, int], model: ModelProto) -> Iterator[NodeProto]:
    """Yield a node that broadcasts as NumPy does; before it what gives its values last sizes of 1, if it needs them."""
    axis = _axis(node)
    if axis is not None and len(node.input) == 2:
        over, values = node.input
        if over not in ranks or values not in ranks:
            message = (
                f"{node.op_type} of {list(node.output)} spreads {values!r} over {over!r} from dimension {axis} on, and "
                "nothing tells how many dimensions they have: export the network with opset 7 or later"
            )
            raise ModelError(message)
        if (behind := ranks[over] - axis - ranks[values]) > 0:
            node.input[1] = unused_name(f"{node.output[0]}/{values}", model)
            axes = list(range(ranks[values], ranks[values] + behind))
            yield helper.make_node("Unsqueeze", [values], node.input[1:], axes=axes)
    yield node


def _axis(node: NodeProto) -> int | None:
    """Return the dimension at which a node's values begin; None where the last sizes are equal."""
    if node.op_type == "PRelu":
        return 1
    if node.op_type not in _BROADCAST:
        return None
    axis, broadcast = _take(node, "axis"), _take(node, "broadcast")
    return axis.i if axis and axis.i >= 0 and broadcast and broadcast.i else None
