from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferkit.stats import (
    LEAST_BLOCKS,
    Floats,
    block_length,
    block_means,
    chance,
    drift,
    half_interval,
    interval,
    paired_ratio,
    ratio_interval,
    repeated,
    student,
)


def test_paired_ratio_cancels_what_drifts_from_round_to_round() -> None:
    theirs = [1.0, 2.0, 4.0, 3.0]
    ratio, low, high = paired_ratio([0.9 * value for value in theirs], theirs)
    assert (ratio, low, high) == pytest.approx((0.9, 0.9, 0.9))


def test_paired_ratio_is_unsure_by_students_t() -> None:
    # Logarithms ± 0.1: mean 0, standard deviation 0.1 * sqrt(2), 1 degree of freedom.
    ratio, low, high = paired_ratio([np.exp(0.1), np.exp(-0.1)], [1.0, 1.0])
    assert ratio == pytest.approx(1.0)
    assert np.log(high) == pytest.approx(12.706 * 0.1)
    assert np.log(low) == pytest.approx(-12.706 * 0.1)


def test_the_interval_of_few_values_is_by_students_t() -> None:
    # Mean 2, standard deviation 1, 2 degrees of freedom.
    assert half_interval(np.array([1.0, 2.0, 3.0])) == pytest.approx(4.303 / 3**0.5)
    assert half_interval(np.full(3, 5.0)) == 0.0


def test_paired_ratio_of_many_rounds() -> None:
    rounds = [1.01, 0.99] * 20
    _, low, high = paired_ratio(rounds, [1.0] * 40)
    assert 0.995 < low < 1.0 < high < 1.005


NO_WINDOWS = np.array([])
courses = st.lists(st.floats(0.1, 1e6), min_size=LEAST_BLOCKS, max_size=200).map(np.array)


def autoregressive(random: np.random.Generator, phi: float, count: int = 2000) -> Floats:
    """Return a rate of mean 100 and standard deviation 5, each value ``phi`` times the one before plus chance."""
    noise = random.normal(size=count) * (1 - phi**2) ** 0.5
    values = np.empty(count)
    last = random.normal()
    for k in range(count):
        values[k] = last = phi * last + noise[k]
    return np.asarray(100 + 5 * values, np.float64)


def disturbed(random: np.random.Generator, parts: float, count: int = 2000) -> Floats:
    """Return a rate of 100 or 70, by turns of chance length (``parts`` on average): a mean of 85."""
    turns = random.exponential(parts, size=2 * count).cumsum()
    return np.where((np.searchsorted(turns, np.arange(count)) + random.integers(2)) % 2, 100.0, 70.0)


@pytest.mark.parametrize(("degrees", "value"), [(1, 12.706), (10, 2.228), (11, 2.201), (20, 2.086), (120, 1.980)])
def test_students_t(degrees: int, value: float) -> None:
    assert student(degrees) == pytest.approx(value, abs=0.003)


