"""For how long nothing was completed though it was due."""

import numpy as np

from inferkit.pipeline.durations import Durations, Nanoseconds

PAUSES = 10.0
"""A pause so many times longer than usual is none of the batches' own: of completions that come at random, as from a
queue, gaps over 10 × the median hold 0.8 % of the time, gaps over 3 × it 38 %."""
PAUSE_S = 0.025
"""Nor is a pause shorter than this anybody's stop: Linux lets a thread wait so long when several want its CPU."""
LEAST_WINDOW_S = 1.0
"""Of a shorter window the share that a pause has says little: it counts as if the window were so long."""


class Pauses:
    """Times without a completion, one window after another.

    Parameters
    ----------
    began_ns
        The completion with which the first window begins.
    lanes
        Batches that may be completed at one instant, since so many are worked on side by side.
    """

    def __init__(self, began_ns: int, lanes: int) -> None:
        self._lanes = lanes
        self._recent: Nanoseconds = np.array([began_ns])
        self._gaps, self._of_lanes = Durations(), Durations()
        self._usual_s = self._longest_s = self._measured_s = self._stood_s = self._most = 0.0

    def add(self, done_ns: Nanoseconds) -> None:
        """Note completions of the window that is open."""
        times = np.concatenate([self._recent, done_ns])
        self._gaps.add(np.diff(times[-len(done_ns) - 1 :]))
        self._of_lanes.add(times[self._lanes :] - times[: -self._lanes])
        self._recent = times[-self._lanes :]

    def close(self, seconds: float) -> None:
        """End a window of this length: what is a pause in it is told by what was usual until now."""
        self._measured_s += self._gaps.seconds
        self._usual_s = float(self._of_lanes.at(np.array([0.5]))[0]) if len(self._of_lanes) else self._measured_s
        stood_s = self._gaps.above(max(PAUSE_S, PAUSES * self._usual_s))
        self._stood_s += stood_s
        self._most = max(self._most, stood_s / max(LEAST_WINDOW_S, seconds))
        self._longest_s = max(self._longest_s, self._gaps.longest_s)
        self._gaps.clear()

    def facts(self) -> dict[str, float]:
        """Tell of the windows that have ended.

        Returns
        -------
        dict
            ``usual_s``, the median time in which ``lanes`` batches are completed; ``longest_s``, the longest time
            without a completion; ``stood_s``, the sum of the pauses that are none of the batches' own; and ``stood``,
            their share of the window that has most of them.
        """
        return {
            "usual_s": self._usual_s,
            "longest_s": self._longest_s,
            "stood_s": self._stood_s,
            "stood": self._most,
        }
