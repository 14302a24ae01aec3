"""One of several ranks: when it may stop, and what it tells of its trace."""

import threading
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferkit.pipeline import timeline as timeline_module
from inferkit.ranks import group_timeline as group_timeline_module
from inferkit.ranks.group_timeline import GroupTimeline
from inferkit.records.windows import Window
from tests.pipeline.conftest import ignore

WINDOW = Window(warmup_s=0.1, duration_s=0.2, repeats=2)
SECOND = 1_000_000_000


class Clock:
    def __init__(self) -> None:
        self.ns = 5 * SECOND

    def __call__(self) -> int:
        return self.ns


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(timeline_module, "monotonic_ns", clock)
    monkeypatch.setattr(group_timeline_module, "monotonic_ns", clock)
    return clock


def test_it_goes_on_until_all_have_passed(clock: Clock) -> None:
    passed, finish = [], threading.Event()
    own = GroupTimeline(WINDOW, (), ignore, clock.ns, lambda: passed.append(clock.ns), finish)
    finished = []
    for _ in range(20):
        clock.ns += SECOND // 20
        finished.append(own.add(4, 400))
        if clock.ns >= 5.8 * SECOND:
            finish.set()
    assert passed == [5.5 * SECOND]  # once, at the first batch from the agreed end on
    assert finished == [False] * 16 + [True] * 4
    assert [repeat.warmup for repeat in own.repeats[:3]] == [True, False, False]


def test_told_to_finish_before_its_own_windows_are_over_it_completes_them(clock: Clock) -> None:
    """A rank that started late still has windows to measure; the agreed end has passed."""
    finish = threading.Event()
    finish.set()
    passed: list[int] = []
    agreed = clock.ns - SECOND
    own = GroupTimeline(WINDOW, (), ignore, agreed, lambda: passed.append(clock.ns), finish)
    answers = []
    for _ in range(12):
        clock.ns += SECOND // 20
        answers.append(own.add(1, 1))
    assert answers == [False] * 9 + [True] * 3
    assert passed == [clock.ns - 2 * SECOND // 20]
    assert own.trace().began_s == 1.0


def test_a_warm_up_is_not_prolonged_by_one_rank_alone(clock: Clock) -> None:
    finish = threading.Event()
    finish.set()
    wanted = WINDOW.changed(target=0.001, longest_s=60.0)
    own = GroupTimeline(wanted, (), ignore, clock.ns, lambda: None, finish)
    count = 0
    while not own.add(count, count):
        clock.ns += SECOND // 50
        count += 1
    assert clock.ns == 5.5 * SECOND
    assert own.warnings() == []


@given(gaps=st.lists(st.integers(1, 300), min_size=3, max_size=60))
def test_the_trace_is_exact_at_completions_and_straight_between(gaps: list[int]) -> None:
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timeline_module, "monotonic_ns", clock)
        own = GroupTimeline(WINDOW, (), ignore, clock.ns, lambda: None, threading.Event())
        for gap in gaps:
            clock.ns += gap * 1_000_000
            own.add(7, 70)
    trace = own.trace()
    grid = np.arange(len(trace.images)) * trace.step_s
    done = np.cumsum(gaps) / 1e3
    expected = np.interp(grid, [0, *done], 7 * np.arange(len(gaps) + 1))
    assert np.allclose(trace.images, expected, rtol=0, atol=1e-6)
    assert np.allclose(trace.nbytes, 10 * expected, rtol=0, atol=1e-6)
    assert np.allclose(trace.batches, expected / 7, rtol=0, atol=1e-6)
    assert all(a <= b for a, b in pairwise(trace.images))
    assert trace.ended_s == pytest.approx(done[-1])
