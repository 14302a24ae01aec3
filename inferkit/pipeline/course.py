"""How much was completed by when, in memory that does not grow with time."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from inferkit.records.figures import Series
from inferkit.stats import MOST_PARTS, Floats

LEAST_STEP_S = 2.0**-10
MOST_STEPS = 8192
"""Steps of a course: 8 s at first. Steps are powers of two, so that up to a second (2.3 hours) they divide seconds."""


class Course:
    """Images, bytes and batches that were completed until each of many equal steps.

    They are exact at every step, straight lines between completions. When there are :data:`MOST_STEPS`, neighbours
    merge in pairs, and a step takes twice as long from then on.

    Parameters
    ----------
    began_s
        When the clock started; all times are seconds since the course's own zero.

    Attributes
    ----------
    step_s
        Length of a step.
    last_s, totals
        When the last batch was completed, and images, bytes and batches until then.
    """

    def __init__(self, began_s: float = 0.0) -> None:
        self.step_s = LEAST_STEP_S
        self.last_s = began_s
        self.totals: Floats = np.zeros(3)
        self._known = 0
        self._values = np.zeros((3, MOST_STEPS))

    def add(self, done_s: Floats, images: NDArray[np.int64], nbytes: NDArray[np.int64]) -> None:
        """Note completions (at least one), none earlier than the last."""
        amounts = np.stack([images, nbytes, np.ones_like(images)])
        times = np.concatenate([[self.last_s], done_s])
        done = self.totals[:, None] + np.concatenate([np.zeros((3, 1)), np.cumsum(amounts, axis=1)], axis=1)
        while done_s[-1] >= MOST_STEPS * self.step_s:
            self._merge()
        known = max(self._known, int(done_s[-1] / self.step_s) + 1)
        grid = np.arange(self._known, known) * self.step_s
        self._values[:, self._known : known] = [np.interp(grid, times, values) for values in done]
        self._known, self.last_s, self.totals = known, float(done_s[-1]), done[:, -1]

    def _merge(self) -> None:
        kept = self._values[:, : self._known : 2].copy()
        self._known = kept.shape[1]
        self._values[:, : self._known] = kept
        self.step_s *= 2

    def at(self, instants: NDArray[np.floating[Any]]) -> Floats:
        """Return images, bytes and batches (rows) that were completed until some instants."""
        steps = np.arange(self._known) * self.step_s
        known = int(np.searchsorted(steps, self.last_s))
        times = np.append(steps[:known], self.last_s)
        return np.stack(
            [
                np.interp(instants, times, np.append(values[:known], total))
                for values, total in zip(self._values, self.totals, strict=True)
            ]
        )

    def rates(self, begin_s: float, end_s: float) -> Floats:
        """Return the rate between two completions, in equal parts: images per second, bytes where there are no images.

        There are as many parts as batches were completed, but none is shorter than a step, and there are
        :data:`MOST_PARTS` at the most.
        """
        images, _, batches = np.diff(self.at(np.array([begin_s, end_s])))[:, 0]
        parts = min(MOST_PARTS, round(batches), (end_s - begin_s) / self.step_s)
        edges = np.linspace(begin_s, end_s, max(1, int(parts)) + 1)
        return np.asarray(np.diff(self.at(edges)[0 if images else 1]) / np.diff(edges), np.float64)

    def series(self, step_s: float) -> dict[str, Series]:
        """Return the rate over time from zero on, in bins of this length (or a step's); a last, cut one is left out."""
        step_s = max(step_s, self.step_s)
        edges = np.arange(int(self.last_s // step_s) + 1) * step_s
        row, name, unit = (0, "images_per_s", "images/s") if self.totals[0] else (1, "bytes_per_s", "bytes/s")
        rates = np.diff(self.at(edges)[row]) / step_s
        return {name: Series(unit=unit, step_s=step_s, values=rates.tolist())}
