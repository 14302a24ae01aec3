"""Any columns of a table of records against each other: what `explore` draws."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import altair as alt

from inferkit.report.charts.theme import WIDTH, Chart, Nothing, Rows, base, legend, panels, series_scale, styled
from inferkit.report.labels import demo_text, interval
from inferkit.report.palette import INK

if TYPE_CHECKING:
    import pandas as pd

NONE = "none"
"""Chosen for a way to tell records apart that is not used."""
HEIGHT = 260
_ERROR = "images_per_s"
"""The column whose errors are known: ``half_width``, as a share."""


def words(column: str) -> str:
    """Word a column's name: ``images_per_s`` is ``"images/s"``."""
    return column.replace("_per_s", "/s").replace("_", " ")


def explored(frame: "pd.DataFrame", chosen: Mapping[str, str]) -> Chart:
    """Draw a point for each record, with its 95 % interval where that is known.

    Parameters
    ----------
    frame
        From :func:`inferkit.report.store.load`.
    chosen
        The columns of ``x``, ``y``, ``colour``, ``shape`` and ``row``; the last three may be :data:`NONE`.
    """
    x, y = chosen["x"], chosen["y"]
    known = frame[frame[x].notna() & frame[y].notna()]
    if known.empty:
        return Nothing(f"none of these records has both {words(x)} and {words(y)}")
    rows = [_row(record, chosen) for record in known.to_dict("records")]
    numeric = all(isinstance(row["x"], int | float) for row in rows)
    right = (
        alt.X("x:Q", title=words(x), scale=alt.Scale(zero=False))
        if numeric
        else alt.X("x:N", title=words(x), axis=alt.Axis(labelAngle=0))
    )
    plot = alt.Chart().encode(x=right, color=_colour(rows, chosen["colour"]))
    marks = plot.mark_point(filled=True, size=70, opacity=0.9).encode(
        y=alt.Y("y:Q", title=words(y), scale=alt.Scale(zero=True)), tooltip=["about:N", "y:Q", "verdict:N"]
    )
    if chosen["shape"] != NONE:
        names = {row["shape"] for row in rows}
        marks = marks.encode(shape=alt.Shape("shape:N", title=words(chosen["shape"]), legend=legend(names)))
    errors = plot.mark_rule().encode(y="low:Q", y2="high:Q")
    plots = alt.layer(errors, marks).properties(width=WIDTH, height=HEIGHT)
    layers: Any = plots.properties(data=base(rows).data)
    if chosen["row"] != NONE:
        layers = panels(plots, [{**row, "row": f"{words(chosen['row'])} {row['row']}"} for row in rows], "row")
    demo = demo_text(set(known["profile"]))
    return styled(layers, f"{words(y)} over {words(x)}", f"{len(rows)} of {len(frame)} records", demo)


def _row(record: Mapping[Any, Any], chosen: Mapping[str, str]) -> dict[str, Any]:
    """Return what is drawn of a record; what it lacks to be told apart by is a dash."""
    y = record[chosen["y"]]
    half = record.get("half_width") if chosen["y"] == _ERROR else None
    low, high = interval(y, half) if isinstance(half, float) and half == half else (y, y)
    apart = {
        name: "–" if record[column] != record[column] or record[column] in ("", None) else str(record[column])
        for name in ("colour", "shape", "row")
        if (column := chosen[name]) != NONE
    }
    about = {"about": record["where"], "verdict": record["verdict"]}
    return {"x": record[chosen["x"]], "y": y, "low": low, "high": high, **apart, **about}


def _colour(rows: Rows, column: str) -> alt.Color | alt.ColorValue:
    if column == NONE:
        return alt.ColorValue(INK)
    names = sorted({row["colour"] for row in rows})
    return alt.Color("colour:N", title=words(column), scale=series_scale(names), legend=legend(names))
