"""What inferkit needs of the machine itself: Python, CPUs, memory, GPUs and the kernel's limits."""

import ctypes
import errno
import resource
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from inferkit.errors import DeviceError
from inferkit.linux.page_cache import resident_share
from inferkit.linux.procfs import ROOT
from inferkit.machine.facts import installed
from inferkit.machine.gpus import driver_version
from inferkit.machine.nvml import no_driver, nvml
from inferkit.records.host import Host
from inferkit.units import gibibytes

PYTHON = ((3, 11), (3, 13))
"""Oldest and newest minor version of Python that inferkit is tested with."""

OPEN_FILES = 4096
"""Enough for 128 reader threads with 16 open files each, and as much again for libraries."""

_CACHESTAT = 451  # number of the system call on every architecture (Linux 6.5: uapi/asm-generic/unistd.h)


@dataclass(frozen=True)
class Check:
    """One thing that a machine has or lacks.

    Parameters
    ----------
    name
        What was looked for.
    status
        ``present``; ``limited``: there, but not fully usable; ``absent``; ``unknown``: the machine does not say.
    found
        What was found.
    why
        Why it matters, in one line.
    fix
        The command or setting that mends it; empty if it is present.
    """

    name: str
    status: Literal["present", "absent", "unknown", "limited"]
    found: str
    why: str
    fix: str = ""


def python(version: tuple[int, ...] = sys.version_info[:3]) -> Check:
    """Check the version of Python."""
    oldest, newest = (".".join(map(str, minor)) for minor in PYTHON)
    found = ".".join(map(str, version))
    why = f"inferkit is tested with {oldest} to {newest}"
    if PYTHON[0] <= version[:2] <= PYTHON[1]:
        return Check("Python", "present", found, why)
    return Check("Python", "limited", found, why, f"make an environment: python{newest} -m venv .venv")


def cpu(host: Host) -> Check:
    """Check how many CPUs there are, and how many of them may be used."""
    why = "reading, decoding and feeding GPUs take CPU time"
    if host.threads_total is None or host.threads is None:
        return Check("CPU", "unknown", "no /proc/cpuinfo", why, "mount -t proc proc /proc")
    counts = {"sockets": host.sockets, "cores": host.cores, "logical CPUs": host.threads_total}
    found = f"{host.cpu}: " + ", ".join(f"{what} {count}" for what, count in counts.items() if count is not None)
    quota = host.cpu_quota
    if host.threads == host.threads_total and (quota is None or quota >= host.threads):
        return Check("CPU", "present", found, why)
    limit = f"; usable: {host.threads}" + ("" if quota is None else f", quota {quota:g} CPUs")
    fix = "start without taskset, docker --cpus and --cpuset-cpus, or ask the scheduler for whole nodes"
    return Check("CPU", "limited", found + limit, why, fix)


def numa(host: Host) -> Check:
    """Check that the NUMA nodes are known, and on which of them each GPU lies."""
    why = "memory on the wrong node slows copies to a GPU"
    nodes = host.numa_nodes
    if not nodes:
        return Check("NUMA nodes", "unknown", "none told", why, "use a kernel with CONFIG_NUMA and a mounted /sys")
    found = ", ".join(f"{node.node}: {len(node.cpus)} CPUs{_size(node.memory_bytes)}" for node in nodes)
    homeless = [str(gpu.index) for gpu in host.gpus if gpu.numa_node is None]
    if len(nodes) > 1 and homeless:
        fix = "virtual machine: pass the topology through; else look at nvidia-smi topo -m and set the nodes by hand"
        return Check("NUMA nodes", "limited", f"{found}; node unknown of GPU {', '.join(homeless)}", why, fix)
    return Check("NUMA nodes", "present", found, why)


def memory(host: Host) -> Check:
    """Check memory and the control group's limit."""
    why = "batches, data staged in memory and the page cache share it"
    if host.memory_bytes is None:
        return Check("memory", "unknown", "no /proc/meminfo", why, "mount -t proc proc /proc")
    found = gibibytes(host.memory_bytes)
    if host.memory_limit_bytes is None:
        return Check("memory", "present", found, why)
    limited = f"{found}, of which the control group allows {gibibytes(host.memory_limit_bytes)}"
    return Check("memory", "limited", limited, why, "raise docker --memory, or the job's request for memory")


