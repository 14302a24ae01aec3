"""The machine that a figure was measured on, as a record has it. None is what the machine does not tell."""

from pydantic import BaseModel, ConfigDict, Field


class _Facts(BaseModel):
    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True)


class Gpu(_Facts):
    """One GPU; None is what the machine does not tell.

    Parameters
    ----------
    index
        NVML's number, which counts in the order of PCI addresses. CUDA's order may differ (``CUDA_DEVICE_ORDER``):
        match by ``pci_bus_id``.
    memory_bytes
        Device memory in bytes.
    pci_bus_id
        Address as Linux writes it: ``0000:3b:00.0``.
    numa_node
        The NUMA node whose memory is nearest; None where the firmware does not say (the kernel's -1).
    compute_capability
        Such as ``9.0``.
    pcie_generation, pcie_width
        The fastest link that the GPU (from NVML: the GPU in this slot) can have, not the present one: links slow down
        when idle.
    power_limit_w
        Power limit in force, in watts.
    ecc, mig
        Whether error correction is on, and whether the GPU is split into instances.
    """

    index: int
    name: str
    memory_bytes: int | None = None
    pci_bus_id: str | None = None
    numa_node: int | None = None
    driver: str | None = None
    compute_capability: str | None = None
    pcie_generation: int | None = None
    pcie_width: int | None = None
    power_limit_w: float | None = None
    ecc: bool | None = None
    mig: bool | None = None


class Identity(_Facts):
    """What identifies a machine or a person, kept under one key so that it can be removed."""

    hostname: str
    user: str
    serials: dict[str, str] = Field(default_factory=dict)


class NumaNode(_Facts):
    """A NUMA node: its logical CPUs (none where it is memory only) and its memory in bytes."""

    node: int
    cpus: list[int]
    memory_bytes: int | None = None


class Host(_Facts):
    """Facts about the machine; None is unknown.

    Parameters
    ----------
    cpu
        Model name.
    sockets, cores, threads_total
        Of the whole machine: packages, physical cores, logical CPUs that are online.
    threads
        Logical CPUs that the process may be scheduled on (its affinity).
    cpu_quota
        CPUs' worth of time that its control groups allow; None is no quota.
    memory_bytes, memory_limit_bytes
        The machine's memory, and the control groups' limit where that is lower.
    numa_nodes
        Empty where the kernel does not tell.
    virtual
        Virtual machine or container, in words; None where no sign of either was found.
    packages
        Version of each installed distribution that shapes a figure.
    governor
        Frequency governor of the CPUs, all different ones joined by a comma; None on most virtual machines.
    """

    cpu: str = ""
    sockets: int | None = None
    cores: int | None = None
    threads_total: int | None = None
    threads: int | None = None
    cpu_quota: float | None = None
    memory_bytes: int | None = None
    memory_limit_bytes: int | None = None
    numa_nodes: list[NumaNode] = Field(default_factory=list)
    kernel: str = ""
    os: str = ""
    python: str = ""
    virtual: str | None = None
    gpus: list[Gpu] = Field(default_factory=list)
    packages: dict[str, str] = Field(default_factory=dict)
    governor: str | None = None
    identity: Identity | None = None
