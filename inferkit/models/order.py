"""Nodes in an order in which they can be computed: ONNX Runtime takes any, what converts networks does not."""

from collections import defaultdict
from heapq import heappop, heappush

from onnx import GraphProto, NodeProto

from inferkit.models.shapes import graphs_of


def sort_nodes(graph: GraphProto) -> None:
    """Put every node behind those that it reads from, in place; no order is changed that need not be.

    Where nodes read from each other in a circle, nothing is changed: whoever runs the graph refuses it.
    """
    for own in graphs_of(graph):
        order = _order(own)
        if order != list(range(len(own.node))) and len(order) == len(own.node):
            nodes = [own.node[place] for place in order]
            del own.node[:]
            own.node.extend(nodes)


def _order(graph: GraphProto) -> list[int]:
    """Return places of nodes; fewer than there are if some read from each other in a circle."""
    makers = {name: place for place, node in enumerate(graph.node) for name in node.output}
    waits = [{makers[name] for name in _read(node) & makers.keys()} - {place} for place, node in enumerate(graph.node)]
    readers = defaultdict(list)
    for place, before in enumerate(waits):
        for maker in before:
            readers[maker].append(place)
    ready, order = [place for place, before in enumerate(waits) if not before], list[int]()
    while ready:
        order.append(heappop(ready))
        for reader in readers[order[-1]]:
            waits[reader].remove(order[-1])
            if not waits[reader]:
                heappush(ready, reader)
    return order


def _read(node: NodeProto) -> set[str]:
    """Return the tensors that a node reads, and all that the graphs inside of it do."""
    read = set(node.input)
    for attribute in node.attribute:
        for graph in (own for inner in (attribute.g, *attribute.graphs) for own in graphs_of(inner)):
            read.update(name for inner_node in graph.node for name in inner_node.input)
            read.update(output.name for output in graph.output)
    return read - {""}
