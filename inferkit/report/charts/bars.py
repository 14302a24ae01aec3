"""Bars with their names above them: beside them a long name would leave no room in a narrow window, or be cut."""

from typing import Any, NamedTuple

import altair as alt

from inferkit.report.charts.theme import LINE, Rows, folded
from inferkit.report.palette import ALARM, INK

BAR = 14
"""Height of a bar in pixels."""
GAP = 8
_ALARM = alt.condition("!datum.verdict || datum.verdict == 'VALID'", alt.value(INK), alt.value(ALARM))


class Bars(NamedTuple):
    """How rows of bars are laid out.

    Attributes
    ----------
    rows
        Those that were given, with ``text``: name and note, in lines that fit.
    y
        Where a row of the chart is.
    below
        What the marks of a row lie below its words: an option of every mark.
    words
        The layer of the words, in the colour of an alarm where the verdict is not VALID.
    step
        Height of a row.
    """

    rows: Rows
    y: alt.Y
    below: dict[str, Any]
    words: alt.Chart
    step: alt.Step


def bars(rows: Rows, name: str) -> Bars:
    """Lay out a bar for each row, in the order of the rows.

    Parameters
    ----------
    rows
        What is drawn; ``note`` is what else is told of a row.
    name
        The field that names a row.
    """
    worded = [{**row, "text": "\n".join(folded(_text(row, name)))} for row in rows]
    lines = max((row["text"].count("\n") + 1 for row in worded), default=1)
    names = list(dict.fromkeys(str(row[name]) for row in rows))
    y = alt.Y(f"{name}:N", sort=names, axis=None)
    top = alt.Y(f"{name}:N", sort=names, axis=None, bandPosition=0)
    text = alt.Chart().mark_text(align="left", baseline="top", fontSize=11, lineBreak="\n", lineHeight=LINE)
    words = text.encode(y=top, x=alt.value(0), text="text:N", color=_ALARM)
    return Bars(worded, y, {"yOffset": lines * LINE / 2}, words, alt.Step(lines * LINE + BAR + GAP))


def _text(row: dict[str, Any], name: str) -> str:
    return ": ".join(filter(None, (str(row[name]), row.get("note"))))
