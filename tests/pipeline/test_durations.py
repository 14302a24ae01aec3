import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferkit.pipeline.durations import BUCKETS, PER_DOUBLING, QUANTILES, Durations

HOUR = 3600 * 10**9
times = st.lists(
    st.one_of(st.integers(0, 300), st.integers(0, 10**7), st.integers(0, 70 * HOUR)), min_size=1, max_size=200
)


def counted(*lots: list[int]) -> Durations:
    durations = Durations()
    for lot in lots:
        durations.add(np.array(lot, np.int64))
    return durations


@given(st.lists(times, min_size=1, max_size=3))
def test_quantiles_are_within_a_percent_of_the_exact_ones(lots: list[list[int]]) -> None:
    found = counted(*lots).quantiles().model_dump()
    exact = np.quantile(np.concatenate(lots), list(QUANTILES.values())) / 1e9
    assert list(found.values()) == pytest.approx(exact.tolist(), rel=0.01)
    assert list(found.values()) == sorted(found.values())
    assert found["max_s"] == max(map(max, lots)) / 1e9


@given(st.integers(0, 70 * HOUR), st.integers(1, 1000))
def test_of_equal_times_quantiles_are_exact(time: int, count: int) -> None:
    found = counted([time] * count).quantiles().model_dump()
    assert list(found.values()) == pytest.approx([time / 1e9] * len(QUANTILES), rel=1e-12)


@given(times)
def test_the_sum_is_exact_and_nothing_is_longer_than_the_longest(values: list[int]) -> None:
    durations = counted(values)
    assert durations.seconds == pytest.approx(sum(values) / 1e9)
    assert len(durations) == len(values)
    assert durations.above(durations.longest_s) == 0
    assert durations.above(-1.0) == pytest.approx(durations.seconds)


@given(times, times)
def test_what_is_taken_over_counts_once(values: list[int], others: list[int]) -> None:
    durations, other = counted(values), counted(others)
    durations.take(other)
    assert durations.quantiles() == counted(values, others).quantiles()
    assert (len(other), other.seconds, other.longest_s) == (0, 0, 0)


@given(times)
def test_the_histogram_encloses_every_time(values: list[int]) -> None:
    found = counted(values).histogram()
    assert len(found.edges_s) == len(found.counts) + 1
    assert sum(found.counts) == len(values)
    assert found.counts[0] > 0
    assert found.counts[-1] > 0
    assert np.diff(np.log10(found.edges_s)) == pytest.approx(1 / 10)
    inside = np.maximum(values, 1) / 1e9
    bucket = 1 + 2**-PER_DOUBLING
    assert found.edges_s[0] <= inside.min() * (1 + 1e-9)
    assert found.edges_s[-1] * bucket >= inside.max()
    expected, _ = np.histogram(inside, np.array(found.edges_s) * [1, *[bucket] * len(found.counts)])
    assert np.cumsum(found.counts)[:-1] == pytest.approx(np.cumsum(expected)[:-1], abs=len(values))


def test_an_odd_clock_breaks_nothing() -> None:
    durations = counted([-5, 2**62])
    assert len(durations) == 2
    assert sum(durations.histogram().counts) == 2


def test_half_of_the_time_is_filled_by_the_usual() -> None:
    assert Durations().usual_s() == 0
    assert counted([10_000_000] * 100).usual_s() == 0.01
    assert counted([4 * 10**9, 0, 0, 0] * 5).usual_s() == 4  # four lanes in step
    assert counted([10_000_000] * 1000 + [5 * 10**9]).usual_s() == 0.01  # a stop, which is to be seen


def test_it_is_as_large_as_its_buckets_whatever_it_counts() -> None:
    durations = counted([1])
    held = [array.shape for array in (durations._counts, durations._sums)]
    durations.add(np.arange(10**6) ** 2)
    assert [array.shape for array in (durations._counts, durations._sums)] == held == [(BUCKETS,)] * 2
