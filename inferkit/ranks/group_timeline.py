"""The timeline of one of several ranks: it goes on until all have passed the agreed end, and tells its course."""

import threading
from collections.abc import Callable
from time import monotonic_ns

import numpy as np
from numpy.typing import NDArray

from inferkit.pipeline.timeline import Timeline
from inferkit.records.job import ProgressTrace, RankProgress, Window

STEP_S = 0.01
MOST_STEPS = 5000
"""A course has a value every 10 ms, or as many as this: batches take longer, and the rest is exact between them."""


class GroupTimeline(Timeline):
    """Every batch's times, of a rank that measures beside others.

    Parameters
    ----------
    window, stages, report
        As of a timeline.
    start_ns
        The agreed start; the windows end together, ``window.seconds`` after it.
    passed
        Is told the trace when a batch was completed after the agreed end and the rank's own windows are over: once, and
        again after each :meth:`extend`.
    finish
        Set once all ranks have passed.
    """

    def __init__(
        self,
        window: Window,
        stages: tuple[str, ...],
        report: Callable[[RankProgress], None],
        start_ns: int,
        passed: Callable[[ProgressTrace], None],
        finish: threading.Event,
    ) -> None:
        super().__init__(window, stages, report)
        self._agreed_ns = start_ns
        self._agreed_end_ns = start_ns + int(window.seconds * 1e9)
        self._tell_passed = passed
        self._passed = threading.Event()
        self._finish = finish

    def add(self, images: int, nbytes: int, *times: int) -> bool:
        """Note a completed batch; True once every rank has passed the end."""
        enough = super().add(images, nbytes, *times)
        if enough and not self._passed.is_set() and monotonic_ns() >= self._agreed_end_ns:
            self._passed.set()
            self._tell_passed(self.trace())
        return enough and self._finish.is_set()

    def extend(self, repeats: int) -> None:
        """Measure on until so many windows are over: all ranks are told the same."""
        window = self.window.changed(repeats=repeats)
        self._agreed_end_ns = self._agreed_ns + int(window.seconds * 1e9)
        self.window = window
        self._passed.clear()

    def _extended(self) -> Window:
        """Leave it to the parent, who knows the sum, whether there are more windows."""
        return self.window

    def warnings(self) -> list[str]:
        """Say nothing of this rank's own course: the sum's counts."""
        return []

    def _still_warming(self, now: int) -> bool:
        """Warm up as long as was agreed."""
        return False

    def trace(self) -> ProgressTrace:
        """Return how far this rank was at each instant from the agreed start until its last batch."""
        done = (np.frombuffer(self._done, np.int64) - self._agreed_ns) / 1e9
        began = (self.start_ns - self._agreed_ns) / 1e9
        seconds = max(self.window.seconds, done[-1] if len(done) else 0.0)
        step = max(STEP_S, seconds / MOST_STEPS)
        grid = np.arange(0, seconds + step, step)
        return ProgressTrace(
            start_ns=self._agreed_ns,
            step_s=step,
            images=_cumulated(grid, began, done, np.frombuffer(self._images, np.int64)),
            nbytes=_cumulated(grid, began, done, np.frombuffer(self._nbytes, np.int64)),
            batches=_cumulated(grid, began, done, np.ones(len(done), np.int64)),
            began_s=began,
            ended_s=float(done[-1]) if len(done) else began,
            longest_gap_s=_longest_gap(done, self.window),
        )


def _cumulated(
    grid: NDArray[np.float64], began: float, done: NDArray[np.float64], amounts: NDArray[np.int64]
) -> list[float]:
    """Return what was completed at each instant, straight lines between completions."""
    values: list[float] = np.interp(grid, [began, *done], [0, *np.cumsum(amounts)]).tolist()
    return values


def _longest_gap(done: NDArray[np.float64], window: Window) -> float:
    inside = done[(done >= window.warmup_s) & (done <= window.seconds)]
    edges = np.concatenate([[window.warmup_s], inside, [window.seconds]])
    return float(np.diff(edges).max())
