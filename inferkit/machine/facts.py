"""The machine that a figure was measured on.

Everything is read from /proc, /sys and the metadata of installed packages. Nothing is run, and only NVML touches a GPU.
None means that the machine does not say. What identifies a machine or a person lies under ``identity`` alone.
"""

import os
import platform
import pwd
import shlex
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from inferkit.linux.cgroups import affinity, cpu_quota, memory_limit
from inferkit.linux.mounts import filesystem
from inferkit.linux.procfs import ROOT, cpu_list, fields, kibibytes, numa_nodes, text
from inferkit.machine import gpus
from inferkit.records.host import Gpu, Host, Identity, NumaNode

PACKAGES = (
    *("inferkit", "numpy", "onnx", "onnxruntime", "onnxruntime-gpu", "papermill", "pycuda", "cuda-bindings"),
    *("tensorrt", "tensorrt-cu12", "tensorrt-cu13", "tensorrt-rtx", "tensorrt-rtx-cu12", "tensorrt-rtx-cu13"),
    *("nvidia-ml-py", "nvidia-nvjpeg", "nvidia-nvjpeg-cu12"),
    *("nvidia-cuda-nvrtc", "nvidia-cuda-nvrtc-cu12"),
    *("kvikio-cu12", "kvikio-cu13", "nvidia-cufile"),
)
"""Distributions whose versions shape a figure."""

_HYPERVISORS = ("QEMU", "KVM", "VMware", "VirtualBox", "Xen", "Virtual Machine", "Bochs", "OpenStack", "HVM domU")
"""Words in the firmware's vendor or product name that only virtual machines have, as in systemd-detect-virt."""

_CONTAINER_MARKS = {
    ".dockerenv": "docker",
    "run/.containerenv": "podman",
    ".singularity.d": "apptainer",
}
"""Files that container runtimes leave in a container's root."""

_CONTAINER_GROUPS = {"kubepods": "kubernetes", "docker": "docker", "libpod": "podman", "lxc": "lxc"}
"""Words in the names of control groups."""


@cache
def facts(root: Path = ROOT) -> Host:
    """Return the facts about this machine. They are found once per process: a later change of affinity does not show.

    Parameters
    ----------
    root
        Where /proc, /sys and /etc lie; tests feed recorded trees. NVML is asked only where this is ``/``.
    """
    processors = [fields(block) for block in (text(root / "proc/cpuinfo") or "").split("\n\n")]
    processors = [processor for processor in processors if "processor" in processor]
    packages_and_cores = _topology(processors, root)
    memory, limit = kibibytes(fields(text(root / "proc/meminfo")).get("MemTotal")), memory_limit(root)
    found = gpus.detect(root)
    return Host(
        cpu=_cpu_name(processors),
        sockets=len({package for package, _ in packages_and_cores}) or None,
        cores=len(packages_and_cores) or None,
        threads_total=len(processors) or None,
        threads=len(affinity(root)) or None,
        cpu_quota=cpu_quota(root),
        memory_bytes=memory,
        memory_limit_bytes=limit if limit is not None and (memory is None or limit < memory) else None,
        numa_nodes=_numa_nodes(root),
        kernel=text(root / "proc/sys/kernel/osrelease") or "",
        os=os_release(root).get("PRETTY_NAME", ""),
        python=platform.python_version(),
        virtual="; ".join([*_machine(processors, root), *_container(root)]) or None,
        gpus=[gpu for gpu, _ in found],
        packages=installed(PACKAGES),
        governor=_governor(root),
        identity=_identity(root, found),
    )


def installed(names: Iterable[str]) -> dict[str, str]:
    """Return the versions of the distributions that are installed, without importing them."""
    versions = {}
    for name in names:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def os_release(root: Path = ROOT) -> dict[str, str]:
    """Return the variables of os-release(5), such as PRETTY_NAME and ID."""
    content = text(root / "etc/os-release") or text(root / "usr/lib/os-release") or ""
    pairs = (line.split("=", 1) for line in content.splitlines() if "=" in line and not line.startswith("#"))
    return {key: "".join(shlex.split(value)[:1]) for key, value in pairs}


def _cpu_name(processors: list[dict[str, str]]) -> str:
    """Return the model name; ARM gives only numbers, which are better than nothing."""
    first = processors[0] if processors else {}
    arm = (
        f"ARM implementer {first['CPU implementer']} part {first.get('CPU part')}" if "CPU implementer" in first else ""
    )
    return first.get("model name", arm)


def _topology(processors: list[dict[str, str]], root: Path) -> set[tuple[str, str]]:
    """Return (package, core) of every physical core: from cpuinfo on x86, otherwise from /sys; empty if unknown."""
    if all("physical id" in processor and "core id" in processor for processor in processors):
        return {(processor["physical id"], processor["core id"]) for processor in processors}
    folders = (root / f"sys/devices/system/cpu/cpu{processor['processor']}/topology" for processor in processors)
    pairs = [(text(folder / "physical_package_id"), text(folder / "core_id")) for folder in folders]
    return {(package, core) for package, core in pairs if package is not None and core is not None}


def _numa_nodes(root: Path) -> list[NumaNode]:
    return [_numa_node(node, folder) for node, folder in numa_nodes(root).items()]


def _numa_node(node: int, folder: Path) -> NumaNode:
    memory = fields(text(folder / "meminfo")).get(f"Node {node} MemTotal")
    return NumaNode(node=node, cpus=cpu_list(text(folder / "cpulist")), memory_bytes=kibibytes(memory))


def _machine(processors: list[dict[str, str]], root: Path) -> list[str]:
    """Describe the virtual machine: x86 CPUs flag a hypervisor, the firmware names it."""
    dmi = root / "sys/class/dmi/id"
    name = " ".join(word for file in ("sys_vendor", "product_name") if (word := text(dmi / file)))
    flagged = any("hypervisor" in processor.get("flags", "").split() for processor in processors)
    if not flagged and not any(word in name for word in _HYPERVISORS):
        return []
    return [f"virtual machine ({name or text(root / 'sys/hypervisor/type') or 'hypervisor unknown'})"]


def _container(root: Path) -> list[str]:
    """Describe the container: its runtime leaves files, names control groups, or layers the root."""
    groups = text(root / "proc/self/cgroup") or ""
    kinds = [kind for word, kind in _CONTAINER_GROUPS.items() if word in groups]
    kinds += [kind for mark, kind in _CONTAINER_MARKS.items() if (root / mark).exists()]
    mounts = text(root / "proc/self/mountinfo")
    if not kinds and mounts and filesystem(ROOT, mounts, root / "sys").fstype == "overlay":
        kinds = ["of unknown kind"]
    return [f"container ({', '.join(dict.fromkeys(kinds))})"] if kinds else []


def _governor(root: Path) -> str | None:
    files = (root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor")
    return ", ".join(sorted({governor for file in files if (governor := text(file))})) or None


def _identity(root: Path, found: list[tuple[Gpu, gpus.Serials]]) -> Identity:
    serials = {what: serial for _, each in found for what, serial in each.items()}
    product = text(root / "sys/class/dmi/id/product_serial")
    return Identity(
        hostname=text(root / "proc/sys/kernel/hostname") or "",
        user=_user() if root == ROOT else "",
        serials=serials | ({"machine serial": product} if product else {}),
    )


def _user() -> str:
    """Return the login name; a container may run under a number that has none."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"
