"""Samples of a run of unknown length, in memory that does not grow with it."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

MOST_SAMPLES = 8192
"""Half an hour of five a second; after that each that is kept stands for two, then four …"""

Rows = NDArray[np.float64]
Merge = Callable[[Rows, Rows], Rows]
"""Makes one row each of rows and of those that follow them."""


def mean(rows: Rows, following: Rows) -> Rows:
    """Of what goes up and down: the mean."""
    return (rows + following) / 2


def later(rows: Rows, following: Rows) -> Rows:
    """Of what is counted on and on: the later count."""
    return following


def highest(rows: Rows, following: Rows) -> Rows:
    """Of what may go up: the highest, at the later instant."""
    return np.maximum(rows, following)


def total(rows: Rows, following: Rows) -> Rows:
    """Of amounts: their sum, at the later instant."""
    return np.column_stack([following[:, 0], rows[:, 1:] + following[:, 1:]])


def either(rows: Rows, following: Rows) -> Rows:
    """Of bits: those that are set in either, at the later instant."""
    bits = rows[:, 1:].astype(np.int64) | following[:, 1:].astype(np.int64)
    return np.column_stack([following[:, 0], bits])


class Samples:
    """Rows of numbers, the first of which is an instant; when they are many, neighbours merge in pairs.

    Parameters
    ----------
    columns
        Numbers of a row.
    merge
        Makes one row of two.

    Attributes
    ----------
    each
        How many of the rows that were added became one.
    """

    def __init__(self, columns: int, merge: Merge) -> None:
        self.each = 1
        self._merge = merge
        self._kept: Rows = np.empty((MOST_SAMPLES, columns))
        self._count = 0
        self._recent: list[tuple[float, ...]] = []
        self.last: tuple[float, ...] = ()

    def add(self, *row: float) -> None:
        """Take a row, no earlier than the last."""
        self.last = row
        self._recent.append(row)
        if len(self._recent) < self.each:
            return
        rows = np.array(self._recent)
        while len(rows) > 1:
            rows = self._halved(rows)
        self._kept[self._count] = rows[0]
        self._recent.clear()
        self._count += 1
        if self._count == MOST_SAMPLES:
            self._count //= 2
            self._kept[: self._count] = self._halved(self._kept)
            self.each *= 2

    def _halved(self, rows: Rows) -> Rows:
        return self._merge(rows[::2], rows[1::2])

    def rows(self) -> Rows:
        """Return all rows, those that were not merged yet the last."""
        return np.concatenate([self._kept[: self._count], np.array(self._recent).reshape(-1, self._kept.shape[1])])

    def between(self, start: float, end: float) -> Rows:
        """Return the rows of these instants and of those between them."""
        rows = self.rows()
        return rows[(rows[:, 0] >= start) & (rows[:, 0] <= end)]
