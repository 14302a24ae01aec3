"""Storages side by side: the best point of each on each machine, and which is faster for sure.

:mod:`inferkit.report.repetitions` says which runs count, :mod:`inferkit.report.judgement` how they are judged,
:mod:`inferkit.report.side_by_side` how all that is shown.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from inferkit.errors import ParameterError, RecordError
from inferkit.report.judgement import TOLERANCE, Judgement, judge, word_of_best
from inferkit.report.labels import BATCH, DEVICE, ENGINE, GPU, MODEL, PRECISION, READER, THREADS, axis_text
from inferkit.report.names import UNNAMED
from inferkit.report.remarks import grouped
from inferkit.report.repetitions import Side, begun, best_sides, points, side
from inferkit.report.store import Row
from inferkit.units import gigabytes

BY = (ENGINE, MODEL, PRECISION)
EQUAL = ("cpu", "cpus", "gpu", DEVICE, "dtype", "shape", "settings")
"""What has to be equal for the storage alone to make the difference. A value that is unknown counts as equal."""
MARKED = (
    *("profile", "notebook", "version", "data_bytes", "covered", "limits", "origin"),
    *(READER, THREADS, BATCH, "ranks", "gpus", GPU, "cores", "bound"),
)
"""What may differ between the best points of storages; it is marked."""


@dataclass(frozen=True)
class Group:
    """One network's sides.

    Parameters
    ----------
    network
        In words.
    labels, sides
        The storage of each side, with its machine where there are several; the best side first.
    judgements
        Of each VALID side after the first, in their order.
    missing
        Storages that were measured with other networks only.
    """

    network: str
    labels: tuple[str, ...]
    sides: tuple[Side, ...]
    judgements: tuple[Judgement, ...]
    missing: tuple[str, ...] = ()

    @property
    def valid(self) -> dict[str, Side]:
        """The sides that are compared, by their labels."""
        return {label: own for label, own in zip(self.labels, self.sides, strict=True) if own.valid}

    def word(self, place: int) -> str:
        """Return the judgement of a side in one word; empty where it is not compared."""
        if place == 0:
            return word_of_best([judgement.word for judgement in self.judgements])
        return self.judgements[place - 1].word if place <= len(self.judgements) else ""

    def differences(self, place: int) -> list[str]:
        """Say in what a side differs from the best one, apart from its storage and machine."""
        first, own = self.sides[0].row, self.sides[place].row
        names = [name for name in (*EQUAL, *MARKED) if len(_known(name, (first, own))) > 1]
        lead = self.labels[0]
        return [f"{_title(name)} {_value(own, name)} ({lead}: {_value(first, name)})" for name in names]


@dataclass(frozen=True)
class Comparison:
    """All networks' groups, and the tolerance by which SAME was told."""

    groups: tuple[Group, ...]
    tolerance: float = TOLERANCE


def compare(
    rows: Iterable[Row],
    *,
    by: Sequence[str] = BY,
    since: datetime | None = None,
    best: bool = False,
    tolerance: float = TOLERANCE,
    allow_different: bool = False,
) -> Comparison:
    """Put storages side by side.

    Parameters
    ----------
    rows
        From :func:`inferkit.report.store.rows`.
    by
        Axes that make the groups. Over all other axes, the best point of each storage is taken.
    since
        Leave out runs that were begun earlier, and take all later ones of a point for its repetitions.
    best
        Take the fastest run of each point, not the newest ones.
    tolerance
        Up to which ratio above 1 storages are the SAME: 0.05 is 5 %.
    allow_different
        Compare runs that differ in more than the storage as well; each side says in what.

    Raises
    ------
    ParameterError
        If the tolerance is no share.
    RecordError
        If there is no pipeline run, or if runs differ in more than the storage.
    """
    if not 0 <= tolerance <= 1:
        message = f"tolerance is {tolerance * 100:g} percent, expected 0 to 100"
        raise ParameterError(message)
    runs = points(pipelines(rows, since))
    chosen = best_sides([side(own, all_of_them=since is not None, fastest=best) for own in runs], by)
    labels = side_labels([own.row for own in chosen])
    keys = [tuple(own.row.get(name) or "" for name in by) for own in chosen]
    groups = [_group(own, by, labels, tolerance) for _, own in grouped(list(zip(labels, chosen, strict=True)), keys)]
    differing = {name: pairs for group in groups for name, pairs in _differing(group)}
    if differing and not allow_different:
        raise RecordError(_refusal(differing))
    return Comparison(tuple(groups), tolerance)


def pipelines(rows: Iterable[Row], since: datetime | None = None) -> list[Row]:
    """Return the pipelines' runs that were begun since a date.

    Raises
    ------
    RecordError
        If there is none.
    """
    runs = [row for row in rows if row["measure"] == "pipeline"]
    kept = [row for row in runs if since is None or begun(row) >= since]
    if not runs:
        message = "no pipeline run among the records: compare needs executed notebooks of stage 03b or 03c"
        raise RecordError(message)
    if since is not None and not kept:
        newest = max(map(begun, runs))
        message = (
            f"none of {len(runs)} pipeline runs was begun since {since:%F %R}; the newest was at {newest:%F %R} UTC"
        )
        raise RecordError(message)
    return kept


def side_labels(rows: Sequence[Row]) -> list[str]:
    """Name each run's storage, with its machine where there are several."""
    several = len({row["machine"] for row in rows}) > 1
    storages = [" ".join(row["storage"].split()) or UNNAMED for row in rows]
    places = [f" on {row['machine']}" if several else "" for row in rows]
    return [f"{storage}{place}" for storage, place in zip(storages, places, strict=True)]


def network_of(row: Row, by: Sequence[str] = BY) -> str:
    """Name what infers: ``onnx resnet18 float32``."""
    words = (axis_text(name, row.get(name) or "") for name in by)
    return " ".join(filter(None, words)) or "pipeline"


def _group(own: Sequence[tuple[str, Side]], by: Sequence[str], everybody: Sequence[str], tolerance: float) -> Group:
    labels, sides = zip(*sorted(own, key=lambda pair: pair[1].place), strict=True)
    judgements = tuple(judge(sides[0], other, tolerance) for other in sides[1:] if other.valid)
    missing = tuple(name for name in dict.fromkeys(everybody) if name not in labels)
    return Group(network_of(sides[0].row, by), labels, sides, judgements, missing)


def _differing(group: Group) -> Iterator[tuple[str, list[str]]]:
    """Yield what differs between sides that should be equal, and the value of each."""
    rows = [own.row for own in group.sides]
    for name in EQUAL:
        if len(_known(name, rows)) > 1:
            told = [f"{row.get(name) or 'unknown'} ({label})" for label, row in zip(group.labels, rows, strict=True)]
            yield name, told


def _known(name: str, rows: Iterable[Row]) -> set[object]:
    return {value for row in rows if (value := row.get(name)) not in (None, "")}


def _refusal(differing: dict[str, list[str]]) -> str:
    lines = [f"- {name}: {', '.join(told)}" for name, told in differing.items()]
    hint = (
        "compare notebooks of one machine and data set, or allow differences (--allow-different), which are then marked"
    )
    return "\n".join(["the runs differ in more than the storage:", *lines, hint])


def _title(name: str) -> str:
    return {"data_bytes": "data set", "covered": "read", "limits": "limits of reads", "version": "inferkit"}.get(
        name, name.replace("_", " ")
    )


def _value(row: Row, name: str) -> str:
    return gigabytes(row[name]) if name == "data_bytes" else str(row[name])
