"""What the kernel lets this process use of the machine: CPUs (affinity), CPU time and memory (control groups).

A container on a 128-core server may have 4 CPUs' worth of time and 16 GiB; figures depend on these, not on the server.
Control groups exist in two versions with different file names; a host may run both. A group's limit holds for all
groups inside it, so the lowest one on the way up counts.
"""

import math
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from inferkit.linux.procfs import ROOT, cpu_list, fields, integer, kibibytes, text

_READS = {
    **dict.fromkeys(("blkio.throttle.read_bps_device", "rbps"), "bytes_per_s"),
    **dict.fromkeys(("blkio.throttle.read_iops_device", "riops"), "reads_per_s"),
}


def affinity(root: Path = ROOT) -> set[int]:
    """Return the logical CPUs that the scheduler may use for the calling thread, or for a recorded tree's process."""
    if root == ROOT:
        with suppress(OSError):  # a sandbox may hide the call; /proc tells the same
            return os.sched_getaffinity(0)
    return set(cpu_list(fields(text(root / "proc/self/status")).get("Cpus_allowed_list")))


def memory_nodes(root: Path = ROOT) -> set[int]:
    """Return the NUMA nodes whose memory this process may use: nodes that have memory and that its cpuset allows."""
    allowed = cpu_list(fields(text(root / "proc/self/status")).get("Mems_allowed_list"))
    folders = {node: root / f"sys/devices/system/node/node{node}/meminfo" for node in allowed}
    return {node for node, file in folders.items() if _has_memory(text(file))}


def _has_memory(meminfo: str | None) -> bool:
    found = re.search(r"MemTotal:\s+(\d+)", meminfo or "")
    return found is not None and int(found[1]) > 0


def cpu_quota(root: Path = ROOT) -> float | None:
    """Return how many CPUs' worth of time the control groups allow; None if they set no quota."""
    quotas = [quota for group in _groups("cpu", root) if (quota := _quota(group)) is not None]
    return min(quotas, default=None)


def memberships(root: Path = ROOT) -> str:
    """Return in which control groups this process is, in the kernel's words."""
    return text(root / "proc/self/cgroup") or ""


def throttle_files(root: Path = ROOT) -> list[Path]:
    """Return the files in which this process's groups count what quotas withheld."""
    files = {(group / "cpu.stat").resolve() for group in _groups("cpu", root)}
    return sorted(file for file in files if "throttled_" in (text(file) or ""))


def throttled_s(files: Iterable[Path]) -> float:
    """Return for how long quotas have held back what is in the groups of these files: seconds of all their CPUs.

    Version 2 counts microseconds, version 1 nanoseconds.
    """
    units = {"throttled_usec": 1e-6, "throttled_time": 1e-9}
    rows = (row.split() for file in files for row in (text(file) or "").splitlines())
    return sum(int(value) * units.get(name, 0.0) for name, value in rows)


def io_limits(root: Path = ROOT) -> list[str]:
    """Return the limits of reads and writes that the control groups set, in the kernel's words; none where none is."""
    names = [f"blkio.throttle.{way}_{unit}_device" for way in ("read", "write") for unit in ("bps", "iops")]
    files = {(group / name).resolve() for group in _groups("blkio", root) for name in (*names, "io.max")}
    return sorted(f"{file.name} {line}" for file in files for line in (text(file) or "").splitlines())


def read_limits(root: Path = ROOT) -> dict[str, dict[str, int]]:
    """Return the lowest ``bytes_per_s`` and ``reads_per_s`` to which groups limit each block device, by its number.

    Version 1 has a file for each, version 2 has lines such as ``8:0 rbps=1048576 wbps=max riops=max wiops=max``.
    """
    found: dict[str, dict[str, int]] = {}
    for line in io_limits(root):
        file, number, *told = line.split()
        for name, _, value in (item.rpartition("=") for item in told):
            if (unit := _READS.get(name or file)) and value.isdigit():
                own = found.setdefault(number, {})
                own[unit] = min(int(value), own.get(unit, int(value)))
    return found


def memory_limit(root: Path = ROOT) -> int | None:
    """Return the control groups' lowest memory limit in bytes; None if they set none.

    Notes
    -----
    Version 1 writes "no limit" as the largest multiple of the page size below 2**63, which is more than any memory:
    compare with the machine's memory.
    """
    files = (group / name for group in _groups("memory", root) for name in ("memory.max", "memory.limit_in_bytes"))
    return min((limit for file in files if (limit := integer(file)) is not None), default=None)


def group_memory_left(root: Path = ROOT) -> int | None:
    """Return the bytes that may still be taken before a control group's limit; None if they set none.

    What is cached of files can be dropped, and counts as free; what lies in tmpfs cannot.
    """
    return min((left for group in _groups("memory", root) if (left := _left(group)) is not None), default=None)


def _left(group: Path) -> int | None:
    """Return what a group's limit leaves: version 2 counts ``file``, version 1 ``total_cache``, both with tmpfs."""
    for limit_name, used_name, cached, shared in (
        ("memory.max", "memory.current", "file", "shmem"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_cache", "total_shmem"),
    ):
        limit, used = integer(group / limit_name), integer(group / used_name)
        if limit is not None and used is not None:
            told = dict(line.split(" ", 1) for line in (text(group / "memory.stat") or "").splitlines() if " " in line)
            return limit - used + max(0, int(told.get(cached, 0)) - int(told.get(shared, 0)))
    return None


def memory_left(root: Path = ROOT) -> int | None:
    """Return the bytes that may still be taken of the machine's memory and swap, and of the groups' limits.

    None where neither is told.
    """
    told = fields(text(root / "proc/meminfo"))
    available, swap = (kibibytes(told.get(name)) for name in ("MemAvailable", "SwapFree"))
    machine = None if available is None else available + (swap or 0)
    return min((left for left in (machine, group_memory_left(root)) if left is not None), default=None)


def cpus() -> int:
    """Return how many CPUs this process may use: its affinity, or its control group's quota (rounded up) if lower."""
    quota = cpu_quota()
    allowed = len(affinity())
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota)))


def _groups(controller: str, root: Path) -> Iterator[Path]:
    """Yield the folders of this process's groups under ``controller``, the innermost first.

    In a container the path in /proc/self/cgroup may be the host's while /sys/fs/cgroup shows the container's group
    as the top; then only the top exists, and it is the right one.
    """
    mounts = root / "sys/fs/cgroup"
    for line in memberships(root).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        tops = [mounts / controller, mounts / controllers] if controllers else [mounts, mounts / "unified"]
        inside = [part for part in path.split("/") if part and part != ".."]
        for top in tops:
            yield from (top.joinpath(*inside[:depth]) for depth in range(len(inside), -1, -1))


def _quota(group: Path) -> float | None:
    """Return a group's quota in CPUs: version 2 ``cpu.max`` is "quota period", version 1 has a file for each."""
    unified = text(group / "cpu.max")
    files = unified.split() if unified else [text(group / "cpu.cfs_quota_us"), text(group / "cpu.cfs_period_us")]
    match files:
        case [str(quota), str(period)] if quota not in ("max", "-1"):
            return int(quota) / int(period)
        case _:
            return None
