"""Who else uses the CPUs and GPUs that a run is going to use."""

import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from time import monotonic

from inferkit.linux.procfs import ROOT, command, cpu_list, cpu_ticks, fields, stat, text
from inferkit.machine.gpu_processes import users
from inferkit.records.place import Place, cpu_ranges

RANK_MODULE = b"inferkit.ranks.rank"
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
FOREIGN = 0.1
"""Share of the CPUs' time that others may take before the record mentions it."""


def other_ranks(cpus: Collection[int], proc: Path = ROOT / "proc") -> dict[int, list[int]]:
    """Return the measuring processes of other runs: by id, the CPUs among ``cpus`` that each may use."""
    found = {}
    for pid in _foreign_pids(proc):
        if RANK_MODULE not in command(proc / pid):
            continue
        theirs = cpu_list(fields(text(proc / pid / "status")).get("Cpus_allowed_list"))
        if shared := sorted(set(theirs) & set(cpus)):
            found[int(pid)] = shared
    return found


def _foreign_pids(proc: Path) -> Iterator[str]:
    """Yield the processes that this one did not start."""
    for folder in proc.glob("[0-9]*"):
        parent = fields(text(folder / "status")).get("PPid", "")
        if parent != str(os.getpid()):
            yield folder.name


def already_there(places: Sequence[Place]) -> tuple[list[str], list[str]]:
    """Look for others on the places before the ranks start.

    Returns
    -------
    reasons, warnings
        A GPU in use makes the figure INVALID; another run on the same cores is a warning.
    """
    cpus = {cpu for place in places for cpu in place.cpus}
    gpus = sorted({gpu for place in places for gpu in place.gpus})
    reasons = [
        f"GPU {gpu} was in use by process {', '.join(map(str, pids))} before the ranks started: end it, or take another"
        for gpu, pids in users(gpus).items()
        if pids
    ]
    warnings = [
        f"another run of inferkit (process {pid}) was measuring on CPUs {cpu_ranges(shared)} already"
        for pid, shared in other_ranks(cpus).items()
    ]
    return reasons, warnings


class CoreWatch:
    """How much of some CPUs' time went to processes that are not ours.

    Parameters
    ----------
    cpus
        The CPUs that ours are bound to.
    pids
        Our processes.
    """

    def __init__(self, cpus: Collection[int], pids: Sequence[int]) -> None:
        self._cpus = sorted(set(cpus))
        self._pids = list(pids)
        self._first = self._last = self._sample()

    def _sample(self) -> tuple[float, float, float]:
        return monotonic(), _busy_s(self._cpus), sum(map(process_s, self._pids))

    def begin(self) -> None:
        """Start counting."""
        self._first = self._sample()

    def end(self) -> None:
        """Stop counting; our processes must still be there."""
        self._last = self._sample()

    @property
    def foreign(self) -> float | None:
        """Share of the CPUs' time that went to others; None if nothing was counted."""
        (t0, busy0, ours0), (t1, busy1, ours1) = self._first, self._last
        if t1 <= t0 or not self._cpus:
            return None
        return max(0.0, (busy1 - busy0) - (ours1 - ours0)) / ((t1 - t0) * len(self._cpus))


def _busy_s(cpus: Sequence[int]) -> float:
    """Return the seconds that some CPUs have been at work since boot."""
    ticks = cpu_ticks()
    return sum(ticks.get(f"cpu{cpu}", (0, 0))[0] for cpu in cpus) / TICKS_PER_S


def process_s(pid: int) -> float:
    """Return a process's CPU seconds; 0 once it is gone."""
    words = stat(pid)
    return (int(words[11]) + int(words[12])) / TICKS_PER_S if len(words) > 12 else 0.0
