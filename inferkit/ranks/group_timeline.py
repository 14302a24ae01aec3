"""The timeline of one of several ranks: it goes on until all have passed the agreed end, and tells its course."""

import threading
from collections.abc import Callable
from time import monotonic_ns

import numpy as np

from inferkit.pipeline.course import Course
from inferkit.pipeline.timeline import Timeline
from inferkit.records.outcome import ProgressTrace, RankProgress
from inferkit.records.windows import Window

STEP_S, MOST_STEPS = 2.0**-7, 4096
"""A trace has a value every 8 ms, and so many at the most: a rank that tells it works on meanwhile. Its steps are whole
steps of the course, which is exact there."""


class GroupTimeline(Timeline):
    """What became of all batches of a rank that measures beside others; its course begins at the agreed start.

    Parameters
    ----------
    window, stages, report
        As of a timeline.
    start_ns
        The agreed start; the windows end together, ``window.seconds`` after it.
    passed
        Is called when a batch was completed after the agreed end and the rank's own windows are over.
    finish
        Set once all ranks have passed.
    """

    def __init__(
        self,
        window: Window,
        stages: tuple[str, ...],
        report: Callable[[RankProgress], None],
        start_ns: int,
        passed: Callable[[], None],
        finish: threading.Event,
    ) -> None:
        super().__init__(window, stages, report)
        self._zero_ns = start_ns
        self.course = Course(self._since(self.start_ns))
        self._agreed_end_ns = start_ns + int(window.seconds * 1e9)
        self._tell_passed = passed
        self._passed = threading.Event()
        self._finish = finish

    def add(self, images: int, nbytes: int, *times: int, device: int = 0) -> bool:
        """Note a completed batch; True once every rank has passed the end."""
        enough = super().add(images, nbytes, *times, device=device)
        if enough and not self._passed.is_set() and monotonic_ns() >= self._agreed_end_ns:
            self._passed.set()
            self._tell_passed()
        return enough and self._finish.is_set()

    def warnings(self) -> list[str]:
        """Say nothing of this rank's own course: the sum's counts."""
        return []

    def _still_warming(self, now: int) -> bool:
        """Warm up as long as was agreed."""
        return False

    def trace(self) -> ProgressTrace:
        """Return how far this rank was at each instant from the agreed start until its last batch."""
        with self._lock:
            self._sum_up()
            seconds = max(self.window.seconds, self.course.last_s)
            step_s = max(STEP_S, self.course.step_s)
            while seconds / step_s > MOST_STEPS:
                step_s *= 2
            images, nbytes, batches = self.course.at(np.arange(0, seconds + step_s, step_s)).tolist()
        return ProgressTrace(
            start_ns=self._zero_ns,
            step_s=step_s,
            images=images,
            nbytes=nbytes,
            batches=batches,
            began_s=self._since(self.start_ns),
            ended_s=self.course.last_s,
        )