@pytest.mark.parametrize(
    ("make", "mean"),
    [
        (lambda random: autoregressive(random, 0.0), 100),
        (lambda random: autoregressive(random, 0.5), 100),
        (lambda random: autoregressive(random, 0.95), 100),
        (lambda random: disturbed(random, 20), 85),
        (lambda random: disturbed(random, 60), 85),
    ],
    ids=["white", "AR(1) 0.5", "AR(1) 0.95", "square wave", "slow square wave"],
)
def test_the_interval_covers_the_long_run_mean(make: Callable[[np.random.Generator], Floats], mean: float) -> None:
    random = np.random.default_rng(3)
    covered = []
    for _ in range(200):
        rates = make(random)
        found = interval(rates, block_means(rates, len(rates) // 3))
        assert found is not None
        covered.append(abs(rates.mean() - mean) <= found.half_width * rates.mean())
    assert 0.9 <= np.mean(covered) <= 0.995


def test_the_interval_is_no_wider_than_it_must_be() -> None:
    random = np.random.default_rng(4)
    for phi in (0.0, 0.8):
        true = 1.96 * 0.05 / 2000**0.5 * ((1 + phi) / (1 - phi)) ** 0.5
        found = [interval(autoregressive(random, phi), NO_WINDOWS) for _ in range(50)]
        assert 0.9 * true < np.mean([each.half_width for each in found if each]) < 1.3 * true


def test_blocks_grow_until_neighbours_do_not_correlate() -> None:
    random = np.random.default_rng(5)
    assert block_length(random.normal(size=2000)) <= 2
    assert block_length(autoregressive(random, 0.95)) >= 16
    assert block_length(np.arange(2000.0)) == 200


def test_windows_that_lie_apart_make_the_interval() -> None:
    rates = np.concatenate([np.full(100, 90.0), np.full(100, 100.0), np.full(100, 110.0)])
    rates += np.random.default_rng(6).normal(size=300)
    found = interval(rates, np.array([90.0, 100.0, 110.0]))
    assert found == pytest.approx((student(2) * 10 / 3**0.5 / 100, 1 / 3), rel=0.01)
    alone = interval(rates, np.array([90.0, 110.0]))
    assert alone is not None
    assert alone.block <= 0.1


def test_too_few_data_have_no_interval() -> None:
    assert interval(np.ones(LEAST_BLOCKS - 1), np.ones(3)) is None
    assert interval(np.zeros(100), np.zeros(3)) is None
    assert interval(np.ones(LEAST_BLOCKS), np.ones(3)) == (0.0, 1 / 3)


@given(courses, st.floats(1e-3, 1e3))
def test_the_interval_is_relative(rates: Floats, factor: float) -> None:
    own, scaled = interval(rates, NO_WINDOWS), interval(factor * rates, NO_WINDOWS)
    assert own is not None
    assert scaled is not None
    assert own.half_width >= 0
    assert 0 < own.block <= 1 / LEAST_BLOCKS
    assert scaled.half_width == pytest.approx(own.half_width, rel=1e-3, abs=1e-6)


def test_drift_is_told_from_chance() -> None:
    random = np.random.default_rng(7)
    assert drift(100 + np.arange(1000.0) / 100 + random.normal(size=1000)) == pytest.approx(0.095, abs=0.01)
    assert drift(100 - np.arange(1000.0) / 100 + random.normal(size=1000)) == pytest.approx(-0.105, abs=0.01)
    assert not any(drift(autoregressive(random, phi)) for phi in (0.0, 0.5, 0.9) for _ in range(30))
    assert drift(np.zeros(100)) == drift(np.ones(3)) == drift(np.ones(100)) == 0


def test_repetitions_have_the_wider_of_their_own_interval_and_their_scatter() -> None:
    assert repeated([10.0], [0.5]) == (10.0, 0.5)
    assert repeated([10.0], [None]) == (10.0, None)
    assert repeated([10.0, 10.0, 10.0, 10.0], [0.5] * 4) == (10.0, 0.25)
    mean, half = repeated([9.0, 10.0, 11.0], [0.1, None, 0.1])
    assert mean == 10.0
    assert half == pytest.approx(4.303 / 3**0.5)


@given(st.floats(1e-3, 1e6), st.floats(0, 3), st.floats(1e-3, 1e6), st.floats(0, 0.99))
def test_a_ratios_interval_holds_the_ratio_and_turns_round_with_it(
    a: float, own: float, b: float, other: float
) -> None:
    ratio, low, high = ratio_interval((a, a * own), (b, b * other))
    assert 0 <= low <= ratio * (1 + 1e-9)
    assert ratio <= high * (1 + 1e-9)
    if own < 0.99:
        turned, least, most = ratio_interval((b, b * other), (a, a * own))
        assert (turned, least, most) == pytest.approx((1 / ratio, 1 / high, 1 / low if low else float("inf")), rel=1e-6)


def test_a_ratio_to_what_may_be_zero_has_no_end() -> None:
    assert ratio_interval((2.0, 0.1), (1.0, 1.0)) == (2.0, 0.0, float("inf"))


def test_a_ratios_interval_covers_the_truth() -> None:
    rng = np.random.default_rng(0)
    pairs = 1 + rng.normal(0, 0.1, (2000, 2, 4))
    sides = [[repeated(x.tolist(), [None] * 4) for x in pair] for pair in pairs]
    within = [
        low <= 1 <= high for (a, b), (c, d) in sides for _, low, high in [ratio_interval((a, b or 0), (c, d or 0))]
    ]
    assert sum(within) > 0.95 * len(within)


@pytest.mark.parametrize("degrees", range(1, 11))
def test_chance_and_students_quantile_agree(degrees: int) -> None:
    assert chance(student(degrees), degrees) == pytest.approx(0.05, abs=2e-4)
    assert chance(-student(degrees), degrees) == chance(student(degrees), degrees)
    assert chance(0.0, degrees) == pytest.approx(1.0)


def test_chance_of_many_degrees_is_normal() -> None:
    assert chance(1.959964, 5000) == pytest.approx(0.05, abs=1e-4)
