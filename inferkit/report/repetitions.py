"""Runs of one point that are repetitions of each other, as one figure; and the best point of each storage.

Repetitions have the same storage, machine, point, settings, data, profile and version of inferkit. Those count that
were begun within :data:`TOGETHER` before the newest: a storage that was measured a month ago may be another by now. The
newest are taken, not the fastest: else a storage would look the faster, the more often it was measured.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from inferkit.records.windows import PROFILES
from inferkit.report.dates import begun_at
from inferkit.report.labels import VERDICTS
from inferkit.report.store import Row
from inferkit.stats import repeated

TOGETHER = timedelta(hours=18)
"""Span of repetitions, unless a date is given from which on all of them count: a day of work, but not two nights."""
POINT = (
    "storage",
    "machine",
    "notebook",
    "where",
    "cpu",
    "cpus",
    "gpu",
    "dtype",
    "shape",
    "settings",
    "origin",
    "bound",
)
"""What makes a point."""
ALIKE = ("version", "data_bytes")
"""What is equal in all repetitions of a point as well; the newest run's counts."""
_LENGTHS = {name: -place for place, name in enumerate(PROFILES)}
"""Sorts profiles from the longest to the shortest."""


@dataclass(frozen=True)
class Side:
    """A point of a storage on a machine.

    Parameters
    ----------
    row
        The newest of its runs.
    rate, half
        Images per second: mean of the repetitions, and half its 95 % interval; None where there is none.
    n
        Repetitions.
    since
        When the first of them was begun.
    beside
        What else was found: runs that were not VALID, or not taken.
    """

    row: Row
    rate: float | None
    half: float | None
    n: int
    since: datetime
    beside: str = ""

    @property
    def valid(self) -> bool:
        """Whether it has a figure that can be compared."""
        return self.row["verdict"] == "VALID" and bool(self.rate)

    @property
    def until(self) -> datetime:
        """When the newest repetition was begun."""
        return begun(self.row)

    @property
    def order(self) -> tuple[int, int, float]:
        """What sorts the points of one storage: VALID first, then the longest profile, then the fastest."""
        return *standing(self.row), -(self.rate or 0.0)

    @property
    def place(self) -> tuple[bool, int, float]:
        """What sorts storages: those that can be compared, the fastest first, then the others by verdict."""
        return not self.valid, standing(self.row)[0], -(self.rate or 0.0)


def begun(row: Row) -> datetime:
    """Return when a run was begun."""
    return begun_at(row["started"])


def standing(row: Row) -> tuple[int, int]:
    """Return what sorts runs by how far they are to be trusted: by verdict, then by the length of their profile."""
    return VERDICTS.index(row["verdict"]), _LENGTHS.get(row["profile"], 1)


def points(rows: Iterable[Row]) -> list[list[Row]]:
    """Return the runs of each point, the newest first; a run that is met several times is one."""
    known: dict[str, Row] = {}
    found: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        if known.setdefault(row["id"], row) is row:
            found.setdefault(tuple(row.get(name) for name in POINT), []).append(row)
    return [sorted(own, key=begun)[::-1] for own in found.values()]  # of equal times the last counts


def side(runs: Sequence[Row], *, all_of_them: bool = False, fastest: bool = False) -> Side:
    """Return the figure of a point's runs, of which those count that are VALID, then of the longest profile.

    Parameters
    ----------
    runs
        Of one point, the newest first.
    all_of_them
        All are repetitions, however long before the newest they were begun.
    fastest
        Take the one with the highest figure alone.
    """
    best = min(map(standing, runs))
    own = [row for row in runs if standing(row) == best]
    kept = [row for row in own if _repeats(row, own[0]) and (all_of_them or begun(own[0]) - begun(row) <= TOGETHER)]
    if fastest:
        kept = [max(own, key=lambda row: row.get("images_per_s") or 0.0)]
    figures = [(rate, row.get("half_width")) for row in kept if (rate := row.get("images_per_s"))]
    halves = [None if share is None else rate * share for rate, share in figures]
    rate, half = repeated([rate for rate, _ in figures], halves) if figures else (None, None)
    since = begun(kept[-1])
    others = [row for row in runs if begun(row) >= since and standing(row)[0] != best[0]]
    return Side(kept[0], rate, half, len(kept), since, "; ".join(_beside(len(own), len(kept), others, fastest=fastest)))


def _repeats(row: Row, newest: Row) -> bool:
    return all(row.get(name) == newest.get(name) for name in ALIKE)


def _beside(there: int, kept: int, others: Sequence[Row], *, fastest: bool) -> Iterator[str]:
    """Say what of a point's runs is not in its figure."""
    if there > kept:
        what = "the fastest, which flatters" if fastest else "those that were measured together last"
        yield f"{kept} of {there} runs: {what}"
    for verdict in VERDICTS:
        if count := sum(row["verdict"] == verdict for row in others):
            yield f"{count} {verdict} {'run' if count == 1 else 'runs'} left out"


def best_sides(sides: Iterable[Side], by: Sequence[str]) -> list[Side]:
    """Return the best side of each storage and machine for every value of ``by``; no storage vanishes."""
    found: dict[tuple[object, ...], Side] = {}
    for own in sides:
        key = tuple(own.row.get(name) for name in (*by, "storage", "machine"))
        found[key] = min(found.get(key, own), own, key=lambda side: side.order)
    return list(found.values())
