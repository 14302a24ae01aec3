"""The word about two figures follows their intervals, and what is shown never contradicts it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferkit.report.dates import NEVER
from inferkit.report.judgement import AMBIGUOUS, FASTER, SAME, SLOWER, judge, word_of_best
from inferkit.report.repetitions import Side


def side(rate: float, half: float | None) -> Side:
    return Side({}, rate, half, 1, NEVER)


@pytest.mark.parametrize(
    ("best", "other", "tolerance", "word"),
    [
        ((210, 2), (100, 1), 0.05, SLOWER),
        ((100, 1), (99, 1), 0.05, SAME),
        ((100, 0.1), (98, 0.1), 0.05, SAME),  # apart, but by less than matters
        ((100, 0.1), (98, 0.1), 0.01, SLOWER),
        ((100, 3), (97, 3), 0.05, AMBIGUOUS),
        ((110, 8), (100, 8), 0.05, AMBIGUOUS),
        ((110, None), (100, 0), 0.05, AMBIGUOUS),
        ((110, 0), (100, None), 0.05, AMBIGUOUS),
        ((110, 0), (100, 100), 0.05, AMBIGUOUS),
        ((100, 0), (100, 0), 0.0, SAME),
        ((100, 60), (1, 0.9), 0.05, AMBIGUOUS),
    ],
)
def test_words(
    best: tuple[float, float | None], other: tuple[float, float | None], tolerance: float, word: str
) -> None:
    assert judge(side(*best), side(*other), tolerance).word == word


@pytest.mark.parametrize(
    ("words", "best"),
    [((), ""), ((SLOWER, SLOWER), FASTER), ((SLOWER, SAME), SAME), ((SAME, AMBIGUOUS, SLOWER), AMBIGUOUS)],
)
def test_the_best_is_faster_only_than_all_others(words: tuple[str, ...], best: str) -> None:
    assert word_of_best(words) == best


@given(st.floats(1, 1e6), st.floats(0, 2), st.floats(1e-3, 1), st.floats(0, 2), st.floats(0, 0.5))
def test_the_shown_interval_gives_the_word(rate: float, own: float, part: float, half: float, tolerance: float) -> None:
    found = judge(side(rate, rate * own), side(rate * part, rate * part * half), tolerance)
    assert found.half is not None
    low, high = found.ratio - found.half, found.ratio + found.half
    assert (found.word == SLOWER) == (low > 1 and high > 1 + tolerance)
    assert (found.word == SAME) == (low >= 1 / (1 + tolerance) and high <= 1 + tolerance)
    assert found.text


def test_equal_storages_are_rarely_told_apart_and_others_are() -> None:
    rng = np.random.default_rng(0)

    def words(ratio: float) -> list[str]:
        pairs = 1 + rng.normal(0, 0.02, (500, 2, 4))
        sides = [[(float(x.mean()), 3.182 * float(x.std(ddof=1)) / 2) for x in pair] for pair in pairs]
        return [judge(side(a * ratio, b * ratio), side(c, d)).word for (a, b), (c, d) in sides]

    assert words(1.0).count(SLOWER) + words(1.0).count(FASTER) < 50
    assert words(1.3).count(SLOWER) > 450
