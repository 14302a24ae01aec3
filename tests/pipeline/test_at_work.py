"""The time in which devices are at work is that of the union of their batches, however these are handed over."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from inferkit.pipeline.at_work import AtWork

BATCHES = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 60), st.integers(0, 40)), min_size=1, max_size=40)


@given(BATCHES, st.integers(1, 7))
def test_it_is_the_union_of_each_device_s_batches(steps: list[tuple[int, int, int]], lot: int) -> None:
    """Batches begin in order, as a device's stream has them; some last longer than the next."""
    at, rows = 1, []
    for device, lasts, later in steps:
        rows.append((device, at, at + lasts))
        at += later
    at_work = AtWork()
    for first in range(0, len(rows), lot):
        at_work.add(*np.array(rows[first : first + lot], np.int64).T)
    unions = [len({ns for device, start, end in rows if device == own for ns in range(start, end)}) for own in range(3)]
    assert round(at_work.mean_s * 1e9 * len({device for device, *_ in rows})) == sum(unions)
