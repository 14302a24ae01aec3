"""The common look of all charts: scales, title, fonts and sizes."""

import textwrap
from collections.abc import Iterable
from typing import Any, NamedTuple

import altair as alt
from altair.utils.schemapi import debug_mode

from inferkit.records.run import Run
from inferkit.report.labels import demo_text
from inferkit.report.palette import GREY, INK, NO_STAGE_COLOUR, SERIES_COLOURS, STAGE_COLOURS, stage_order


class Nothing(NamedTuple):
    """Stands in place of a chart that would show nothing, or a single dot; and says why."""

    why: str


Drawn = alt.Chart | alt.LayerChart | alt.FacetChart | alt.VConcatChart
Chart = Drawn | Nothing
Rows = list[dict[str, Any]]
WIDEST = 450
"""Pixels of a chart at the most: what JupyterLab leaves beside cell and menu in a window of 600."""
WIDTH = 370
"""Width of a plot in pixels; with its axis it is no wider than a chart may be."""
BARE, NOTED = 415, 250
"""Widths of a plot without labels to its left, and of one with words to its right as well."""
LETTERS, HEADING, TITLE = 72, 60, 54
"""Letters in a line of words, of a panel's heading and of a title: no wider than a chart."""
LINE = 14
"""Pixels of a line of words."""
_SPLIT = r"split(datum.label, '\n')"


def base(rows: Rows) -> alt.Chart:
    """Return a chart over rows; they travel inside the spec, so types are named at each encoding."""
    with debug_mode(False):  # it else holds each row against a schema: 0.7 s for 4,000 that say nothing of the chart
        data = alt.Data(values=tuple(rows))  # altair copies lists, row by row, with each change of a chart
    return alt.Chart(data)


def stage_scale(names: Iterable[str]) -> alt.Scale:
    """Return the colour scale of the stages that occur."""
    order = stage_order(names)
    return alt.Scale(domain=order, range=[STAGE_COLOURS.get(name, NO_STAGE_COLOUR) for name in order])


def series_scale(names: Iterable[str], *, plain: Iterable[str] = ()) -> alt.Scale:
    """Return a colour scale for names that are not stages, such as readers; ``plain`` ones (peers) are dark."""
    order, dark = list(dict.fromkeys(names)), list(dict.fromkeys(plain))
    colours = [SERIES_COLOURS[i % len(SERIES_COLOURS)] for i in range(len(order))]
    return alt.Scale(domain=order + dark, range=colours + [INK] * len(dark))


def folded(text: str, letters: int = LETTERS) -> list[str]:
    """Return words in lines that are no wider than a chart."""
    return textwrap.wrap(text, letters)


def panels(plot: alt.Chart | alt.LayerChart, rows: Rows, field: str = "panel", *, padding: int = 4) -> alt.FacetChart:
    """Stack one plot per value of a field, each under its heading, which is folded.

    Parameters
    ----------
    plot
        Without data of its own: a layer that has some would show every panel's rows in each panel.
    rows
        All rows, in the order of the panels.
    padding
        Pixels between a heading and its plot.
    """

    def heading(text: str) -> str:
        return "\n".join(part for line in text.split("\n") for part in folded(line, HEADING))

    headings = {text: heading(str(text)) for text in {row[field] for row in rows}}
    named = [{**row, field: headings[row[field]]} for row in rows]
    header = alt.Header(labelOrient="top", labelAnchor="start", labelAngle=0, labelPadding=padding, labelExpr=_SPLIT)
    order = list(dict.fromkeys(row[field] for row in named))
    facet = alt.Facet(f"{field}:N", sort=order, header=header, title=None)
    made: alt.FacetChart = plot.facet(facet=facet, columns=1, data=base(named).data, spacing=LINE)
    return made


def legend(names: Iterable[str], **options: Any) -> alt.Legend:
    """Return a legend of as many columns as names fit beside each other."""
    longest = max(map(len, names), default=1)
    return alt.Legend(columns=max(1, LETTERS // (longest + 5)), **options)


def styled(chart: Drawn, heading: str, *subtitle: str) -> Drawn:
    """Give a finished chart its title (the question that it answers), its alternative text and the common look."""
    lines = [part for line in subtitle if line for part in folded(line)]
    words = folded(heading, TITLE)
    title = alt.TitleParams(
        words if len(words) > 1 else heading,
        subtitle=lines,
        anchor="start",
        fontSize=14,
        fontWeight=600,
        offset=10,
        color=INK,
        subtitleFontSize=11,
        subtitleColor=GREY,
    )
    named = chart.properties(title=title, description=". ".join([heading, *lines]))
    return named.properties(config=look())


def look() -> dict[str, Any]:
    """Return the common configuration, of Vega-Lite's own names.

    Every colour is named: where one is left out, JupyterLab's dark theme takes its own, white on our white ground.
    """
    words = {"labelColor": INK, "titleColor": INK, "labelFontSize": 11, "titleFontSize": 11}
    lines = {"domainColor": GREY, "tickColor": GREY, "gridColor": "#E6E6E6"}
    return {
        "background": "white",
        "view": {"stroke": None},
        "axis": {"titleFontWeight": 600, "labelLimit": WIDEST, **words, **lines},
        "axisX": {"labelFlush": False, "labelOverlap": "greedy", "labelSeparation": 6},
        "text": {"color": INK},
        "rule": {"color": INK},
        # Vega-Lite's own marks are translucent, which mixes the stages' colours with what lies below.
        "point": {"opacity": 1},
        "tick": {"opacity": 1},
        "legend": {"labelLimit": WIDTH - 20, "titleLimit": WIDTH, "orient": "bottom", **words},
        "title": {"color": INK, "subtitleColor": GREY},
        "header": {"labelFontWeight": 600, "labelLimit": WIDEST, "labelColor": INK, "labelFontSize": 11},
    }


def demo_note(runs: Iterable[Run]) -> str:
    """Word in a subtitle that figures of these runs are not for quoting; empty where they are."""
    return demo_text(run.profile for run in runs)
