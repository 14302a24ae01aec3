"""Whether a rank that prepares is still at work, and what a process that is not waits for."""

from collections.abc import Callable
from time import monotonic
from typing import NamedTuple

from inferkit.linux.procfs import ROOT, fields, stat, text
from inferkit.machine.contention import process_s

STILL_S = 60.0
"""A rank hangs that is not ready, while its main thread has not moved for so long and nothing was computed or told."""
LOOK_S = 0.2
"""Least time between two looks: whoever waits for ranks asks far more often."""
LEAST_CPU = 0.05
"""Share of a core that threads who prepare for the main one take at least; watching the GPUs takes less."""
_STATES = {"T": "it was stopped by a signal", "D": "it waits for a device, storage or network", "Z": "it is dead"}


class Signs(NamedTuple):
    """Signs of life: how often the main thread has given its CPU up, and the CPU seconds of all threads."""

    waits: str
    cpu_s: float


def signs(pid: int) -> Signs:
    """Return a process's signs of life."""
    status = fields(text(ROOT / f"proc/{pid}/task/{pid}/status"))
    waits = f"{status.get('voluntary_ctxt_switches')} {status.get('nonvoluntary_ctxt_switches')}"
    return Signs(waits, process_s(pid))


class Watchdog:
    """How long a process has been still.

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
        self._cpu_s = 0.0
        self._since = self._looked = clock()

    def seconds(self, told: str) -> float:
        """Return seconds since the process last went on: told something else, computed, or waited for another thing.

        Slow storage makes the main thread wait often, and so move; a lock that nobody opens makes it wait once.
        """
        now = self._clock()
        still_s = now - self._since
        if now - self._looked < LOOK_S:
            return still_s
        self._looked = now
        waits, cpu_s = self._look()
        computed = cpu_s - self._cpu_s > LEAST_CPU * max(1.0, still_s)
        if (told, waits) == (self._told, self._waits) and not computed:
            return still_s
        self._told, self._waits, self._cpu_s, self._since = told, waits, cpu_s, now
        return 0.0


def state(pid: int) -> str:
    """Say what a process that does not go on waits for."""
    return _STATES.get(next(iter(stat(pid)), ""), "storage, GPU or engine hangs")
