"""Whether a rank that prepares is still at work, and what a process that is not waits for."""

from time import monotonic

from inferkit.linux.procfs import ROOT, fields, stat, text
from inferkit.machine.contention import process_s

STILL_S = 60.0
"""A rank hangs that is not ready, while its main thread has not moved for so long and nothing was computed or told."""
LOOK_S = 0.2
"""Least time between two looks: whoever waits for ranks asks far more often."""
LEAST_CPU = 0.05
"""Share of a core that threads who prepare for the main one take at least; watching the GPUs takes less."""
_STATES = {"T": "it was stopped by a signal", "D": "it waits for a device, storage or network", "Z": "it is dead"}


class Watchdog:
    """How long a process has been still."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._seen = ("", "")
        self._cpu_s = 0.0
        self._since = self._looked = monotonic()

    def seconds(self, told: str) -> float:
        """Return seconds since the process last went on: told something else, computed, or waited for another thing.

        Slow storage makes the main thread wait often, and so move; a lock that nobody opens makes it wait once.
        """
        now = monotonic()
        still_s = now - self._since
        if now - self._looked < LOOK_S:
            return still_s
        self._looked = now
        seen, cpu_s = (told, _waits(self._pid)), process_s(self._pid)
        if seen == self._seen and cpu_s - self._cpu_s <= LEAST_CPU * max(1.0, still_s):
            return still_s
        self._seen, self._cpu_s, self._since = seen, cpu_s, now
        return 0.0


def _waits(pid: int) -> str:
    """Return how often a process's main thread has given its CPU up."""
    status = fields(text(ROOT / f"proc/{pid}/task/{pid}/status"))
    return f"{status.get('voluntary_ctxt_switches')} {status.get('nonvoluntary_ctxt_switches')}"


def state(pid: int) -> str:
    """Say what a process that does not go on waits for."""
    return _STATES.get(next(iter(stat(pid)), ""), "storage, GPU or engine hangs")
