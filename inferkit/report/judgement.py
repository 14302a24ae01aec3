"""Which of two storages is faster, as far as the intervals of their figures tell.

All words are about the ratio *best ÷ other* of two figures and its 95 % interval
(:func:`inferkit.stats.ratio_interval`, which names its source); where it is not symmetric the wider side is taken for
both, so that a word and the ``±`` beside it never contradict each other.

SAME
    The interval lies within the tolerance: between 1 ÷ 1.05 and 1.05, unless another is asked for. It takes many or
    steady runs to say so; that no difference was found is not enough (the two one-sided tests of Schuirmann 1987,
    10.1007/BF01068419, of which an interval of 95 % is the stricter form).
FASTER, SLOWER
    The interval excludes 1, and does not lie within the tolerance.
AMBIGUOUS
    Neither: the runs do not tell, or an interval is unknown.

Each word holds at 95 % by itself; of twenty pairs that are equal, one may be told apart by chance. The best of many
points is taken on each side, which flatters both.
"""

from collections.abc import Collection
from typing import NamedTuple

from inferkit.report.labels import plus_minus
from inferkit.report.repetitions import Side
from inferkit.stats import ratio_interval

SAME, FASTER, SLOWER, AMBIGUOUS = "SAME", "FASTER", "SLOWER", "AMBIGUOUS"
TOLERANCE = 0.05
"""Ratios up to so much above 1 make no difference: MLPerf Storage lets a system's runs differ by 5 %."""
TIMES = 1.5
"""Ratios from here on are worded as times, below as percent."""


class Judgement(NamedTuple):
    """A word about one side, and the ratio best ÷ other with half its interval; None where that is unknown."""

    word: str
    ratio: float
    half: float | None

    @property
    def text(self) -> str:
        """How far the other is behind: ``2.1 ± 0.1 times``, ``8.0 ± 2.0 %``."""
        scale, shift, unit = (1.0, 0.0, "times") if self.ratio >= TIMES else (100.0, 1.0, "%")
        value = (self.ratio - shift) * scale
        if self.half is None or self.half == float("inf"):
            return f"{value:.2g} {unit}, interval unknown"
        return f"{plus_minus(value, self.half * scale)} {unit}"


def judge(best: Side, other: Side, tolerance: float = TOLERANCE) -> Judgement:
    """Judge a side against the best one, both of which have figures; the word is about ``other``."""
    ours, theirs = best.rate or 0.0, other.rate or 0.0
    if best.half is None or other.half is None:
        return Judgement(AMBIGUOUS, ours / theirs, None)
    ratio, low, high = ratio_interval((ours, best.half), (theirs, other.half))
    half = max(ratio - low, high - ratio)
    return Judgement(_word(ratio - half, ratio + half, tolerance), ratio, half)


def _word(low: float, high: float, tolerance: float) -> str:
    if low >= 1 / (1 + tolerance) and high <= 1 + tolerance:
        return SAME
    if low > 1:
        return SLOWER
    return FASTER if high < 1 else AMBIGUOUS


def word_of_best(others: Collection[str]) -> str:
    """Return the word about the best side: it is FASTER only than others that are all SLOWER; empty if there are none.

    Parameters
    ----------
    others
        The words about all other sides.
    """
    for word in (AMBIGUOUS, SAME):
        if word in others:
            return word
    return FASTER if others else ""
