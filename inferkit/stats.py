"""Statistics of times and rates: the interval of a mean, ratios, drift."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


_STUDENT_95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
"""Two-sided 95 % quantiles of Student's t for 1 … 10 degrees of freedom."""


LEAST_BLOCKS = 10
"""Blocks from which an interval is made, at the least (Schmeiser 1982: 10 to 30 are enough, more gain little)."""
LEAST_WINDOWS = 3
"""Windows from whose spread an interval is made, at the least: with two, Student's t is 12.7."""
MOST_PARTS = 4096
"""Equal parts into which a course is cut, at the most, before they are put together to blocks."""
MOST_LEFT = 0.9
"""Correlation of ten blocks beyond which nothing is estimated any more: the interval is 4.4 times as wide then."""


def student(degrees: int) -> float:
    """Return the two-sided 95 % quantile of Student's t; beyond the table by Cornish and Fisher, within 0.003 of it."""
    return _STUDENT_95[degrees - 1] if degrees <= len(_STUDENT_95) else 1.96 + 2.372 / degrees + 2.823 / degrees**2


class Interval(NamedTuple):
    """Half the width of the 95 % interval of a mean ÷ that mean, and the length of the blocks that gave it.

    ``block`` is a share of the whole course.
    """

    half_width: float
    block: float


def interval(rates: Floats, windows: Floats) -> Interval | None:
    """Return the 95 % interval of a mean rate: from its course inside the windows or between them, the wider.

    Parameters
    ----------
    rates
        In equal parts of the measured time, one after another.
    windows
        The mean rate of each window.

    Returns
    -------
    interval
        None where there are too few data, or nothing but zeros.

    Notes
    -----
    Batch means: the parts are put together to blocks, twice as long each time, until neighbouring block means no longer
    correlate (Fishman 1978, 10.1287/opre.26.6.1027). What correlation of neighbours is left widens the interval as that
    of a first-order autoregression does, by the root of (1 + r) ÷ (1 - r) (Priestley 1981, 5.3.2).
    """
    mean = float(rates.mean()) if len(rates) else 0.0
    if len(rates) < LEAST_BLOCKS or not mean:
        return None
    length = block_length(rates)
    inside = Interval(_half_width(block_means(rates, length)) / mean, length / len(rates))
    if len(windows) < LEAST_WINDOWS:
        return inside
    return max(inside, Interval(half_interval(windows) / mean, 1 / len(windows)))


def half_interval(values: Floats) -> float:
    """Return half the width of the 95 % interval of the mean of independent values (at least two), by Student's t."""
    return student(len(values) - 1) * float(values.std(ddof=1)) / float(np.sqrt(len(values)))


def block_means(rates: Floats, length: int) -> Floats:
    """Return the means of blocks of so many parts; a last, cut block is left out."""
    whole = len(rates) // length
    return np.asarray(rates[: whole * length].reshape(whole, length).mean(axis=1), np.float64)


def block_length(rates: Floats) -> int:
    """Return how many parts make a block whose mean does not correlate with its neighbour's (tested at 5 %)."""
    longest = len(rates) // LEAST_BLOCKS
    length = 1
    while length < longest:
        means = block_means(rates, length)
        if neighbours(means) < 1.645 / len(means) ** 0.5:
            break
        length = min(2 * length, longest)
    return length


def neighbours(values: Floats) -> float:
    """Return the correlation of neighbouring values; 0 where all are equal."""
    far = values - values.mean()
    square = float(far @ far)
    return float(far[1:] @ far[:-1]) / square if square > 0 else 0.0


def _half_width(means: Floats) -> float:
    left = min(max(0.0, neighbours(means) + 1 / len(means)), MOST_LEFT)  # estimated from n values it is 1/n too low
    return half_interval(means) * float(((1 + left) / (1 - left)) ** 0.5)


def drift(rates: Floats) -> float:
    """Return how far a rate drifted from start to end, ÷ its mean; 0 where that may be chance.

    A straight line through uncorrelated block means; it counts where its slope is twice its own 95 % interval away from
    zero, which chance alone does in fewer than one of 500 runs.
    """
    if len(rates) < LEAST_BLOCKS or not rates.any():
        return 0.0
    means = block_means(rates, block_length(rates))
    time = np.arange(len(means)) - (len(means) - 1) / 2
    slope = float(time @ means) / float(time @ time)
    degrees = len(means) - 2
    rest = means - means.mean() - slope * time
    error = (float(rest @ rest) / degrees / float(time @ time)) ** 0.5
    change = slope * len(means) / float(means.mean())
    return change if abs(slope) > 2 * student(degrees) * error else 0.0


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
    middle, half = float(logs.mean()), half_interval(logs)
    return float(np.exp(middle)), float(np.exp(middle - half)), float(np.exp(middle + half))


def repeated(values: Sequence[float], half_widths: Sequence[float | None]) -> tuple[float, float | None]:
    """Return the mean of repetitions, and half the width of its 95 % interval.

    Parameters
    ----------
    values, half_widths
        Each repetition's figure (at least one), and half its own interval in the same unit; None where unknown.

    Returns
    -------
    mean, half_width
        The wider of what the repetitions' own intervals give, and what their scatter gives by Student's t: the first
        alone would not see what changes between them, the second alone may be small by chance (Knapp and Hartung 2003,
        10.1002/sim.1482, section 2: their interval of several studies, which is never narrower than either). None where
        there is one repetition and its own is unknown.
    """
    known = [half for half in half_widths if half is not None]
    own = sum(half**2 for half in known) ** 0.5 / len(values) if len(known) == len(values) else None
    mean = float(np.mean(values))
    if len(values) == 1:
        return mean, own
    return mean, max(own or 0.0, half_interval(np.asarray(values, np.float64)))


def ratio_interval(ours: tuple[float, float], theirs: tuple[float, float]) -> tuple[float, float, float]:
    """Return the ratio of two independent figures, and its interval.

    Parameters
    ----------
    ours, theirs
        A figure (above zero) and half the width of its interval, in the same unit.

    Returns
    -------
    ratio, low, high
        Fieller's interval (1954, 10.1111/j.2517-6161.1954.tb00159.x) from the two intervals instead of standard
        errors, which keeps their level (Donner and Zou 2012, 10.1177/0962280210383415). ``low`` is 0 and ``high``
        infinite where the divisor's interval reaches zero.
    """
    ratio, own, other = ours[0] / theirs[0], ours[1] / ours[0], theirs[1] / theirs[0]
    if other >= 1:
        return ratio, 0.0, float("inf")
    root = (own**2 + other**2 - own**2 * other**2) ** 0.5
    wide = 1 - other**2
    return ratio, ratio * max(0.0, 1 - root) / wide, ratio * (1 + root) / wide


def chance(t: float, degrees: int) -> float:
    """Return how probable it is that Student's t is as far from zero as this, by its finite series.

    Abramowitz and Stegun 1964, 26.7.3 and 26.7.4.
    """
    angle = float(np.arctan(abs(t) / degrees**0.5))
    odd = degrees % 2
    term = total = float(np.cos(angle)) if odd else 1.0
    for k in range(3 if odd else 2, degrees, 2):
        term *= (k - 1) / k * float(np.cos(angle)) ** 2
        total += term
    within = float(np.sin(angle)) * total
    return 1 - (within if not odd else 2 / np.pi * (angle + within * (degrees > 1)))
