"""Each storage over the dates at which it was measured."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import altair as alt

from inferkit.records.notebooks import Stored
from inferkit.records.run import Run
from inferkit.report.charts.theme import WIDTH, Chart, Nothing, Rows, demo_note, legend, panels, series_scale, styled
from inferkit.report.store import rows
from inferkit.report.trend import NOTHING, Line, trends

HEIGHT = 140


def trend(runs: Sequence[Run], *, since: datetime | None = None) -> Chart:
    """Draw the figure of each date with its interval, a panel for each network, a line for each storage and machine.

    Parameters
    ----------
    runs, since
        Of those that were begun since then, as :func:`inferkit.report.trend.trends` takes them.
    """
    stored = [Stored(run, Path()) for run in runs if run.measure == "pipeline"]
    lines = trends(rows(stored), since=since) if stored else []
    if not lines:
        return Nothing(NOTHING)
    dots = [row for line in lines for row in _dots(line)]
    # Dates are drawn in the zone of whoever looks unless the scale is of UTC.
    x = alt.X(
        "date:T",
        scale=alt.Scale(type="utc"),
        title="date (UTC)",
        axis=alt.Axis(format="%Y-%m-%d", tickCount=4, labelFlush=True),
    )
    y = alt.Y("value:Q", title="images/s", scale=alt.Scale(zero=False))
    names = [line.label for line in lines]
    colour = alt.Color("storage:N", scale=series_scale(names), title=None, legend=legend(names))
    plot = alt.Chart().properties(width=WIDTH, height=HEIGHT)
    layers = [
        plot.mark_rule(strokeWidth=1.5).encode(x=x, y=alt.Y("low:Q"), y2="high:Q", color=colour),
        plot.mark_line(strokeWidth=2, point=True).encode(x=x, y=y, color=colour),
    ]
    chart = panels(alt.layer(*layers), dots).resolve_scale(y="independent")
    return styled(chart, "Did a storage become slower?", "upright lines: 95 %", demo_note(runs))


def _dots(line: Line) -> Rows:
    return [
        {
            "panel": line.network,
            "storage": line.label,
            "date": f"{day.until:%F}",
            "value": day.rate,
            "low": max(0.0, (day.rate or 0.0) - (day.half or 0.0)),
            "high": (day.rate or 0.0) + (day.half or 0.0),
        }
        for day in line.days
    ]
