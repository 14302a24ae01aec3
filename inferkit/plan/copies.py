"""The points of notebook 02: copies by GPU, kind of memory, direction and size, and from each NUMA node's memory."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from inferkit.devices import MEMORIES
from inferkit.errors import ParameterError
from inferkit.linux.cgroups import affinity, memory_nodes
from inferkit.machine.topology import allowed_cores, topology
from inferkit.plan.assumed import Assumed
from inferkit.plan.context import batch_log_of
from inferkit.plan.devices import chosen_gpus, device_axes, place_of_instance
from inferkit.plan.points import Point
from inferkit.plan.settings import job_at
from inferkit.records.figures import Scalar
from inferkit.records.job import CopyJob, DeviceOptions
from inferkit.records.params import HostToDevice
from inferkit.records.place import Place
from inferkit.records.windows import window_of


def copy_points(params: HostToDevice, assumed: Assumed | None = None) -> tuple[list[Point], tuple[str, ...]]:
    """Plan a point for each GPU alone and for all at once; then for each GPU and NUMA node, where there are several.

    Returns
    -------
    points, remarks
        The remarks name nodes that are left out: this process has no core there, or may not use the memory.

    Raises
    ------
    ParameterError
        If the device has no such memory or direction, or there is no such GPU.
    """
    memories = params.memories or MEMORIES[params.device]
    for memory in memories:
        if memory not in MEMORIES[params.device]:
            message = (
                f"memories: device {params.device} has no {memory} memory: use {', '.join(MEMORIES[params.device])}"
            )
            raise ParameterError(message)
    if params.device == "cpu" and params.directions != ["in"]:
        message = "directions: device cpu has no memory of its own to copy back from: use in"
        raise ParameterError(message)
    gpus = chosen_gpus(params.device, params.gpus, assumed)
    points = [
        _point(params, own, memory, direction, nbytes)
        for own in [*([gpu] for gpu in gpus), *([gpus] if len(gpus) > 1 and not _instances(gpus) else [])]
        for direction in params.directions
        for memory in memories
        for nbytes in params.transfer_bytes
    ]
    largest = max(params.transfer_bytes)
    nodes, remarks = _nodes() if params.device == "cuda" else ({}, ())
    for way in params.directions:
        for gpu in gpus:
            points += _by_node(_point(params, [gpu], memories[0], way, largest), gpu, nodes)
    return points, remarks


def _point(params: HostToDevice, gpus: Sequence[int | str], memory: str, direction: str, nbytes: int) -> Point:
    numbers = tuple(gpu for gpu in gpus if isinstance(gpu, int))
    job = CopyJob(
        window=window_of(params),
        batch_log=batch_log_of(params),
        device=DeviceOptions(kind=params.device, numbers=numbers or (0,)),
        nbytes=nbytes,
        host_memory=memory,
        direction=direction,
    )
    axes: dict[str, Scalar] = {"memory": memory, "direction": direction, "transfer_bytes": nbytes}
    own = job_at(job, place_of_instance(gpus)) if _instances(gpus) else job
    return Point("copy", {**device_axes(params.device, gpus), **axes}, (own,))


def _instances(gpus: Sequence[int | str]) -> bool:
    return any(isinstance(gpu, str) for gpu in gpus)


def _nodes() -> tuple[dict[int, tuple[int, ...]], tuple[str, ...]]:
    """Return the logical CPUs of each NUMA node to copy from, none where there is one node; and what is left out."""
    machine = topology()
    if len(machine.nodes) < 2:
        return {}, ()
    cores, with_memory = allowed_cores(machine, affinity()), memory_nodes()
    cpus = {node: tuple(cpu for core in cores if core.node == node for cpu in core.cpus) for node in machine.nodes}
    usable = {node: own for node, own in cpus.items() if own and node in with_memory}
    lacking = [str(node) for node in machine.nodes if node not in usable]
    remark = f"NUMA node {', '.join(lacking)}: no copies from there, this process has no core or no memory on it"
    return usable, (remark,) if lacking else ()


def _by_node(point: Point, gpu: int | str, nodes: Mapping[int, tuple[int, ...]]) -> Iterator[Point]:
    """Yield a GPU's copies from each NUMA node: in a process whose cores and memory are bound there."""
    for node, cpus in nodes.items():
        job = job_at(point.job, Place(gpus=(gpu,), cpus=cpus, node=node))
        yield replace(point, axes={**point.axes, "node": node}, jobs=(job,))
