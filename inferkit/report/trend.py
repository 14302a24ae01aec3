"""One storage over the dates at which it was measured, and whether it became slower.

A change is told where the dates fall into two parts whose means differ for sure. Of all ways to cut the dates in two
the surest is taken, so it must hold at 5 % ÷ the number of cuts (Bonferroni): Student's t of two samples, of the
logarithms, with one scatter of dates in both parts (it is one storage, and one date alone has none). The ``±`` is 95 %,
never narrower than what the runs' own intervals give.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from html import escape
from itertools import chain

import numpy as np

from inferkit.report.compare import network_of, pipelines, side_labels
from inferkit.report.dates import NEVER
from inferkit.report.labels import plus_minus
from inferkit.report.remarks import grouped
from inferkit.report.repetitions import Side, begun, points, side, standing
from inferkit.report.side_by_side import rate_text
from inferkit.report.store import Row
from inferkit.report.tables import folded, html_table
from inferkit.stats import chance, student
from inferkit.text import text_table, wrapped

UNSURE = 0.05
NOTHING = "no trend: it needs VALID runs of one point on at least two dates"


@dataclass(frozen=True)
class Change:
    """Since when a figure is another, by which share (-0.08: 8 % slower), and half the interval of that."""

    since: date
    share: float
    half: float
    software: tuple[str, ...] = ()

    def text(self, label: str, network: str) -> str:
        """Word it: ``since 2026-11-20 nvme is 8.0 ± 2.0 % slower for resnet50``."""
        way = "slower" if self.share < 0 else "faster"
        told = f"since {self.since:%F} {label} is {plus_minus(abs(self.share) * 100, self.half * 100)} % {way}"
        beside = f"; changed with it: {', '.join(self.software)}" if self.software else ""
        return f"{told} for {network}{beside}"


@dataclass(frozen=True)
class Line:
    """A storage and machine with one network, over time.

    Parameters
    ----------
    label, network, where
        The storage, what infers, and the whole point, in words.
    days
        The figure of each date, in their order: at least two.
    change
        The surest; None where none is sure.
    others
        Changes at other points of the same storage and network; None for each that did not change.
    """

    label: str
    network: str
    where: str
    days: tuple[Side, ...]
    change: Change | None
    others: tuple[Change | None, ...] = ()

    @property
    def text(self) -> str:
        """What became of it, in a sentence."""
        first, last = (f"{day.until:%F}" for day in (self.days[0], self.days[-1]))
        unchanged = f"no change of {self.label} for {self.network} is sure, {first} to {last} ({len(self.days)} dates)"
        told = [self.change.text(self.label, self.network) if self.change else unchanged]
        shares = [change.share for change in self.others if change]
        for way, count in (("slower", sum(s < 0 for s in shares)), ("faster", sum(s > 0 for s in shares))):
            told += [f"{count} of {len(self.others)} other points became {way}"] if count else []
        if self.change and len(self.days) == 2:
            told.append("two dates do not tell how much dates differ by themselves")
        return "; ".join(told)


def trends(rows: Iterable[Row], *, since: datetime | None = None) -> list[Line]:
    """Return a line for each storage, machine and network with at least two dates; the slower ones first.

    Of several points that with the most dates is shown, then that of the longest profile, then the fastest.

    Parameters
    ----------
    rows
        From :func:`inferkit.report.store.rows`.
    since
        Leave out runs that were begun earlier.

    Raises
    ------
    RecordError
        If there is no pipeline run.
    """
    runs = [row for row in pipelines(rows, since) if row["verdict"] == "VALID" and row.get("images_per_s")]
    dated = [own for runs in points(runs) for own in _by_date(runs) if len(own) > 1]
    labels = dict(zip(map(id, runs), side_labels(runs), strict=True))
    keys = [(labels[id(own[-1].row)], network_of(own[-1].row)) for own in dated]
    lines = [_line(*key, sorted(own, key=_first_shown)) for key, own in grouped(dated, keys)]
    return sorted(lines, key=lambda line: line.change.share if line.change else 0.0)


def _by_date(runs: Sequence[Row]) -> Iterator[list[Side]]:
    """Yield the dates' figures of a point's runs, the earliest first: for each profile and size of the data set."""
    known = [row for row in reversed(runs) if begun(row) > NEVER]
    for _, own in grouped(known, [(row["profile"], row.get("data_bytes")) for row in known]):
        days = grouped(own, [begun(row).date() for row in own])
        yield [side(day[::-1], all_of_them=True) for _, day in days]


def _first_shown(days: Sequence[Side]) -> tuple[int, tuple[int, int], float]:
    return -len(days), standing(days[-1].row), -(days[-1].rate or 0.0)


def _line(label: str, network: str, own: Sequence[Sequence[Side]]) -> Line:
    days, *others = own
    changes = tuple(map(change_of, others))
    return Line(label, network, str(days[-1].row["where"]), tuple(days), change_of(days), changes)


def change_of(days: Sequence[Side]) -> Change | None:
    """Return the surest change between dates, in their order; None where none is sure."""
    found = [_cut(days, place) for place in range(1, len(days))]
    sure = [(abs(change.share) / change.half, change) for change in found if change]
    return max(sure, key=lambda pair: pair[0])[1] if sure else None


def _cut(days: Sequence[Side], place: int) -> Change | None:
    """Return the change from the dates before a place to the others; None where it is not sure."""
    parts = [days[:place], days[place:]]
    logs = [np.log([day.rate or 1.0 for day in part]) for part in parts]
    step = float(logs[1].mean() - logs[0].mean())
    degrees = len(days) - 2
    rest = sum(float(((part - part.mean()) ** 2).sum()) for part in logs)
    error = (rest / degrees * sum(1 / len(part) for part in parts)) ** 0.5 if degrees else 0.0
    own = _own_half(parts)
    half = max(own or 0.0, student(degrees) * error if degrees else 0.0)
    by_chance = chance(step / error, degrees) * (len(days) - 1) if error else 0.0
    if not half or abs(step) <= half or by_chance > UNSURE or (own is None and not degrees):
        return None
    before, after = (_software(day) for day in (days[place - 1], days[place]))
    changed = tuple(f"{name} {was} → {after[name]}" for name, was in before.items() if after.get(name, was) != was)
    ratio = float(np.exp(step))
    return Change(days[place].until.date(), ratio - 1, ratio * half, changed)


def _own_half(parts: Sequence[Sequence[Side]]) -> float | None:
    """Return what the runs' own intervals give for the ratio of two parts, as a share; None where one is unknown."""
    shares = [[None if day.half is None else day.half / (day.rate or 1.0) for day in part] for part in parts]
    if None in chain.from_iterable(shares):
        return None
    return float(sum(sum((share or 0.0) ** 2 for share in part) / len(part) ** 2 for part in shares) ** 0.5)