def governor(host: Host) -> Check:
    """Check that CPUs run at full clock."""
    why = "other governors than performance change the clock while measuring"
    if host.governor == "performance":
        return Check("CPU governor", "present", "performance", why)
    fix = "cpupower frequency-set -g performance"
    if host.governor is None:
        return Check("CPU governor", "unknown", "not told (usual in virtual machines)", why, f"on the host: {fix}")
    return Check("CPU governor", "limited", host.governor, why, fix)


def driver(root: Path = ROOT) -> Check:
    """Check the NVIDIA driver and its device files."""
    why = "GPUs need it; without one, device cpu and engines onnx and null work"
    version, nodes = driver_version(root), sorted((root / "dev").glob("nvidia[0-9]*"))
    if version is None and not nodes:
        return Check("NVIDIA driver", "absent", "no /proc/driver/nvidia", why, "install NVIDIA's driver and reboot")
    if not nodes:
        fix = "in a container: docker run --gpus all (NVIDIA Container Toolkit); else: nvidia-modprobe -c 0 -u"
        return Check("NVIDIA driver", "limited", f"{version}, but no /dev/nvidia0", why, fix)
    found = f"{version or 'version not told'}, {', '.join(node.name for node in nodes)}"
    return Check("NVIDIA driver", "present", found, why)


def gpu(host: Host) -> Check:
    """Check the GPUs, and that NVML, which reports on them, answers for each."""
    why = "GPUs are what the images stream to; NVML tells throttling, power and other users"
    found = "; ".join(f"{gpu.index}: {gpu.name}{_size(gpu.memory_bytes)}" for gpu in host.gpus) or "none"
    try:
        with nvml() as library:
            for each in host.gpus:
                library.nvmlDeviceGetHandleByIndex(each.index)
    except DeviceError as error:
        has_bindings = bool(installed(["nvidia-ml-py"]))
        if host.gpus or not (no_driver(error) or not has_bindings):
            fix = (
                "let nvidia-smi answer first, which asks NVML too"
                if has_bindings
                else "pip install 'inferkit[measure]'"
            )
            return Check("GPUs", "limited", f"{found}; no NVML ({error})", why, fix)
    if not host.gpus:
        return Check("GPUs", "absent", found, why, "use device cpu, or see NVIDIA driver above")
    return Check("GPUs", "present", found, why)


def _size(nbytes: int | None) -> str:
    return "" if nbytes is None else f" {gibibytes(nbytes)}"


def locked_memory() -> Check:
    """Check RLIMIT_MEMLOCK."""
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    why = "mlock, io_uring and RDMA buffers count against it, on some systems pinned memory too"
    if soft == resource.RLIM_INFINITY:
        return Check("locked memory", "present", "unlimited", why)
    fix = "ulimit -l unlimited, or docker run --ulimit memlock=-1"
    return Check("locked memory", "limited", f"{gibibytes(soft)} at most", why, fix)


def open_files() -> Check:
    """Check RLIMIT_NOFILE."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    why = "every reader thread holds files open"
    if soft == resource.RLIM_INFINITY or soft >= OPEN_FILES:
        return Check("open files", "present", f"{soft} at most", why)
    enough = hard == resource.RLIM_INFINITY or hard >= OPEN_FILES
    fix = f"ulimit -n {OPEN_FILES}" if enough else f"docker run --ulimit nofile={OPEN_FILES}, or limits.conf"
    return Check("open files", "limited", f"{soft} at most (hard limit {hard})", why, fix)


def page_cache() -> Check:
    """Check that mincore and cachestat tell which pages of a file are in memory."""
    why = "they tell whether storage or the page cache was read"
    with tempfile.NamedTemporaryFile(prefix="inferkit-") as file:
        file.write(bytes(8192))
        file.flush()
        answers = {"mincore": resident_share([Path(file.name)]) == 1.0, "cachestat": _cachestat()}
    found = ", ".join(f"{name} {'works' if works else 'does not'}" for name, works in answers.items())
    if answers["mincore"]:
        return Check("page cache", "present", found, why)
    return Check(
        "page cache", "unknown", found, why, "allow mincore in the container: --security-opt seccomp=unconfined"
    )


def _cachestat() -> bool:
    """Tell whether the kernel knows cachestat: if so, it answers EBADF for a descriptor that does not exist."""
    syscall: Callable[..., int] = ctypes.CDLL(None, use_errno=True).syscall
    nothing = ctypes.c_void_p(None)
    failed = syscall(ctypes.c_long(_CACHESTAT), ctypes.c_int(-1), nothing, nothing, ctypes.c_uint(0))
    return failed == -1 and ctypes.get_errno() == errno.EBADF
