"""Who else uses the CPUs that a run uses."""

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

from inferkit.linux.procfs import ROOT, TICKS_PER_S, command, cpu_list, fields, parent, stat, text

RANK_MODULE = b"inferkit.ranks.rank"
FORK_SERVER = b"inferkit.ranks.forkserver"
"""What a rank that it forked shows as its command, too."""
PF_KTHREAD = 0x00200000
"""Of sched.h: a thread of the kernel's own. It works for whoever reads, so it is nobody else's program."""


class Process(NamedTuple):
    """A process: its name, whether it is the kernel's own, and its CPU seconds so far."""

    name: str
    kernel: bool
    cpu_s: float


def other_ranks(cpus: Collection[int], proc: Path = ROOT / "proc") -> dict[int, list[int]]:
    """Return the measuring processes of other runs: by id, the CPUs among ``cpus`` that each may use.

    Those that this process's launcher started as well are no others.
    """
    ours = launcher(os.getpid())
    found = {}
    for folder in proc.glob("[0-9]*"):
        if launched_by(int(folder.name), proc) in {None, ours}:
            continue
        if shared := set(cpu_list(fields(text(folder / "status")).get("Cpus_allowed_list"))) & set(cpus):
            found[int(folder.name)] = sorted(shared)
    return found


def launcher(rank: int) -> int:
    """Return the process that a rank measures for: its parent, or the one whose fork server that is."""
    return launched_by(rank) or parent(rank)


def launched_by(pid: int, proc: Path = ROOT / "proc") -> int | None:
    """Return the process that a rank measures for; None of what is no rank, such as a fork server."""
    words = command(proc / str(pid))
    if RANK_MODULE in words:
        return parent(pid, proc)
    if FORK_SERVER in words and FORK_SERVER in command(proc / str(server := parent(pid, proc))):
        return parent(server, proc)
    return None


def processes(proc: Path = ROOT / "proc") -> dict[int, Process]:
    """Return all processes that are there, by id."""
    found = {}
    for folder in proc.glob("[0-9]*"):
        head, _, rest = (text(folder / "stat") or "").rpartition(")")
        if words := rest.split():
            found[int(folder.name)] = Process(head.partition("(")[2], bool(int(words[6]) & PF_KTHREAD), _cpu_s(words))
    return found


def took(before: Mapping[int, Process], after: Mapping[int, Process]) -> dict[int, Process]:
    """Return what each process that is still there computed meanwhile; those that computed nothing are left out."""
    none = Process("", kernel=False, cpu_s=0.0)
    spent = {pid: own._replace(cpu_s=own.cpu_s - before.get(pid, none).cpu_s) for pid, own in after.items()}
    return {pid: own for pid, own in spent.items() if own.cpu_s > 0}


def share_on(pid: int, cpus: Collection[int]) -> float:
    """Return the share of the CPUs a process may use that are among ``cpus``; 0 once it is gone."""
    try:
        theirs = os.sched_getaffinity(pid)
    except OSError:
        return 0.0
    return len(theirs & set(cpus)) / len(theirs)


def process_s(pid: int) -> float:
    """Return a process's CPU seconds; 0 once it is gone."""
    return _cpu_s(stat(pid))


def _cpu_s(words: list[str]) -> float:
    return (int(words[11]) + int(words[12])) / TICKS_PER_S if len(words) > 12 else 0.0
