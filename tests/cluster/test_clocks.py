"""A clock is known as well as the shortest round trip allows."""

from time import monotonic_ns, sleep

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferkit.cluster import clocks
from inferkit.cluster.clocks import Offset, moved_s, offset_of


@given(ahead=st.integers(-(10**15), 10**15), there=st.lists(st.integers(0, 10**9), min_size=4, max_size=4))
def test_the_truth_lies_within_the_error_however_lopsided_the_way(ahead: int, there: list[int]) -> None:
    now = 10**12
    back = list(reversed(there))

    def clock() -> int:
        return now

    def ask() -> int:
        nonlocal now
        now += there[0]
        theirs = now + ahead
        now += back[0]
        there.append(there.pop(0))
        back.append(back.pop(0))
        return theirs

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clocks, "monotonic_ns", clock)
        found = offset_of(ask, rounds=4)
    assert abs(found.offset_ns - ahead) <= found.error_ns


def test_a_slow_answer_does_not_count() -> None:
    delays = iter([0.02, 0.0, 0.02])

    def ask() -> int:
        sleep(next(delays))
        return monotonic_ns()

    assert offset_of(ask, rounds=3).error_ns < 10_000_000


def test_a_clock_moved_only_where_errors_do_not_explain_it() -> None:
    before = Offset(1000, 200)
    assert moved_s(before, Offset(1350, 200)) == 0
    assert moved_s(before, Offset(-1_000_000_000, 200)) == pytest.approx(1.0, rel=1e-3)
