"""Some tens of neighbouring batches whose times are kept one by one, from the middle of a run of unknown length."""

import numpy as np
from numpy.typing import NDArray

SAMPLE = 20
"""Enough batches to see whether stages overlap."""
MOST_KEPT = 64 * SAMPLE
"""While a run goes on nobody knows its middle: so many batches are kept, and that is how near to it the sample is."""

Rows = NDArray[np.int64]


class BatchSample:
    """Every batch at first; then every second :data:`SAMPLE` neighbours, every fourth, and so on.

    Parameters
    ----------
    columns
        Numbers of a batch.
    """

    def __init__(self, columns: int) -> None:
        self._rows: Rows = np.empty((0, columns), np.int64)
        self._numbers: NDArray[np.int64] = np.empty(0, np.int64)
        self._seen, self._stride = 0, 1

    def add(self, rows: Rows) -> None:
        """Look at batches, one a row; few are kept."""
        numbers = np.arange(self._seen, self._seen + len(rows))
        self._seen += len(rows)
        kept = self._chosen(numbers)
        self._numbers = np.concatenate([self._numbers, numbers[kept]])
        self._rows = np.concatenate([self._rows, rows[kept]])
        while len(self._numbers) > MOST_KEPT:
            self._stride *= 2
            kept = self._chosen(self._numbers)
            self._numbers, self._rows = self._numbers[kept], self._rows[kept]

    def _chosen(self, numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.asarray(numbers // SAMPLE % self._stride == 0)

    def middle(self, count: int) -> Rows:
        """Return neighbouring batches that are nearest to the middle of the first ``count``, in their order."""
        length = min(SAMPLE, count)
        numbers = self._numbers[self._numbers < count]
        firsts = np.flatnonzero(numbers[length - 1 :] - numbers[: len(numbers) - length + 1] == length - 1)
        first = firsts[np.abs(numbers[firsts] - (count - length) // 2).argmin()]
        return self._rows[first : first + length]
