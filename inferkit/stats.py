"""Statistics of times: quantiles, logarithmic histograms, bins over time, spread."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from inferkit.student import student_95

QUANTILES = {"p50_s": 0.5, "p90_s": 0.9, "p95_s": 0.95, "p99_s": 0.99, "p999_s": 0.999, "max_s": 1.0}

Floats = NDArray[np.float64]


def quantiles(seconds: Floats) -> dict[str, float]:
    """Return the quantiles that a record keeps, by name, of times in seconds (at least one)."""
    values = np.quantile(seconds, list(QUANTILES.values()))
    return dict(zip(QUANTILES, values.tolist(), strict=True))


def histogram(seconds: Floats, *, bins_per_decade: int = 20) -> tuple[list[float], list[int]]:
    """Count times in logarithmic bins.

    Returns
    -------
    edges, counts
        Edges in seconds (one more than counts) that enclose every value; times below 1 ns count as 1 ns.
    """
    logs = np.log10(np.maximum(seconds, 1e-9)) * bins_per_decade
    first, last = int(np.floor(logs.min())), int(np.floor(logs.max())) + 1
    counts = np.bincount(np.floor(logs).astype(np.int64) - first, minlength=last - first)
    return (10.0 ** (np.arange(first, last + 1) / bins_per_decade)).tolist(), counts.tolist()


def paired_ratio(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float, float]:
    """Compare two sides that were measured in alternation.

    Parameters
    ----------
    ours, theirs
        Figures of the same rounds, in the same order: at least two.

    Returns
    -------
    ratio, low, high
        Geometric mean of the rounds' ratios ours ÷ theirs, and its 95 % interval by Student's t: what drifts from one
        round to the next cancels within each.
    """
    logs = np.log(np.asarray(ours, np.float64)) - np.log(np.asarray(theirs, np.float64))
    middle, half = float(logs.mean()), student_95(len(logs) - 1) * float(logs.std(ddof=1)) / float(np.sqrt(len(logs)))
    return float(np.exp(middle)), float(np.exp(middle - half)), float(np.exp(middle + half))


def binned_rate(times_s: Floats, amounts: Sequence[float] | Floats, *, step_s: float = 1.0) -> list[float]:
    """Sum amounts in equal bins of time from 0 and divide by the bin: a rate; a last, cut bin is left out."""
    whole = int(times_s.max() // step_s) if len(times_s) else 0
    if not whole:
        return []
    bins = (times_s // step_s).astype(np.int64)
    sums = np.bincount(bins, weights=np.asarray(amounts, np.float64), minlength=whole)
    return [float(value) for value in sums[:whole] / step_s]
