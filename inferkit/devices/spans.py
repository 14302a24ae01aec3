"""When work on a GPU began and ended, on the host's clock, from CUDA events.

Nothing here imports CUDA: anything with PyCUDA's methods can be an event or a stream.
"""

import threading
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from time import monotonic_ns
from typing import Any

ANCHOR_NS = 1_000_000_000
"""Age at which an anchor is replaced. CUDA tells the time between two events as float32 milliseconds, whose step is
0.06 us after a second but 62 us after a quarter of an hour; and the GPU's clock and the host's drift apart."""

NARROW_NS = 30_000
ANCHOR_TRIES = 5

Pushed = Callable[[str], AbstractContextManager[None]]
"""Makes the context current on the calling thread; if CUDA refuses, the error says what was being done."""


class Events:
    """The two events of a span. They are reused, because making one holds the interpreter's lock."""

    __slots__ = ("end", "start")

    def __init__(self, make_start: Callable[[], Any], make_end: Callable[[], Any]) -> None:
        self.start: Any = make_start()
        self.end: Any = make_end()


class Anchor:
    """An event whose time on the host's clock is known, and how many spans refer to it."""

    __slots__ = ("event", "ns", "spans")

    def __init__(self, event: Any) -> None:
        self.event = event
        self.ns = self.spans = 0

    def place(self, stream: Any) -> None:
        """Record the event on an idle stream; its time is the middle between asking for it and seeing it done."""
        for _ in range(ANCHOR_TRIES):  # another thread may get in between
            before = monotonic_ns()
            self.event.record(stream)
            while not self.event.query():
                pass
            after = monotonic_ns()
            self.ns = (before + after) // 2
            if after - before < NARROW_NS:
                break

    def times(self, events: Events, queued_ns: int, seen_ns: int) -> tuple[int, int]:
        """Return when work began and ended that was queued and seen done at these times.

        It cannot have begun earlier or ended later: if it seems so, the anchor is off, and is moved.
        """
        start_ns, end_ns = self._when(events.start), self._when(events.end)
        off = max(queued_ns - start_ns, 0) or min(seen_ns - end_ns, 0)
        self.ns += off
        return start_ns + off, end_ns + off

    def _when(self, event: Any) -> int:
        return self.ns + round(float(self.event.time_till(event)) * 1e6)


class CudaSpan:
    """Work between two events.

    Notes
    -----
    The times are the GPU's own, put on ``CLOCK_MONOTONIC`` by an anchor that was at most a second old when the work was
    queued. Times on one anchor differ by CUDA's resolution (0.5 us); where they lie on the host's clock is known to
    about 10 us (half of what it takes to record an event and to see it done), and never before the work was queued nor
    after it was seen done.
    """

    __slots__ = ("_stopwatch", "anchor", "end_ns", "events", "queued_ns", "start_ns")

    def __init__(self, stopwatch: "Stopwatch", events: Events, anchor: Anchor) -> None:
        self._stopwatch = stopwatch
        self.events = events
        self.anchor = anchor
        self.queued_ns = monotonic_ns()
        self.start_ns = self.end_ns = 0

    def wait(self) -> None:
        """Block until the work is done.

        Raises
        ------
        DeviceError
            If it failed, or anything else did in this GPU's context.
        """
        if not self.end_ns:
            self._stopwatch.wait(self)

    def done(self) -> bool:
        """Tell whether the work is done."""
        return self.end_ns > 0 or self._stopwatch.done(self)

    def precede(self, stream: Any) -> None:
        """Let what is queued on a stream from now on begin after this; does not block. The context must be pushed."""
        if not self.end_ns:
            stream.wait_for_event(self.events.end)


class Stopwatch:
    """Makes the spans of a device.

    Parameters
    ----------
    pushed
        Makes the device's context current.
    make_event
        Makes an event that nobody waits for.
    make_end
        Makes an event to wait for; if waiting blocks, each such event interrupts the CPU.
    stream
        An idle stream, for anchors.
    """

    def __init__(self, pushed: Pushed, make_event: Callable[[], Any], make_end: Callable[[], Any], stream: Any) -> None:
        self._pushed = pushed
        self._make_event = make_event
        self._make_end = make_end
        self._stream = stream
        self._events: list[Events] = []
        self._idle: deque[Events] = deque()
        self._anchors: list[Anchor] = []
        self._lock = threading.Lock()

    def begin(self, stream: Any, after: CudaSpan | None = None) -> CudaSpan:
        """Begin a span with what is queued next on a stream; the context must be pushed.

        On the GPU it begins once ``after`` is done. Both then use one anchor, so that their times are in order.
        """
        if after is not None:
            after.precede(stream)
        with self._lock:
            events = self._idle_events()
            anchor = self._fresh_anchor() if after is None or after.end_ns else after.anchor
            anchor.spans += 1
        span = CudaSpan(self, events, anchor)
        events.start.record(stream)
        return span

    def end(self, span: CudaSpan, stream: Any) -> None:
        """End a span with what was queued last; the context must be pushed."""
        span.events.end.record(stream)

    def wait(self, span: CudaSpan) -> None:
        """Block until a span is done, then take its times."""
        with self._pushed("waiting for a copy or an inference"):
            span.events.end.synchronize()
            self._settle(span)

    def done(self, span: CudaSpan) -> bool:
        """Tell whether a span is done; if so, its times are taken."""
        with self._pushed("asking for a copy or an inference"):
            if span.events.end.query():
                self._settle(span)
        return span.end_ns > 0

    def _settle(self, span: CudaSpan) -> None:
        """Take a span's times, unless another thread has, and free its events for the next span."""
        with self._lock:
            if not span.end_ns:
                times = span.anchor.times(span.events, span.queued_ns, monotonic_ns())
                span.start_ns, span.end_ns = times  # the end last: it tells other threads that both are there
                span.anchor.spans -= 1
                self._idle.append(span.events)

    def _idle_events(self) -> Events:
        if self._idle:
            return self._idle.popleft()
        self._events.append(Events(self._make_event, self._make_end))
        return self._events[-1]

    def _fresh_anchor(self) -> Anchor:
        """Return the newest anchor, the last in the list; an old one that no span refers to is placed anew."""
        if not self._anchors or monotonic_ns() - self._anchors[-1].ns > ANCHOR_NS:
            anchor = next((anchor for anchor in self._anchors if not anchor.spans), None)
            if anchor is None:
                anchor = Anchor(self._make_event())
            else:
                self._anchors.remove(anchor)
            anchor.place(self._stream)
            self._anchors.append(anchor)
        return self._anchors[-1]

    def close(self) -> None:
        """Let go of all events, even if a span is still held: PyCUDA frees an event with its last reference."""
        for events in self._events:
            events.start = events.end = None
        for anchor in self._anchors:
            anchor.event = None
        self._stream = None
