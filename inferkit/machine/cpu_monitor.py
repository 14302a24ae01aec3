"""What a process's CPUs do during a run: its own work, others' work, and what was taken from it."""

import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from math import ceil
from pathlib import Path
from time import monotonic, process_time
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from inferkit.linux.cgroups import affinity, memberships, throttle_files, throttled_s
from inferkit.linux.preload import preloaded
from inferkit.linux.procfs import cpu_times, swapped_pages, uptime_s
from inferkit.machine.contention import Process, launcher, other_ranks, process_s, processes, share_on, took
from inferkit.machine.monitor import PERIOD_S
from inferkit.machine.samples import Rows, Samples, later
from inferkit.records.figures import FOREIGN_CPU, Json, Series
from inferkit.records.place import cpu_ranges

FULL = 0.1
"""CPUs that are idle for less than this share of a moment have no room left: what others take then is taken from us."""
LONG_S = 0.5
"""Over so many seconds clocks can be compared of which one counts in hundredths."""
NAMED = 3
"""So many of the others are told by name."""


class Counts(NamedTuple):
    """What the kernel has counted until an instant (``CLOCK_MONOTONIC``): seconds, and pages swapped."""

    at: float
    work: float
    idle: float
    steal: float
    ours: float
    throttled: float
    swapped: float


def _no_counts() -> Samples:
    return Samples(len(Counts._fields), later)


class CpuMonitor:
    """Counts what this process's CPUs do, five times a second, for as long as a monitor samples it."""

    def __init__(self) -> None:
        self.cpus = sorted(affinity())
        self._lock = threading.Lock()
        self._counts = _no_counts()
        self._groups: list[Path] = []
        self._allowed = set(self.cpus)
        self._began: tuple[float, float | None] = (0.0, None)
        self._member = ""
        self._regrouped = False
        self._beside: dict[int, float] = {}
        self._beside_s: dict[int, float] = {}
        self._listed_s = 0.0
        self._processes: dict[int, Process] = {}
        self._other_runs: dict[int, list[int]] = {}

    def look(self) -> None:
        """See who is there, before the clocks start."""
        self._other_runs = other_ranks(self.cpus)

    def begin(self, beside: Sequence[int]) -> None:
        """Begin to count.

        Parameters
        ----------
        beside
            The ranks that measure together; what they and the parent compute is ours.
        """
        family = {*beside, os.getppid(), launcher(os.getpid())} - {os.getpid()}
        with self._lock:
            self._groups, self._member, self._regrouped = throttle_files(), memberships(), False
            self._beside = {pid: share for pid in family if (share := share_on(pid, self.cpus))}
            self._counts = _no_counts()
            self._counts.add(*self._now())
            self._processes = {}
            self._began = monotonic(), uptime_s()

    def sample(self) -> None:
        """Count; there is no value to show. All processes are listed once, after the clocks have started."""
        with self._lock:
            self._counts.add(*self._now())
            with suppress(OSError):  # a sandbox may hide the call
                self._allowed &= os.sched_getaffinity(os.getpid())  # of the first thread: this one may be bound alone
            self._regrouped |= memberships() != self._member
        if not self._processes:
            self._listed_s, self._processes = monotonic(), processes()

    def _now(self) -> Counts:
        for pid in self._beside:  # of one that has ended, what it had when it was last seen
            self._beside_s[pid] = max(self._beside_s.get(pid, 0.0), process_s(pid))
        ours = process_time() + sum(share * self._beside_s[pid] for pid, share in self._beside.items())
        return Counts(monotonic(), *cpu_times(self.cpus), ours, throttled_s(self._groups), swapped_pages())

    def facts(self, start_s: float, end_s: float) -> dict[str, Json]:
        """Summarise what happened between two instants (``CLOCK_MONOTONIC``); shares are of the CPUs' time."""
        self.sample()
        table = self._counts.rows()
        spent = took(self._processes, processes())
        weights = {pid: share_on(pid, self.cpus) for pid in spent}
        cpu_s = (monotonic() - self._listed_s) * len(self.cpus)
        shares = {pid: own.cpu_s * weights[pid] / cpu_s for pid, own in spent.items()}
        kernel = sum(share for pid, share in shares.items() if spent[pid].kernel)
        return {
            "on": cpu_ranges(self.cpus),
            "allowed": cpu_ranges(self._allowed),
            "regrouped": self._regrouped,
            "preloaded": preloaded(),
            "clock": clock(self._began, (monotonic(), uptime_s())),
            "seconds": end_s - start_s,
            "kernel": kernel,
            **shares_of(table, start_s, end_s, len(self.cpus), kernel),
            "others": self._others(spent, shares),
            "other_runs": sorted({*self._other_runs, *other_ranks(self.cpus)} - self._beside.keys()),
        }

    def series(self, start_s: float, end_s: float, kernel: float) -> dict[str, Series]:
        """Return what others had in each second between two instants (``CLOCK_MONOTONIC``).

        Parameters
        ----------
        kernel
            The share of our CPUs' time that the kernel's own threads had (of :meth:`facts`).
        """
        step_s = float(ceil(self._counts.each * PERIOD_S))
        whole = max(1, int((end_s - start_s) / step_s))  # in what is left over, ticks of 10 ms are all there is
        edges = np.minimum(start_s + np.arange(whole + 1) * step_s, end_s)
        others = foreign_between(self._counts.rows(), edges, len(self.cpus), kernel)
        of_all = len(self.cpus) / (os.cpu_count() or len(self.cpus))
        return {FOREIGN_CPU: Series(unit="share", step_s=step_s, values=(others * of_all).tolist())}

    def _others(self, spent: dict[int, Process], shares: dict[int, float]) -> list[Json]:
        family = {*self._beside, os.getpid(), os.getppid(), launcher(os.getpid())}
        theirs = [pid for pid in spent if not spent[pid].kernel and pid not in family]
        most = sorted(theirs, key=lambda pid: -shares[pid])[:NAMED]
        return [{"pid": pid, "name": spent[pid].name, "share": shares[pid]} for pid in most]