def _software(day: Side) -> dict[str, str]:
    pairs = (text.partition(" ") for text in str(day.row.get("software") or "").split(", "))
    return {name: version for name, _, version in pairs if version}


class Trend:
    """Lines over time as text of 80 columns and as HTML: sentences, then the figure of each date."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self.lines = tuple(lines)

    def __str__(self) -> str:
        if not self.lines:
            return NOTHING
        told = [text for line in self.lines for text in wrapped(line.text)]
        blocks = [
            [*wrapped(f"{line.label} · {line.where}"), *(f"  {text}" for text in text_table(_dates(line), numbers=[1]))]
            for line in self.lines
        ]
        return "\n\n".join("\n".join(block) for block in [told, *blocks])

    def html(self) -> str:
        """Return sentences, and a table of dates for each line, folded away."""
        items = "".join(f"<li>{escape(line.text)}</li>" for line in self.lines)
        head = ("date", "images/s", "n")
        tables = [
            folded(f"{line.label} · {line.where}", html_table(_dates(line), head, numbers=[1])) for line in self.lines
        ]
        return f"<ul>{items}</ul>{''.join(tables)}" if self.lines else f"<p>{NOTHING}</p>"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        """Return what a notebook shows (the name is IPython's)."""
        return {"text/html": self.html(), "text/plain": str(self)}


def _dates(line: Line) -> list[list[str]]:
    return [[f"{day.until:%F}", f"{rate_text(day)} images/s", f"n {day.n}"] for day in line.days]
