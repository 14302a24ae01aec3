"""Where cores, memory, GPUs, network cards and NVMe disks lie in this machine, as /sys describes it.

A virtual machine may say nothing, or -1, or that a device is equally near to several nodes. The device's node is then
None, which reads "unknown". Nothing is guessed, even if there is only one node.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from inferkit.linux.procfs import ROOT, cpu_list, integer, numa_nodes, text
from inferkit.machine import gpus

_CLASSES: dict[str, Literal["network", "nvme"]] = {
    "net/*": "network",
    "infiniband/*": "network",
    "nvme/nvme*": "nvme",
    "block/nvme*n1": "nvme",  # kernels before 3.15 have no class nvme
}
"""Where /sys/class lists the devices that matter here."""

_ADDRESS = re.compile(r"[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-9a-f]$")


class _Facts(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Core(_Facts):
    """A physical core.

    Parameters
    ----------
    cpus
        Its logical CPUs (hyper-threads), the lowest number first.
    node, socket
        None if the machine does not say.
    """

    cpus: tuple[int, ...]
    node: int | None = None
    socket: int | None = None


class PciDevice(_Facts):
    """A GPU, network card or NVMe disk.

    Parameters
    ----------
    kind, name
        Such as ``network`` and ``eth0``; the name of a GPU is NVML's number.
    address
        On the PCI bus; None if it is not known.
    node
        The NUMA node that it is nearest to; None if that is unknown.
    bridges
        PCI bridges and switches above it, from the root down; empty if it hangs directly on the root, or if unknown.
    """

    kind: Literal["gpu", "network", "nvme"]
    name: str
    address: str | None = None
    node: int | None = None
    bridges: tuple[str, ...] = ()


class Topology(_Facts):
    """A machine: its cores in the order of sockets, nodes and numbers, its NUMA nodes, and what is on its PCI bus."""

    cores: tuple[Core, ...] = ()
    nodes: tuple[int, ...] = ()
    devices: tuple[PciDevice, ...] = ()

    @property
    def gpus(self) -> dict[int | str, PciDevice]:
        """The GPUs by NVML's number, and those MIG instances that were added by their UUIDs."""
        named = [device for device in self.devices if device.kind == "gpu"]
        return {int(device.name) if device.name.isdigit() else device.name: device for device in named}

    @property
    def whole_gpus(self) -> dict[int, PciDevice]:
        """The GPUs by NVML's number, without MIG instances."""
        return {gpu: device for gpu, device in self.gpus.items() if isinstance(gpu, int)}

    def with_instances(self, parents: Mapping[str, int]) -> "Topology":
        """Return the machine with MIG instances, which lie where the GPUs are that they are parts of."""
        there = self.gpus
        added = [there[gpu].model_copy(update={"name": name}) for name, gpu in parents.items() if gpu in there]
        return self.model_copy(update={"devices": (*self.devices, *added)})

    def socket_of(self, node: int | None) -> int | None:
        """Return the socket of a node's cores; None if it has no cores or the machine does not say."""
        return next((core.socket for core in self.cores if node is not None and core.node == node), None)

    def unknown(self) -> list[str]:
        """List what the machine does not say."""
        told = []
        if not self.nodes:
            told.append("NUMA nodes: the kernel tells none")
        lost = {
            kind: [p.name for p in self.devices if p.kind == kind and p.node is None]
            for kind in ("gpu", "network", "nvme")
        }
        return told + [f"NUMA node of {kind} {', '.join(names)}" for kind, names in lost.items() if names]

    def __str__(self) -> str:
        """Return one line per NUMA node: its socket, cores, logical CPUs and devices."""
        nodes = [*self.nodes, *([None] if any(p.node is None for p in self.devices) or not self.nodes else [])]
        return "\n".join(self._line(node) for node in nodes)

    def _line(self, node: int | None) -> str:
        cores = [core for core in self.cores if core.node == node]
        threads = sum(len(core.cpus) for core in cores)
        there = [f"{device.kind} {device.name}" for device in self.devices if device.node == node]
        name = "node unknown" if node is None else f"node {node}, socket {_told(self.socket_of(node))}"
        return f"{name}: " + ", ".join(
            [f"{len(cores)} cores, {threads} logical CPUs"] * bool(cores) + there or ["memory only"]
        )


def _told(value: int | None) -> str:
    return "unknown" if value is None else str(value)


