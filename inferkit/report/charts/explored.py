"""Any columns of a table of records against each other: what `explore` draws."""

from collections.abc import Mapping
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import altair as alt

from inferkit.report.charts.theme import WIDTH, Chart, Nothing, Rows, base, legend, panels, series_scale, styled
from inferkit.report.labels import demo_text, interval
from inferkit.report.palette import INK, VERDICT_COLOURS

if TYPE_CHECKING:
    import pandas as pd

NONE = "none"
"""Chosen for a way to tell records apart that is not used."""
HEIGHT = 260
EDGE = 8
"""Pixels between the outermost points and the edge of the plot."""
_ERROR = "images_per_s"
"""The column whose errors are known: ``half_width``, as a share."""


_SHARES = {"half_width": "95 % interval, ± of the figure", "reached": "measured ÷ predicted", "cov": "cov"}
"""Columns that hold shares, in words."""
_LARGE = 1e7
"""From here on a number's zeros are written as k, M, G."""
_FEW = 10
"""Up to here each whole number has its tick."""
MISSING = "–"


def words(column: str) -> str:
    """Word a column's name: ``images_per_s`` is ``"images/s"``, ``ceiling_read`` is ``"read alone (images/s)"``."""
    if column.startswith("ceiling_"):
        return f"{column.removeprefix('ceiling_')} alone (images/s)"
    return _SHARES.get(column) or column.replace("_per_s", "/s").replace("_", " ")


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
    if x == y:
        return Nothing(f"x and y are both {words(x)}: choose another column for one of them")
    known = frame[frame[x].notna() & frame[y].notna()]
    if known.empty:
        return Nothing(f"none of these records has both {words(x)} and {words(y)}")
    rows = [_row(record, chosen) for record in known.to_dict("records")]
    numeric = all(isinstance(row["x"], int | float) for row in rows)
    right = (
        alt.X("x:Q", title=words(x), scale=alt.Scale(zero=False, nice=False, padding=EDGE), axis=_axis(x, rows, "x"))
        if numeric
        else alt.X("x:N", title=words(x), axis=alt.Axis(labelAngle=0))
    )
    plot = alt.Chart().encode(x=right, color=_colour(rows, chosen["colour"]))
    up = alt.Y("y:Q", title=words(y), scale=alt.Scale(zero=True), axis=_axis(y, rows, "y"))
    marks = plot.mark_point(filled=True, size=70, opacity=0.9).encode(y=up, tooltip=["about:N", "y:Q", "verdict:N"])
    if chosen["shape"] != NONE:
        # Of the same column the same field and domain: then there is one legend of both.
        field = "colour" if chosen["shape"] == chosen["colour"] else "shape"
        names = sorted({row["shape"] for row in rows})
        scale = alt.Scale(domain=names)
        shape = alt.Shape(f"{field}:N", title=words(chosen["shape"]), scale=scale, legend=legend(names))
        marks = marks.encode(shape=shape)
    errors = plot.mark_rule().encode(y="low:Q", y2="high:Q")
    plots = alt.layer(errors, marks).properties(width=WIDTH, height=HEIGHT)
    layers: Any = plots.properties(data=base(rows).data)
    if chosen["row"] != NONE:
        named = [{**row, "row": f"{words(chosen['row'])} {row['row']}"} for row in rows]
        layers = panels(plots, sorted(named, key=itemgetter("row")), "row")
    demo = demo_text(set(known["profile"]))
    return styled(layers, f"{words(y)} over {words(x)}", f"{len(rows)} of {len(frame)} records", demo)


def _row(record: Mapping[Any, Any], chosen: Mapping[str, str]) -> dict[str, Any]:
    """Return what is drawn of a record; what it lacks to be told apart by is a dash."""
    y = record[chosen["y"]]
    half = record.get("half_width") if chosen["y"] == _ERROR else None
    low, high = interval(y, half) if isinstance(half, float) and half == half else (y, y)
    apart = {
        name: MISSING if record[column] != record[column] or record[column] in ("", None) else str(record[column])
        for name in ("colour", "shape", "row")
        if (column := chosen[name]) != NONE
    }
    about = {"about": record["where"], "verdict": record["verdict"]}
    x = record[chosen["x"]]
    return {"x": MISSING if x == "" else x, "y": y, "low": low, "high": high, **apart, **about}


def _axis(column: str, rows: Rows, side: str) -> alt.Axis:
    """Return an axis: shares in percent, whole numbers without fractions, and large ones without their zeros."""
    values = [row[side] for row in rows]
    if column in _SHARES:
        return alt.Axis(format="%")
    if max(values) >= _LARGE:
        return alt.Axis(format="~s")
    if not all(value == int(value) for value in values):
        return alt.Axis()
    few = max(values) <= _FEW
    return alt.Axis(format=",d", values=list(range(int(max(values)) + 1))) if few else alt.Axis(format=",d")


def _colour(rows: Rows, column: str) -> alt.Color | alt.ColorValue:
    if column == NONE:
        return alt.ColorValue(INK)
    names = sorted({row["colour"] for row in rows})
    if column == "verdict":
        scale = alt.Scale(domain=names, range=[VERDICT_COLOURS[name] for name in names])
        return alt.Color("colour:N", title=words(column), scale=scale, legend=legend(names))
    return alt.Color("colour:N", title=words(column), scale=series_scale(names), legend=legend(names))
