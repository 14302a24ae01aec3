import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferkit.stats import QUANTILES, binned_rate, histogram, paired_ratio, quantiles

seconds = st.lists(st.floats(0, 1e4, allow_nan=False), min_size=1, max_size=200)


def test_quantiles_of_a_known_sample() -> None:
    values = np.arange(1001) / 1000
    np.random.default_rng(0).shuffle(values)
    expected = {"p50_s": 0.5, "p90_s": 0.9, "p95_s": 0.95, "p99_s": 0.99, "p999_s": 0.999, "max_s": 1.0}
    assert quantiles(values) == pytest.approx(expected)


def test_quantiles_of_one_value() -> None:
    assert quantiles(np.array([0.25])) == dict.fromkeys(QUANTILES, 0.25)


@given(seconds)
def test_quantiles_rise_to_the_maximum(values: list[float]) -> None:
    found = list(quantiles(np.array(values)).values())
    assert found == sorted(found)
    assert found[-1] == max(values)


@given(seconds)
def test_histogram_encloses_every_value(values: list[float]) -> None:
    edges, counts = histogram(np.array(values))
    assert len(edges) == len(counts) + 1
    assert sum(counts) == len(values)
    assert edges == sorted(edges)
    inside = np.maximum(values, 1e-9)
    assert edges[0] <= inside.min() * (1 + 1e-9)
    assert edges[-1] >= inside.max() * (1 - 1e-9)


def test_histogram_counts_between_its_edges() -> None:
    values = np.array([1.05e-3, 1.1e-3, 1.2e-3, 0.9, 0.0])
    edges, counts = histogram(values)
    expected, _ = np.histogram(np.maximum(values, 1e-9), edges)
    # The edge of 1 ns itself is rounded, so that numpy may see the zero left of it.
    assert counts[1:] == expected.tolist()[1:]
    assert counts[0] == 1
    assert np.diff(np.log10(edges)) == pytest.approx(1 / 20)


def test_binned_rate_divides_by_the_bin_and_leaves_out_the_cut_one() -> None:
    times = np.array([0.1, 0.9, 1.0, 2.5, 3.4])
    assert binned_rate(times, [1, 2, 4, 8, 16]) == [3.0, 4.0, 8.0]
    assert binned_rate(times, [1, 2, 4, 8, 16], step_s=0.5)[:3] == [2.0, 4.0, 8.0]


def test_binned_rate_of_less_than_a_bin_is_empty() -> None:
    assert binned_rate(np.array([0.2, 0.99]), [1, 1]) == []
    assert binned_rate(np.array([]), []) == []


@given(st.lists(st.tuples(st.floats(0, 50), st.integers(0, 1000)), max_size=100))
def test_binned_rate_loses_nothing_of_whole_bins(samples: list[tuple[float, int]]) -> None:
    times, amounts = np.array([t for t, _ in samples]), [a for _, a in samples]
    rates = binned_rate(times, amounts)
    assert sum(rates) == sum(amount for time, amount in samples if time < len(rates))


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


def test_paired_ratio_of_many_rounds() -> None:
    rounds = [1.01, 0.99] * 20
    _, low, high = paired_ratio(rounds, [1.0] * 40)
    assert 0.995 < low < 1.0 < high < 1.005
