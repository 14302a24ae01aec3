"""Whether a rank that prepares is still at work, and what a process that is not waits for."""

from time import monotonic

from inferkit.busy import process_s
from inferkit.procfs import ROOT, text

STILL_S = 60.0
"""A rank that has neither told anything nor computed for so long, and is not ready, hangs."""
LEAST_CPU = 0.05
"""Share of a core that preparing takes at least; watching the GPUs takes less."""
_STATES = {"T": "it was stopped by a signal", "D": "it waits for a device, storage or network", "Z": "it is dead"}


class Stillness:
    """How long a process has been still."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._told = ""
        self._move(0.0)

    def _move(self, cpu_s: float) -> None:
        self._cpu_s = cpu_s
        self._since = monotonic()

    def seconds(self, told: str) -> float:
        """Return seconds since the process last computed, or told something else than ``told``."""
        cpu_s, still_s = process_s(self._pid), monotonic() - self._since
        if told != self._told or cpu_s - self._cpu_s > LEAST_CPU * max(1.0, still_s):
            self._told = told
            self._move(cpu_s)
            return 0.0
        return still_s


def state(pid: int) -> str:
    """Say what a process that does not go on waits for."""
    letter = ((text(ROOT / f"proc/{pid}/stat") or "").rpartition(")")[2].split() or [""])[0]
    return _STATES.get(letter, "storage, GPU or engine hangs")
