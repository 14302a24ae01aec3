"""The common look of all charts: scales, title, fonts and sizes."""

import textwrap
from collections.abc import Iterable
from typing import Any, NamedTuple

import altair as alt

from inferkit.records.run import Run
from inferkit.report.labels import demo_text
from inferkit.report.palette import GREY, INK, NO_STAGE_COLOUR, SERIES_COLOURS, STAGE_COLOURS, stage_order


class Nothing(NamedTuple):
    """Stands in place of a chart that would show nothing, or a single dot; and says why."""

    why: str


Drawn = alt.Chart | alt.LayerChart | alt.FacetChart | alt.VConcatChart
Chart = Drawn | Nothing
Rows = list[dict[str, Any]]
WIDTH = 400
"""Width of a plot in pixels without its axes: with labels and legend 600 to 800."""
LETTERS = 96
"""Letters in a line of a subtitle: about as wide as a plot with its labels."""
LONGEST = 600
"""Pixels of a label at the most, about 100 letters: a name grows the chart before it is cut."""


def base(rows: Rows) -> alt.Chart:
    """Return a chart over rows; they travel inside the spec, so types are named at each encoding."""
    return alt.Chart(alt.Data(values=tuple(rows)))  # altair copies lists, row by row, with each change of a chart


def stage_scale(names: Iterable[str]) -> alt.Scale:
    """Return the colour scale of the stages that occur."""
    order = stage_order(names)
    return alt.Scale(domain=order, range=[STAGE_COLOURS.get(name, NO_STAGE_COLOUR) for name in order])


def series_scale(names: Iterable[str], *, plain: Iterable[str] = ()) -> alt.Scale:
    """Return a colour scale for names that are not stages, such as readers; ``plain`` ones (peers) are dark."""
    order, dark = list(dict.fromkeys(names)), list(dict.fromkeys(plain))
    colours = [SERIES_COLOURS[i % len(SERIES_COLOURS)] for i in range(len(order))]
    return alt.Scale(domain=order + dark, range=colours + [INK] * len(dark))


def styled(chart: Drawn, heading: str, *subtitle: str) -> Drawn:
    """Give a finished chart its title (the question that it answers), its alternative text and the common look."""
    lines = [part for line in subtitle if line for part in textwrap.wrap(line, LETTERS)]
    title = alt.TitleParams(
        heading,
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
        "axis": {"titleFontWeight": 600, "labelLimit": LONGEST, **words, **lines},
        "axisX": {"labelFlush": False, "labelOverlap": "greedy", "labelSeparation": 6},
        "text": {"color": INK},
        "rule": {"color": INK},
        # Vega-Lite's own marks are translucent, which mixes the stages' colours with what lies below.
        "point": {"opacity": 1},
        "tick": {"opacity": 1},
        "legend": {"labelLimit": WIDTH, "titleLimit": WIDTH, "orient": "bottom", **words},
        "title": {"color": INK, "subtitleColor": GREY},
        "header": {"labelFontWeight": 600, "labelLimit": 2 * LONGEST, "labelColor": INK, "labelFontSize": 11},
    }


def demo_note(runs: Iterable[Run]) -> str:
    """Word in a subtitle that figures of these runs are not for quoting; empty where they are."""
    return demo_text(run.profile for run in runs)