@cache
def topology(root: Path = ROOT) -> Topology:
    """Read a machine's topology.

    Parameters
    ----------
    root
        Where /proc and /sys lie; tests feed recorded trees.
    """
    node_cpus = _node_cpus(root)
    cores = sorted(_cores(root, node_cpus), key=lambda core: (_last(core.socket), _last(core.node), core.cpus))
    found = [*_gpus(root, node_cpus), *_cards_and_disks(root, node_cpus)]
    return Topology(cores=tuple(cores), nodes=tuple(sorted(node_cpus)), devices=tuple(found))


def _last(value: int | None) -> float:
    return float("inf") if value is None else value


def node_of_cpu(cpu: int, node_cpus: dict[int, set[int]]) -> int | None:
    """Return the node that lists a CPU."""
    return next((node for node, cpus in node_cpus.items() if cpu in cpus), None)


def _node_cpus(root: Path) -> dict[int, set[int]]:
    return {node: _cpu_set(folder, "cpulist", "cpumap") for node, folder in numa_nodes(root).items()}


def _cpu_set(folder: Path, listed: str, masked: str) -> set[int]:
    """Read a set of CPUs: a list, or in older kernels a mask in hexadecimal words."""
    content = text(folder / listed)
    if content is not None:
        return set(cpu_list(content))
    mask = int((text(folder / masked) or "0").replace(",", ""), 16)
    return {bit for bit in range(mask.bit_length()) if mask >> bit & 1}


def _cores(root: Path, node_cpus: dict[int, set[int]]) -> Iterator[Core]:
    system = root / "sys/devices/system/cpu"
    online = set(cpu_list(text(system / "online")))
    seen: set[int] = set()
    for folder in sorted(system.glob("cpu[0-9]*"), key=lambda folder: int(folder.name[3:])):
        cpu = int(folder.name[3:])
        if cpu in seen or (online and cpu not in online):
            continue
        threads = _cpu_set(folder / "topology", "thread_siblings_list", "thread_siblings") or {cpu}
        seen |= threads
        socket = integer(folder / "topology/physical_package_id")
        yield Core(
            cpus=tuple(sorted(threads)),
            node=node_of_cpu(cpu, node_cpus),
            socket=None if socket is None or socket < 0 else socket,
        )


def _gpus(root: Path, node_cpus: dict[int, set[int]]) -> Iterator[PciDevice]:
    for gpu, _ in gpus.detect(root):
        link = root / "sys/bus/pci/devices" / (gpu.pci_bus_id or "none")
        addresses = _addresses(link)
        yield PciDevice(
            kind="gpu",
            name=str(gpu.index),
            address=gpu.pci_bus_id,
            node=_node(link.resolve(), node_cpus) if gpu.pci_bus_id else None,
            bridges=tuple(addresses[:-1]),
        )


def _cards_and_disks(root: Path, node_cpus: dict[int, set[int]]) -> Iterator[PciDevice]:
    seen: set[tuple[str, str]] = set()
    for pattern, kind in _CLASSES.items():
        for link in sorted((root / "sys/class").glob(pattern)):
            addresses = _addresses(link)
            if not addresses or (kind, addresses[-1]) in seen:
                continue  # a bridge or a tunnel; or the same card under another name
            seen.add((kind, addresses[-1]))
            yield PciDevice(
                kind=kind,
                name=link.name,
                address=addresses[-1],
                node=_node(_pci_folder(link), node_cpus),
                bridges=tuple(addresses[:-1]),
            )


def _addresses(link: Path) -> list[str]:
    """Return the PCI addresses on the way from the root to a device."""
    return [part for part in link.resolve().parts if _ADDRESS.match(part)]


def _pci_folder(link: Path) -> Path:
    folder = link.resolve()
    return next(path for path in (folder, *folder.parents) if _ADDRESS.match(path.name))


def _node(folder: Path, node_cpus: dict[int, set[int]]) -> int | None:
    """Return a PCI device's node; None if it is -1, or if CPUs of other nodes are as near to the device."""
    node = integer(folder / "numa_node")
    if node is None or node < 0:
        return None
    near = _cpu_set(folder, "local_cpulist", "local_cpus")
    strange = near and node_cpus.get(node) and not near <= node_cpus[node]
    return None if strange else node


def allowed_cores(machine: Topology, allowed: Iterable[int]) -> list[Core]:
    """Return the cores with only the logical CPUs that may be used; cores without any are left out."""
    usable = set(allowed)
    cores = [core.model_copy(update={"cpus": tuple(c for c in core.cpus if c in usable)}) for core in machine.cores]
    known = {cpu for core in cores for cpu in core.cpus}
    bare = [Core(cpus=(cpu,)) for cpu in sorted(usable - known)]  # a kernel that reports no topology
    return [core for core in cores if core.cpus] + bare
