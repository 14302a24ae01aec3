"""The plan of ranks: which GPUs, cores, memory node and data folder each process gets.

GPUs of different sockets come first, then of different PCIe switches; a rank's cores lie on its GPUs' node where that
is known. Physical cores are shared out before their hyper-threads, and no two ranks get the same core.
"""

from collections.abc import Iterable, Sequence

from inferkit.machine.topology import Core, PciDevice, Topology, allowed_cores, topology
from inferkit.records.place import Place, Placement, gpu_names

Gpu = int | str
"""NVML's number of a GPU, or the UUID of a MIG instance."""


def spread(machine: Topology, ids: Sequence[Gpu]) -> list[Gpu]:
    """Order GPUs so that the first few always lie as far apart as possible: by socket, then by node, then by switch."""
    left, chosen = list(ids), list[Gpu]()
    while left:
        best = min(left, key=lambda gpu: (*_crowding(machine, gpu, chosen), str(gpu).rjust(9)))
        chosen.append(best)
        left.remove(best)
    return chosen


def _crowding(machine: Topology, gpu: Gpu, chosen: Sequence[Gpu]) -> tuple[int, int, int]:
    """Count the chosen GPUs that share a GPU's socket, node and bridges."""
    own = machine.gpus.get(gpu)
    others = [device for other in chosen if (device := machine.gpus.get(other))]
    if own is None:
        return 0, 0, 0
    socket = machine.socket_of(own.node)
    return (
        sum(socket is not None and machine.socket_of(device.node) == socket for device in others),
        sum(own.node is not None and device.node == own.node for device in others),
        sum(len(set(own.bridges) & set(device.bridges)) for device in others),
    )


def place_ranks(
    machine: Topology,
    ranks: int,
    *,
    gpus: Sequence[Gpu] = (),
    cpus: Iterable[int],
    cores: int = 0,
) -> Placement:
    """Plan the ranks.

    Parameters
    ----------
    machine
        Where everything lies.
    ranks
        Processes.
    gpus
        The GPUs to share out; more ranks than GPUs share them, fewer ranks get several each.
    cpus
        Logical CPUs that may be used.
    cores
        Physical cores per rank at most; 0: all, shared out evenly.
    """
    usable = allowed_cores(machine, cpus)
    shares = _gpu_shares(machine, ranks, gpus)
    remarks: list[str] = []
    nodes = _node_shares(machine, usable, shares, remarks)
    bound = _core_shares(usable, nodes, cores, remarks)
    places = [
        Place(
            rank=rank,
            ranks=ranks,
            gpus=shares[rank],
            cpus=bound[rank],
            node=nodes[rank][0] if len(nodes[rank]) == 1 else None,
        )
        for rank in range(ranks)
    ]
    return Placement(places=tuple(places), remarks=tuple(dict.fromkeys(remarks)))


def _gpu_shares(machine: Topology, ranks: int, gpus: Sequence[Gpu]) -> list[tuple[Gpu, ...]]:
    """Share out GPUs so that those of one rank lie near each other."""
    if not gpus:
        return [()] * ranks
    near = sorted(gpus, key=lambda gpu: _neighbourhood(machine, machine.gpus.get(gpu), gpu))
    if ranks >= len(near):
        return [(near[rank * len(near) // ranks],) for rank in range(ranks)]
    return [tuple(near[rank * len(near) // ranks : (rank + 1) * len(near) // ranks]) for rank in range(ranks)]


def _neighbourhood(machine: Topology, device: PciDevice | None, gpu: Gpu) -> tuple[float, float, tuple[str, ...], str]:
    if device is None:
        return float("inf"), float("inf"), (), str(gpu).rjust(9)
    socket = machine.socket_of(device.node)
    far = float("inf")
    return (
        far if socket is None else socket,
        far if device.node is None else device.node,
        device.bridges,
        str(gpu).rjust(9),
    )


def _node_shares(
    machine: Topology, usable: Sequence[Core], gpus: Sequence[tuple[Gpu, ...]], remarks: list[str]
) -> list[tuple[int | None, ...]]:
    """Return each rank's nodes: those of its GPUs if known, otherwise an even share of the nodes that have cores."""
    have_cores = list(dict.fromkeys(core.node for core in usable))
    ranks = len(gpus)
    shares: list[tuple[int | None, ...]] = []
    for rank, own in enumerate(gpus):
        found = {machine.gpus[gpu].node if gpu in machine.gpus else None for gpu in own}
        if own and found <= set(have_cores) - {None}:
            shares.append(tuple(sorted(node for node in found if node is not None)))
            continue
        if own and len(have_cores) > 1:
            remarks.append(f"GPU {gpu_names(own)}: its node is unknown or has no cores, so cores are not near it")
        low, high = rank * len(have_cores) // ranks, (rank + 1) * len(have_cores) // ranks
        shares.append(tuple(have_cores[low : max(high, low + 1)]))
    return shares


def _core_shares(
    usable: Sequence[Core], nodes: Sequence[tuple[int | None, ...]], cores: int, remarks: list[str]
) -> list[tuple[int, ...]]:
    """Share out each node's cores among the ranks on it."""
    bound: list[list[Core]] = [[] for _ in nodes]
    for node in dict.fromkeys(core.node for core in usable):
        own = [core for core in usable if core.node == node]
        there = [rank for rank, wanted in enumerate(nodes) if node in wanted]
        for turn, rank in enumerate(there):
            bound[rank] += _slice(own, turn, len(there), node, remarks)
    if cores:
        bound = [share[:cores] for share in bound]
    return [_physical_first(share) for share in bound]


def _slice(own: Sequence[Core], turn: int, turns: int, node: int | None, remarks: list[str]) -> list[Core]:
    if turns > len(own):  # hyper-threads count as cores, after all physical ones
        depth = max(len(core.cpus) for core in own)
        own = [Core(cpus=(core.cpus[i],), node=node) for i in range(depth) for core in own if i < len(core.cpus)]
    if turns > len(own):
        place = "this machine" if node is None else f"node {node}"
        remarks.append(f"{turns} ranks share the {len(own)} CPUs of {place}: they are not bound to cores of their own")
        return list(own)
    return list(own[turn * len(own) // turns : (turn + 1) * len(own) // turns])


def _physical_first(share: Sequence[Core]) -> tuple[int, ...]:
    depth = max((len(core.cpus) for core in share), default=0)
    return tuple(core.cpus[i] for i in range(depth) for core in share if i < len(core.cpus))


def picture(plans: Sequence[Placement]) -> str:
    """Return the machine and every plan, as text."""
    machine = topology()
    told = [str(machine), *(f"! {text}: unknown" for text in machine.unknown())]
    return "\n\n".join(["\n".join(told), *(f"{len(plan.places)} ranks\n{plan}" for plan in plans)])
