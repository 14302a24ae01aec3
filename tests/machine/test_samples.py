import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from inferkit.machine.samples import MOST_SAMPLES, Merge, Samples, either, highest, later, mean, total


def added(count: int, merge: Merge) -> Samples:
    samples = Samples(2, merge)
    for k in range(count):
        samples.add(float(k), float(k % 7))
    return samples


def test_few_are_all_there() -> None:
    assert added(3, mean).rows().tolist() == [[0, 0], [1, 1], [2, 2]]
    assert added(3, mean).between(1.0, 1.5).tolist() == [[1, 1]]
    assert (added(3, mean).last, added(0, mean).last, len(added(0, mean).rows())) == ((2, 2), (), 0)


@example(9206)  # the last row has several values, of which the last is not the highest
@settings(max_examples=4, deadline=None)
@given(st.integers(0, 5 * MOST_SAMPLES))
def test_however_many_they_are_few_rows_that_lose_nothing(count: int) -> None:
    values = np.arange(count) % 7
    rows = {merge: added(count, merge).rows() for merge in (mean, later, highest, total, either)}
    for own in rows.values():
        assert len(own) <= MOST_SAMPLES + 8
        assert (np.diff(own[:, 0]) > 0).all()
    assert rows[total][:, 1].sum() == values.sum()
    assert rows[later][-1:].tolist() == [[count - 1, (count - 1) % 7]] * bool(count)
    assert rows[highest][-1:, 0].tolist() == [count - 1] * bool(count)
    assert rows[highest][:, 1].max(initial=0) == values.max(initial=0)
    assert np.bitwise_or.reduce(rows[either][:, 1].astype(int), initial=0) == np.bitwise_or.reduce(values, initial=0)


def test_means_are_of_time_and_value() -> None:
    samples = added(2 * MOST_SAMPLES, mean)
    assert samples.each == 4
    assert samples.rows()[0].tolist() == [1.5, 1.5]
    assert samples.rows()[:, 1].mean() == pytest.approx(3.0, abs=0.01)
