"""Small files of /proc and /sys, and the formats that they share. Anything absent is None, never a guess."""

import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from inferkit.records.bounds import CPUS

ROOT = Path("/")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def text(path: Path) -> str | None:
    """Return a small file's content without surrounding white space; None if it is absent or may not be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def integer(path: Path) -> int | None:
    """Return the whole number that a file holds; None if the file is absent or holds something else."""
    try:
        return int(text(path) or "")
    except ValueError:
        return None


def fields(content: str | None) -> dict[str, str]:
    """Read lines of ``key : value``; the last value of a repeated key counts."""
    pairs = (line.split(":", 1) for line in (content or "").splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def numa_nodes(root: Path = ROOT) -> dict[int, Path]:
    """Return the folder of each NUMA node, by its number; empty where the kernel knows none."""
    folders = {int(folder.name[4:]): folder for folder in (root / "sys/devices/system/node").glob("node[0-9]*")}
    return dict(sorted(folders.items()))


def kibibytes(value: str | None) -> int | None:
    """Return bytes of a value such as ``24684092 kB`` (the kernel's kB is 1024 bytes); None if it is no such value."""
    number = (value or "").removesuffix("kB").strip()
    return int(number) * 1024 if number.isdigit() else None


def command(process: Path) -> list[bytes]:
    """Return the command line of a process, by its folder in /proc; empty if it is gone or hidden from us."""
    try:
        return (process / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def parent(pid: int, proc: Path = ROOT / "proc") -> int:
    """Return the process that started a process, or took it over; 0 once it is gone."""
    return int(fields(text(proc / str(pid) / "status")).get("PPid", 0))


def stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat after the name, beginning with the state; empty once the process is gone."""
    return (text(ROOT / f"proc/{pid}/stat") or "").rpartition(")")[2].split()


def states(pid: int) -> set[str]:
    """Return the states of a process's threads (proc_pid_stat(5)): R of one that has a CPU or waits for one."""
    tasks = (ROOT / f"proc/{pid}/task").glob("*/stat")
    return {(text(task) or "").rpartition(")")[2].strip()[:1] for task in tasks}


def cpu_ticks(file: Path = ROOT / "proc/stat") -> dict[str, tuple[int, int]]:
    """Return the ticks since boot, busy and total, of ``cpu0``, ``cpu1`` … and of all as ``cpu`` (proc_stat(5)).

    A CPU that is idle or waits for disks is not busy.
    """
    rows = (line.split() for line in (text(file) or "").splitlines() if line.startswith("cpu"))
    ticks = {name: [int(number) for number in numbers[:8]] for name, *numbers in rows}
    return {name: (sum(own) - own[3] - own[4], sum(own)) for name, own in ticks.items()}


class CpuTimes(NamedTuple):
    """Seconds of some CPUs since boot: at work for processes, idle or waiting for disks, taken by the hypervisor.

    Interrupts are none of these: they serve whoever reads or receives.
    """

    work: float
    idle: float
    steal: float


def cpu_times(cpus: Collection[int], file: Path = ROOT / "proc/stat") -> CpuTimes:
    """Return what the kernel has counted of some CPUs (proc_stat(5))."""
    wanted = {f"cpu{cpu}" for cpu in cpus}
    rows = (line.split() for line in (text(file) or "").splitlines() if line.startswith("cpu"))
    ticks = [[int(number) for number in numbers[:8]] for name, *numbers in rows if name in wanted]
    sums = [sum(own) / TICKS_PER_S for own in zip(*ticks, strict=True)]
    return CpuTimes(sum(sums[:3]), sum(sums[3:5]), sum(sums[7:]))


def uptime_s(file: Path = ROOT / "proc/uptime") -> float | None:
    """Return the kernel's seconds since boot, in hundredths, asked of no clock of this process's; None if not told."""
    words = (text(file) or "").split()
    return float(words[0]) if words else None


def swapped_pages(file: Path = ROOT / "proc/vmstat") -> int:
    """Return how many pages went to swap and came back since boot, of all processes (a machine without swap: 0)."""
    rows = (line.split() for line in (text(file) or "").splitlines() if line.startswith("pswp"))
    return sum(int(number) for _, number in rows)


def cpu_list(content: str | None) -> list[int]:
    """Read a list of CPUs or nodes as the kernel writes it: ``0-3,8,10-11``.

    Raises
    ------
    ValueError
        If it is none, or a number is beyond what a machine can have: people write such lists too.
    """
    ranges = [[int(end) for end in part.split("-")] for part in (content or "").split(",") if part]
    if over := [end for ends in ranges for end in ends if not 0 <= end < CPUS]:
        message = f"{over[0]} is no number from 0 to {CPUS - 1}"
        raise ValueError(message)
    return [number for ends in ranges for number in range(ends[0], ends[-1] + 1)]


def decode_octal(field: str) -> str:
    r"""Decode the kernel's octal escapes of blank, tab, newline and backslash: ``\040`` is a blank."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)
