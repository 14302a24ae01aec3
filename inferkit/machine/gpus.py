"""The NVIDIA GPUs of a machine, as NVML reports them, otherwise /proc and /sys. No CUDA context is made."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from inferkit.errors import DeviceError
from inferkit.linux.procfs import ROOT, fields, integer, text
from inferkit.machine.nvml import nvml
from inferkit.records.host import Gpu

_PCIE_GENERATION = {"2.5": 1, "5.0": 2, "8.0": 3, "16.0": 4, "32.0": 5, "64.0": 6}
"""Transfer rate of a PCIe lane in GT/s and the generation of the specification that introduced it."""


Serials = dict[str, str]


def detect(root: Path = ROOT) -> list[tuple[Gpu, Serials]]:
    """Return each GPU and its serial numbers, from NVML if it answers (it knows only this machine's own root)."""
    return (_from_nvml(root) if root == ROOT else []) or _from_proc(root)


def instances() -> dict[str, int]:
    """Return the MIG instances by their UUIDs, and the number of the GPU that each is a part of; none without NVML."""
    found: dict[str, int] = {}
    with suppress(DeviceError), nvml() as library:
        for index in range(library.nvmlDeviceGetCount()):
            found |= dict.fromkeys(_instances_of(library, index), index)
    return found


def _instances_of(library: Any, index: int) -> Iterator[str]:
    with suppress(library.NVMLError, AttributeError):  # a GPU or a driver without MIG, bindings that do not know it
        whole = library.nvmlDeviceGetHandleByIndex(index)
        for place in range(library.nvmlDeviceGetMaxMigDeviceCount(whole)):
            with suppress(library.NVMLError):  # no instance there
                yield _words(library.nvmlDeviceGetUUID(library.nvmlDeviceGetMigDeviceHandleByIndex(whole, place)))


def driver_version(root: Path = ROOT) -> str | None:
    """Return the version of the loaded NVIDIA kernel module; None if none is loaded."""
    # NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar … (older) / … for x86_64  580.82.07 Release …
    words = (text(root / "proc/driver/nvidia/version") or "").split("GCC version")[0].split()
    return next((word for word in words if word[0].isdigit() and word.replace(".", "").isdigit()), None)


def _from_nvml(root: Path) -> list[tuple[Gpu, Serials]]:
    found: list[tuple[Gpu, Serials]] = []
    with suppress(DeviceError), nvml() as library:
        found = [_nvml_gpu(library, index, root) for index in range(library.nvmlDeviceGetCount())]
    return found


def _nvml_gpu(library: Any, index: int, root: Path) -> tuple[Gpu, Serials]:
    def ask(function: str, *arguments: Any) -> Any:
        """Return NVML's answer; None if this GPU, driver or user does not get one."""
        try:
            return getattr(library, function)(*arguments)
        except (library.NVMLError, UnicodeDecodeError):  # the bindings take every name for UTF-8
            return None

    handle = ask("nvmlDeviceGetHandleByIndex", index)
    if handle is None:  # lost from the bus, or not this user's
        return Gpu(index=index, name="NVIDIA GPU, out of reach"), {}
    memory, pci = ask("nvmlDeviceGetMemoryInfo", handle), ask("nvmlDeviceGetPciInfo", handle)
    capability = ask("nvmlDeviceGetCudaComputeCapability", handle)
    power_mw = ask("nvmlDeviceGetEnforcedPowerLimit", handle)
    ecc, mig = ask("nvmlDeviceGetEccMode", handle), ask("nvmlDeviceGetMigMode", handle)
    address = linux_address(_words(pci.busId)) if pci else None
    gpu = Gpu(
        index=index,
        name=_words(ask("nvmlDeviceGetName", handle)).strip() or "NVIDIA GPU",
        memory_bytes=memory.total if memory else None,
        pci_bus_id=address,
        numa_node=_numa_node(address, root),
        driver=_words(ask("nvmlSystemGetDriverVersion")) or driver_version(root),
        compute_capability=f"{capability[0]}.{capability[1]}" if capability else None,
        pcie_generation=ask("nvmlDeviceGetMaxPcieLinkGeneration", handle),
        pcie_width=ask("nvmlDeviceGetMaxPcieLinkWidth", handle),
        power_limit_w=power_mw / 1000 if power_mw else None,
        ecc=bool(ecc[0]) if ecc else None,
        mig=bool(mig[0]) if mig else None,
    )
    return gpu, _serials(index, ask, handle)


def _serials(index: int, ask: Callable[..., Any], handle: Any) -> Serials:
    found = {"uuid": ask("nvmlDeviceGetUUID", handle), "serial": ask("nvmlDeviceGetSerial", handle)}
    return {f"gpu{index} {what}": _words(value) for what, value in found.items() if value}


def _from_proc(root: Path) -> list[tuple[Gpu, Serials]]:
    """Read /proc/driver/nvidia/gpus/<address>/information, which the kernel module writes."""
    folders = sorted((root / "proc/driver/nvidia/gpus").glob("*/information"))
    return [_proc_gpu(index, file, root) for index, file in enumerate(folders)]


def _proc_gpu(index: int, information: Path, root: Path) -> tuple[Gpu, Serials]:
    told = fields(text(information))
    address = linux_address(told.get("Bus Location") or information.parent.name)
    device = root / "sys/bus/pci/devices" / address
    lane_rate = (text(device / "max_link_speed") or "").split(" ")[0]
    gpu = Gpu(
        index=index,
        name=told.get("Model", "NVIDIA GPU"),
        pci_bus_id=address,
        numa_node=_numa_node(address, root),
        driver=driver_version(root),
        pcie_generation=_PCIE_GENERATION.get(lane_rate),
        pcie_width=integer(device / "max_link_width"),
    )
    uuid = told.get("GPU UUID")
    return gpu, {f"gpu{index} uuid": uuid} if uuid else {}


def linux_address(bus_id: str) -> str:
    """Return a PCI address as /sys writes it: NVML's ``00000000:3B:00.0`` is ``0000:3b:00.0``."""
    domain, _, rest = bus_id.lower().partition(":")
    return f"{int(domain, 16):04x}:{rest}"


def _numa_node(address: str | None, root: Path) -> int | None:
    node = integer(root / "sys/bus/pci/devices" / address / "numa_node") if address else None
    return None if node is None or node < 0 else node


def _words(value: Any) -> str:
    """Return NVML's text, which older bindings give as bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")
