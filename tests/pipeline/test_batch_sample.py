import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferkit.pipeline.batch_sample import MOST_KEPT, SAMPLE, BatchSample


def sample_of(count: int, lot: int) -> BatchSample:
    sample = BatchSample(2)
    numbers = np.arange(count)
    for first in range(0, count, lot):
        own = numbers[first : first + lot]
        sample.add(np.stack([own, own * own], axis=1))
    return sample


@given(st.integers(1, 30_000), st.integers(1, 5000), st.floats(0.3, 1.0))
def test_they_are_neighbours_from_near_the_middle(seen: int, lot: int, share: float) -> None:
    count = max(1, int(share * seen))
    found = sample_of(seen, max(lot, seen // 100)).middle(count)
    length = min(SAMPLE, count)
    assert found[:, 0].tolist() == list(range(found[0, 0], found[0, 0] + length))
    assert (found[:, 1] == found[:, 0] ** 2).all()
    assert found[-1, 0] < count
    off = abs(int(found[0, 0]) - (count - length) // 2)
    assert off == 0 if seen <= MOST_KEPT else off <= seen / 16


@pytest.mark.parametrize("count", [10**4, 10**6])
def test_few_are_kept_of_however_many(count: int) -> None:
    assert len(sample_of(count, 4096)._rows) <= MOST_KEPT
