"""For how long devices were at work: batches that one of them infers side by side count once."""

import numpy as np
from numpy.typing import NDArray


class AtWork:
    """Adds up the time in which devices had one batch or more to infer."""

    def __init__(self) -> None:
        self._until: dict[int, int] = {}
        self._ns = 0

    def add(self, devices: NDArray[np.int64], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
        """Count batches: which device inferred each, and from when to when (ns), in the order of their inference."""
        for device in np.unique(devices).tolist():
            own = devices == device
            until = np.maximum.accumulate([self._until.get(device, 0), *ends[own]])
            self._ns += int(np.maximum(0, ends[own] - np.maximum(starts[own], until[:-1])).sum())
            self._until[device] = int(until[-1])

    @property
    def mean_s(self) -> float:
        """Seconds of a device, averaged over those that were seen."""
        return self._ns / 1e9 / max(1, len(self._until))
