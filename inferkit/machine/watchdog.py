"""Whether a rank that prepares is still at work, and what a process that is not waits for."""

from collections.abc import Callable
from time import monotonic
from typing import NamedTuple

from inferkit.linux.procfs import ROOT, fields, stat, states, text
from inferkit.machine.contention import process_s

STILL_S = 60.0
"""A rank hangs that is not ready, while its main thread has not moved for so long and nothing was computed or told."""
LOOK_S = 0.2
"""Least time between two looks: whoever waits for ranks asks far more often."""
LEAST_CPU = 0.05
"""Share of a core that threads who prepare for the main one take at least; watching the GPUs takes less."""
PATIENCE = 10
"""A process that gets no CPU is given so many times as long: what others take is no sign that its storage hangs."""
_STATES = {"T": "it was stopped by a signal", "D": "it waits for a device, storage or network", "Z": "it is dead"}


class Signs(NamedTuple):
    """Signs of life.

    Parameters
    ----------
    waits
        How often the main thread has given its CPU up.
    cpu_s
        CPU seconds of all threads.
    ready
        Whether a thread could go on if it had a CPU, or has one.
    """

    waits: str
    cpu_s: float
    ready: bool = False


def signs(pid: int) -> Signs:
    """Return a process's signs of life."""
    status = fields(text(ROOT / f"proc/{pid}/task/{pid}/status"))
    waits = f"{status.get('voluntary_ctxt_switches')} {status.get('nonvoluntary_ctxt_switches')}"
    return Signs(waits, process_s(pid), "R" in states(pid))


class Hunger:
    """Looks at a process of which only what it tells is a sign of life, such as one that measures.

    Parameters
    ----------
    look, clock
        As of :class:`Watchdog`.
    """

    def __init__(self, look: Callable[[], Signs], clock: Callable[[], float] = monotonic) -> None:
        self._look = look
        self._clock = clock
        self._cpu_s, self._looked = look().cpu_s, clock()

    def __call__(self) -> Signs:
        """Return signs that never change, and whether it could go on and got no CPU: one may wait in a circle."""
        seen, now = self._look(), self._clock()
        computed = seen.cpu_s - self._cpu_s > LEAST_CPU * (now - self._looked)
        self._cpu_s, self._looked = seen.cpu_s, now
        return Signs("", 0.0, seen.ready and not computed)


class Watchdog:
    """How long a process has been still, though it had a CPU if it wanted one.

    Parameters
    ----------
    look
        Returns the process's signs of life.
    clock
        Seconds that only go forward.
    """

    def __init__(self, look: Callable[[], Signs], clock: Callable[[], float] = monotonic) -> None:
        self._look = look
        self._clock = clock
        self._told = self._waits = ""
        self._cpu_s = self._starved_s = 0.0
        self._since = self._looked = clock()

    def seconds(self, told: str) -> float:
        """Return seconds since the process last went on: told something else, computed, or waited for another thing.

        Slow storage makes the main thread wait often, and so move; a lock that nobody opens makes it wait once. Time
        in which it could have gone on and others had the CPUs does not count, up to all but one part of
        :data:`PATIENCE`.
        """
        now = self._clock()
        passed_s, unseen_s = now - self._since, now - self._looked
        if unseen_s >= LOOK_S:
            self._looked = now
            waits, cpu_s, ready = self._look()
            computed = cpu_s - self._cpu_s > LEAST_CPU * max(1.0, passed_s)
            if (told, waits) != (self._told, self._waits) or computed:
                self._told, self._waits, self._cpu_s = told, waits, cpu_s
                self._since, self._starved_s = now, 0.0
                return 0.0
            self._starved_s += unseen_s if ready else 0.0
        return max(passed_s - self._starved_s, passed_s / PATIENCE)

    def starved(self) -> str:
        """Say that a process is still for want of a CPU; empty if it had one for most of the time."""
        passed_s = self._looked - self._since
        if self._starved_s <= passed_s / 2:
            return ""
        return (
            f"in {self._starved_s:.0f} of {passed_s:.0f} s it could have gone on and got no CPU: end other programs, "
            "raise its priority (nice, cpu.weight) or its limit (cpu.max); the storage may be sound"
        )


def state(pid: int) -> str:
    """Say what a process that does not go on waits for."""
    return _STATES.get(next(iter(stat(pid)), ""), "storage, GPU or engine hangs")
