"""How long things took, in memory that does not grow with their number: counts in buckets of nearly equal ratio."""

import numpy as np
from numpy.typing import NDArray

from inferkit.records.figures import Histogram, Quantiles
from inferkit.stats import Floats

Nanoseconds = NDArray[np.int64]

QUANTILES = {"p50_s": 0.5, "p90_s": 0.9, "p95_s": 0.95, "p99_s": 0.99, "p999_s": 0.999, "max_s": 1.0}
PER_DOUBLING = 7
"""A doubling of time holds 2⁷ buckets (HdrHistogram's idea, hdrhistogram.org): what shares one differs by 0.8 %."""
DOUBLINGS = 48
"""From 1 ns to 78 hours; what is longer counts in the last bucket."""
BUCKETS = (DOUBLINGS << PER_DOUBLING) + 1
BINS_PER_DECADE = 10
"""Bins of the histogram in a record."""


class Durations:
    """Times in nanoseconds: their sum, the longest, quantiles, and a histogram.

    A quantile differs from the exact one (as numpy interpolates it) by less than 1/128 of it; where all times in its
    bucket are equal, not at all.
    """

    def __init__(self) -> None:
        self._counts = np.zeros(BUCKETS, np.int64)
        self._sums = np.zeros(BUCKETS)
        self.longest_s = 0.0

    def add(self, times: Nanoseconds) -> None:
        """Count times; they are not kept."""
        if not len(times):
            return
        own = _buckets(times)
        self._counts += np.bincount(own, minlength=BUCKETS)
        self._sums += np.bincount(own, times, BUCKETS)
        self.longest_s = max(self.longest_s, int(times.max()) / 1e9)

    def take(self, other: "Durations") -> None:
        """Move what another counted to this one."""
        self._counts += other._counts
        self._sums += other._sums
        self.longest_s = max(self.longest_s, other.longest_s)
        other.clear()

    def clear(self) -> None:
        """Forget all times."""
        self._counts[:] = 0
        self._sums[:] = 0
        self.longest_s = 0.0

    def __len__(self) -> int:
        return int(self._counts.sum())

    @property
    def seconds(self) -> float:
        """The sum of all times."""
        return float(self._sums.sum()) / 1e9

    def above(self, seconds: float) -> float:
        """Return the sum of the times that are longer than this; a bucket counts as a whole, by its mean."""
        means, sums = self._means(), self._sums[self._counts > 0]
        return float(sums[means > seconds].sum()) / 1e9

    def _means(self) -> Floats:
        """Return the mean of each bucket that holds anything, in seconds."""
        there = self._counts > 0
        return np.asarray(self._sums[there] / self._counts[there] / 1e9, np.float64)

    def at(self, shares: Floats) -> Floats:
        """Return the quantiles at some shares (0 … 1), straight lines between neighbours; there must be a time."""
        means, upto = self._means(), np.cumsum(self._counts[self._counts > 0])
        ranks = shares * (upto[-1] - 1)
        low, high = (means[np.searchsorted(upto, rank, "right")] for rank in (np.floor(ranks), np.ceil(ranks)))
        return np.asarray(low + (high - low) * (ranks % 1), np.float64)

    def usual_s(self) -> float:
        """Return the time that, with those that are shorter, fills half of the sum; 0 where there is none."""
        passed = np.cumsum(self._sums[self._counts > 0])
        return float(self._means()[np.searchsorted(passed, passed[-1] / 2)]) if len(passed) else 0.0

    def quantiles(self) -> Quantiles:
        """Return the quantiles that a record keeps; there must be a time."""
        values = self.at(np.array(list(QUANTILES.values()))).tolist()
        return Quantiles(**dict(zip(QUANTILES, values, strict=True)) | {"max_s": self.longest_s})

    def histogram(self) -> Histogram:
        """Return counts in logarithmic bins whose edges are on one grid; there must be a time.

        A bucket counts where it begins, and times below 1 ns count as 1 ns.
        """
        there = np.flatnonzero(self._counts)
        tenths = np.floor(np.log10(np.maximum(_begins(there), 1.0)) * BINS_PER_DECADE + 1e-9).astype(np.int64)
        first, last = int(tenths[0]), int(tenths[-1]) + 1
        counts = np.zeros(last - first, np.int64)
        np.add.at(counts, tenths - first, self._counts[there])
        edges = 10.0 ** (np.arange(first, last + 1) / BINS_PER_DECADE - 9)
        return Histogram(edges_s=edges.tolist(), counts=counts.tolist())


_UNUSED_BITS = 52 - PER_DOUBLING
_ONE = (1023 << PER_DOUBLING) - 1
"""A double is 52 bits of fraction behind an exponent whose 0 is written 1023 (IEEE 754): the upper bits of a time are
the number of its bucket, 1 for 1 ns, and 0 for what took no time."""


def _buckets(times: Nanoseconds) -> Nanoseconds:
    upper = np.maximum(times, 0).astype(np.float64).view(np.int64) >> _UNUSED_BITS
    return np.asarray(np.minimum(np.maximum(upper - _ONE, 0), BUCKETS - 1), np.int64)


def _begins(buckets: NDArray[np.int64]) -> Floats:
    """Return the shortest time of each bucket in nanoseconds."""
    return np.where(buckets > 0, ((buckets + _ONE) << _UNUSED_BITS).view(np.float64), 0.0)
