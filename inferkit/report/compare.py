"""Storages side by side: the best point of each, its ceilings and its bottleneck.

Of a point that was measured repeatedly the newest record of the longest profile is taken, not the fastest: else a
storage would look the faster, the more often it was measured.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from inferkit.errors import RecordError
from inferkit.records.job import PROFILES
from inferkit.records.run import CEILINGS
from inferkit.report.labels import (
    ENGINE,
    MODEL,
    PRECISION,
    VERDICTS,
    demo_text,
    number_text,
    share_text,
    with_error,
)
from inferkit.stats import student
from inferkit.text import text_table

BY = (ENGINE, MODEL, PRECISION)
SAME = ("cpu", "cpus", "gpu", "device", "dtype", "shape", "settings")
"""What has to be equal for the storage alone to make the difference. A value that is unknown counts as equal."""

_POINT = ("storage", "notebook", "where", "cpu", "cpus", "gpu", "dtype", "shape", "settings", "origin")
"""What is equal in all repetitions of a point."""
_LENGTHS = {name: -place for place, name in enumerate(PROFILES)}
"""Sorts profiles from the longest to the shortest."""
_CEILINGS = tuple(f"ceiling_{name}" for name in CEILINGS)
_FIGURES = ("images_per_s", "error", "runs", "predicted_images_per_s", "reached", "bottleneck", *_CEILINGS)
_ABOUT = ("reader", "threads", "batch_size", "profile", "verdict", "caveats", "differs")


def best(frame: pd.DataFrame, by: Sequence[str] = BY) -> pd.DataFrame:
    """Return the best pipeline run of each storage for every value of ``by``.

    It is the fastest VALID one of the longest profile. Without any it is an INVALID one, else a FAILED one: no storage
    vanishes.

    Raises
    ------
    RecordError
        If the table holds no pipeline run.
    """
    runs = frame[frame["measure"] == "pipeline"]
    if runs.empty:
        message = "no pipeline run among the records: compare needs executed notebooks of stage 03b or 03c"
        raise RecordError(message)
    keys = {name: runs[name].map(_key) if name in runs else "" for name in by}
    points = one_per_point(runs).assign(**keys)
    points = points.sort_values(["order", "length", "images_per_s"], ascending=[True, True, False], kind="stable")
    chosen = points.groupby([*by, "storage"], sort=False, dropna=False).head(1)
    return chosen.drop(columns=["order", "length"]).sort_index()


def one_per_point(runs: pd.DataFrame) -> pd.DataFrame:
    """Return one row per point: VALID before others, then the longest profile, then the newest.

    ``runs`` counts the repetitions like it, and ``error`` is the wider of its own and that of their mean (95 %). A run
    that several notebooks show is one.
    """
    known = runs.drop_duplicates("id")[::-1]  # of equal times the last counts
    known = known.assign(order=known["verdict"].map(VERDICTS.index), length=known["profile"].map(_LENGTHS).fillna(1))
    known = known.sort_values(["order", "length", "started"], ascending=[True, True, False], kind="stable")
    alike = known.groupby([*_POINT, "verdict", "profile"], sort=False, dropna=False)["images_per_s"]
    count = alike.transform("size")
    quantile = count.map(lambda n: student(int(n) - 1) if n > 1 else float("nan"))
    spread = quantile * alike.transform("std") / alike.transform("mean") / np.sqrt(count)
    known = known.assign(runs=count, error=np.fmax(known["half_width"], spread))
    return known.groupby(list(_POINT), sort=False, dropna=False).head(1)


def _key(value: object) -> str:
    """Word a coordinate: pandas makes floats of integers, and NaN of what a point lacks."""
    if value is None or value != value:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def compare(frame: pd.DataFrame, *, by: Sequence[str] = BY, allow_different: bool = False) -> pd.DataFrame:
    """Put storages side by side.

    Parameters
    ----------
    frame
        From :func:`inferkit.report.store.load`.
    by
        Axes that make the rows. Over all other axes, the best point of each storage is taken.
    allow_different
        Compare runs that differ in more than the storage as well; the column ``differs`` says in what.

    Returns
    -------
    table
        One row per value of ``by``; columns ``(storage, field)``: images_per_s, predicted_images_per_s, reached,
        bottleneck, ceiling_<stage> (all in images per second), the point, profile and verdict.

    Raises
    ------
    RecordError
        If there is no pipeline run, or if runs differ in more than the storage.
    """
    chosen = best(frame, by)
    found = {key: _differences(group) for key, group in chosen.groupby(list(by), sort=False)}
    differing = {key: names for key, names in found.items() if names}
    if differing and not allow_different:
        raise RecordError(_refusal(chosen, sorted({name for names in differing.values() for name in names})))
    if differing:
        marks = [_mark(row, found[tuple(row[name] for name in by)]) for row in chosen.to_dict("records")]
        chosen = chosen.assign(differs=marks)
    fields = [name for name in (*_FIGURES, *_ABOUT) if name in chosen]
    storages = list(dict.fromkeys(chosen["storage"]))
    columns = pd.MultiIndex.from_product([storages, fields], names=["storage", None])
    wide = chosen.set_index([*by, "storage"])[fields].unstack("storage")
    return pd.DataFrame({column: wide[column[::-1]] for column in columns}, index=wide.index, columns=columns)


def _differences(group: pd.DataFrame) -> list[str]:
    """Return the names of what differs within one row of the comparison."""
    return [name for name in SAME if name in group and len(set(group[name].dropna()) - {""}) > 1]


def _refusal(chosen: pd.DataFrame, names: Sequence[str]) -> str:
    lines = []
    for name in names:
        pairs = chosen[["storage", name]].drop_duplicates().itertuples(index=False)
        lines.append(f"- {name}: " + ", ".join(f"{value or 'unknown'} ({storage})" for storage, value in pairs))
    hint = "compare notebooks of one machine and data set, or allow differences, which are then marked"
    return "\n".join(["the runs differ in more than the storage:", *lines, hint])


def _mark(row: Mapping[Hashable, Any], names: Sequence[str]) -> str:
    return "; ".join(f"{name}: {row[name] or 'unknown'}" for name in names)


def text(table: pd.DataFrame) -> str:
    """Word a comparison for a terminal of 100 columns: one block per row, one line per storage."""
    return "\n\n".join("\n".join(_block(key, row)) for key, row in table.iterrows())


def _block(key: object, row: "pd.Series[Any]") -> Iterator[str]:
    words = key if isinstance(key, tuple) else (key,)
    yield " · ".join(str(word) for word in words if word) or "pipeline"
    storages = list(dict.fromkeys(row.index.get_level_values(0)))
    lines = {storage: row[storage].to_dict() for storage in storages}
    ceilings = [name for name in _CEILINGS if any(_number(line.get(name)) is not None for line in lines.values())]
    head = [
        "storage",
        "images/s",
        "runs",
        "predicted",
        "reached",
        "bottleneck",
        *(name.removeprefix("ceiling_") for name in ceilings),
    ]
    rows = [_line(storage, line, ceilings) for storage, line in lines.items()]
    right = [1, 2, 3, 4, *range(6, 6 + len(ceilings))]
    yield from ("  " + line for line in text_table(rows, [*head, "verdict"], numbers=right))
    if tied := _tied(lines):
        yield f"  no difference found: {' and '.join(tied)}"
    if demo := demo_text(line.get("profile") for line in lines.values()):
        yield f"  {demo}"
    for storage, line in lines.items():
        if isinstance(beside := line.get("caveats"), str) and beside:
            yield f"  {storage}: {beside}"
    marks = {storage: line["differs"] for storage, line in lines.items() if line.get("differs")}
    yield from (f"  differs in more than the storage: {storage}: {mark}" for storage, mark in marks.items())


def _tied(lines: Mapping[str, Mapping[str, object]]) -> list[str]:
    """Return the storages between which no difference is known: the fastest, and those whose interval meets its own."""
    rates = {name: _number(line["images_per_s"]) or 0.0 for name, line in lines.items() if line["verdict"] == "VALID"}
    errors = {name: _number(lines[name]["error"]) for name in rates}
    halves = {name: float("inf") if error is None else rates[name] * error for name, error in errors.items()}
    first = max(rates, key=lambda name: rates[name], default="")
    tied = [name for name in rates if rates[name] + halves[name] >= rates[first] - halves[first]]
    return tied if len(tied) > 1 else []


def _line(storage: str, line: dict[str, object], ceilings: Sequence[str]) -> list[str]:
    verdict = line["verdict"] if isinstance(line["verdict"], str) else "not measured"
    bottleneck = line["bottleneck"] if isinstance(line["bottleneck"], str) else "–"
    runs = _number(line["runs"])
    measured = with_error(_number(line["images_per_s"]), _number(line["error"]))
    figures = [measured, "–" if runs is None else f"{runs:.0f}", number_text(_number(line["predicted_images_per_s"]))]
    limits = [number_text(_number(line[name])) for name in ceilings]
    return [storage, *figures, share_text(_number(line["reached"])), bottleneck, *limits, verdict]


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and value == value else None