def clock(began: tuple[float, float | None], ended: tuple[float, float | None]) -> float | None:
    """Return the seconds of this process's clock in a second of the kernel's; None where it is not told, or too short.

    Parameters
    ----------
    began, ended
        Both clocks at two instants.
    """
    if began[1] is None or ended[1] is None or ended[1] - began[1] < LONG_S:
        return None
    return (ended[0] - began[0]) / (ended[1] - began[1])


def shares_of(table: NDArray[np.float64], start_s: float, end_s: float, cpus: int, kernel: float) -> dict[str, float]:
    """Return what became of the CPUs' time between two instants.

    Parameters
    ----------
    table
        Rows of :class:`Counts`.
    cpus, kernel
        How many CPUs; the share of their time that the kernel's own threads had.

    Returns
    -------
    dict
        Shares of the CPUs' time: ``foreign`` went to programs that are not ours, ``contended`` is the part of it in
        moments that left no CPU idle, ``idle``, ``steal``. ``throttled`` is the share of the time that our groups
        wanted and a quota withheld; ``throttled_s`` and ``swapped_pages`` are counts.
    """
    first, last = (Counts(*(np.interp(at, table[:, 0], column) for column in table.T)) for at in (start_s, end_s))
    ran = Counts(*(float(after - before) for before, after in zip(first, last, strict=True)))
    cpu_s = max(end_s - start_s, 1e-9) * cpus
    return {
        "foreign": max(0.0, (ran.work - ran.ours) / cpu_s - kernel),
        "contended": _contended(table, start_s, end_s, cpus, kernel),
        "ours": ran.ours / cpu_s,
        "idle": ran.idle / cpu_s,
        "steal": ran.steal / cpu_s,
        "throttled_s": ran.throttled,
        "throttled": ran.throttled / (ran.throttled + ran.ours) if ran.throttled else 0.0,
        "swapped_pages": ran.swapped,
    }


def foreign_between(table: NDArray[np.float64], edges: NDArray[np.float64], cpus: int, kernel: float) -> Rows:
    """Return the share of the CPUs' time that went to others between each two instants, as :func:`shares_of` does."""
    ran = Counts(*(np.diff(np.interp(edges, table[:, 0], column)) for column in table.T))
    cpu_s = np.maximum(np.diff(edges), 1e-9) * cpus
    return np.maximum(0.0, (ran.work - ran.ours) / cpu_s - kernel)


def _contended(table: NDArray[np.float64], start_s: float, end_s: float, cpus: int, kernel: float) -> float:
    """Return the share of the CPUs' time that went to others while the CPUs were full."""
    middle = (table[1:, 0] + table[:-1, 0]) / 2
    moments = np.diff(table, axis=0)[(middle >= start_s) & (middle <= end_s)].T
    if not moments.size:
        return 0.0
    seconds, work, idle, _, ours, *_ = moments
    foreign = work - ours - kernel * seconds * cpus
    full = idle < FULL * seconds * cpus
    return max(0.0, float(foreign[full].sum() / (seconds.sum() * cpus)))
