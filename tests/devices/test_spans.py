from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Self

import pytest

from inferkit.devices import spans
from inferkit.devices.spans import ANCHOR_NS, CudaSpan, Stopwatch

SKEW_NS = 5_000_000_000
"""The GPU's clock minus the host's."""


class Clock:
    """The host's clock, which stands still unless a test moves it."""

    def __init__(self) -> None:
        self.ns = 10**12

    def __call__(self) -> int:
        return self.ns


class Stream:
    """Work on it takes so long; what was recorded before it is done at once."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.busy_until_ns = 0
        self.waited_for: list[Event] = []

    def work(self, ns: int) -> None:
        self.busy_until_ns = max(self.busy_until_ns, self.clock.ns) + ns

    def wait_for_event(self, event: "Event") -> None:
        self.waited_for.append(event)


class Event:
    """As PyCUDA's, on a GPU whose clock is off by a constant."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.gpu_ns = self.at_ns = 0
        self.stream: Stream | None = None

    def record(self, stream: Stream) -> None:
        self.stream = stream
        self.at_ns = max(stream.busy_until_ns, self.clock.ns)
        self.gpu_ns = self.at_ns + SKEW_NS

    def query(self) -> bool:
        return self.clock.ns >= self.at_ns

    def synchronize(self) -> Self:
        self.clock.ns = max(self.clock.ns, self.at_ns)
        return self

    def time_till(self, later: "Event") -> float:
        assert later.gpu_ns >= self.gpu_ns
        return (later.gpu_ns - self.gpu_ns) / 1e6


class Bench:
    """A stopwatch over such events, and what was made for it."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.plain: list[Event] = []
        self.waited_for: list[Event] = []
        self.stream = Stream(clock)
        self.idle = Stream(clock)
        self.stopwatch = Stopwatch(
            self.pushed, lambda: self.keep(self.plain), lambda: self.keep(self.waited_for), self.idle
        )

    def keep(self, events: list[Event]) -> Event:
        events.append(Event(self.clock))
        return events[-1]

    @property
    def anchors(self) -> list[Event]:
        return [event for event in self.plain if event.stream is self.idle]

    @contextmanager
    def pushed(self, doing: str) -> Iterator[None]:
        assert doing
        yield

    def span(self, ns: int) -> CudaSpan:
        span = self.stopwatch.begin(self.stream)
        self.stream.work(ns)
        self.stopwatch.end(span, self.stream)
        return span


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    clock = Clock()
    monkeypatch.setattr(spans, "monotonic_ns", clock)
    return Bench(clock)


def test_times_are_the_hosts(bench: Bench) -> None:
    start = bench.clock.ns
    first, second = bench.span(3_000_000), bench.span(500)
    assert not first.done()
    first.wait()
    assert (first.start_ns, first.end_ns) == (start, start + 3_000_000)
    assert not second.done()
    bench.clock.ns += 500
    assert second.done()
    assert (second.start_ns, second.end_ns) == (start + 3_000_000, start + 3_000_500)
    second.wait()
    assert second.end_ns == start + 3_000_500


def test_events_go_round(bench: Bench) -> None:
    for _ in range(5):
        waiting = [bench.span(1000) for _ in range(3)]
        for span in waiting:
            span.wait()
    assert len(bench.waited_for) == 3
    assert len(bench.plain) - len(bench.anchors) == 3


def test_anchor_is_placed_anew_when_old_and_another_made_only_while_it_is_referred_to(bench: Bench) -> None:
    slow = bench.span(10)
    for _ in range(6):
        bench.clock.ns += ANCHOR_NS + 1
        start = bench.clock.ns
        span = bench.span(700)
        span.wait()
        assert (span.start_ns, span.end_ns) == (start, start + 700)
    slow.wait()
    assert slow.end_ns - slow.start_ns == 10
    assert len(bench.anchors) == 2


def test_no_anchor_is_placed_within_a_second(bench: Bench) -> None:
    for _ in range(10):
        bench.clock.ns += ANCHOR_NS // 20
        bench.span(10).wait()
    assert len(bench.anchors) == 1


@pytest.mark.parametrize("off_ns", [-80_000, 80_000])
def test_nothing_begins_before_it_is_queued_or_ends_after_it_is_seen_done(bench: Bench, off_ns: int) -> None:
    bench.span(1000).wait()
    bench.clock.ns += 1_000_000
    bench.anchors[0].gpu_ns -= off_ns  # what was recorded later seems earlier, or later, by this
    queued = bench.clock.ns
    first, second = bench.span(1000), bench.span(2000)
    first.wait()
    second.wait()
    assert queued <= first.start_ns == first.end_ns - 1000
    assert first.end_ns <= second.start_ns == second.end_ns - 2000
    assert second.end_ns <= bench.clock.ns


def test_span_precedes_a_stream_until_its_times_are_taken(bench: Bench) -> None:
    other = Stream(bench.clock)
    span = bench.span(1000)
    span.precede(other)
    assert len(other.waited_for) == 1
    span.wait()
    span.precede(other)
    assert len(other.waited_for) == 1


def test_span_that_follows_another_refers_to_its_anchor(bench: Bench) -> None:
    first = bench.span(ANCHOR_NS)
    bench.clock.ns += ANCHOR_NS + 1
    following = bench.stopwatch.begin(bench.stream, first)
    bench.stopwatch.end(following, bench.stream)
    assert following.anchor is first.anchor
    assert bench.span(1).anchor is not first.anchor
    for span in (first, following):
        span.wait()
    assert first.end_ns <= following.start_ns


def test_many_threads_may_wait_for_the_same_span(bench: Bench) -> None:
    waiting = [bench.span(1000) for _ in range(50)]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(4):
            for span in waiting:
                pool.submit(span.wait)
    assert all(span.end_ns - span.start_ns == 1000 for span in waiting)
    again = [bench.span(1000) for _ in range(50)]
    assert len({id(span.events) for span in again}) == 50
    assert len(bench.waited_for) == 50


def test_closed_stopwatch_keeps_no_event(bench: Bench) -> None:
    span = bench.span(1000)
    bench.span(1000).wait()
    bench.stopwatch.close()
    assert span.events.start is span.events.end is span.anchor.event is None
