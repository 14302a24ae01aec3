"""The common look of all charts: scales, title, fonts and sizes."""

from collections.abc import Iterable
from typing import Any

import altair as alt

from inferkit.records.run import Run
from inferkit.report.labels import demo_text
from inferkit.report.palette import INK, NO_STAGE_COLOUR, SERIES_COLOURS, STAGE_COLOURS, stage_order

Chart = alt.Chart | alt.LayerChart | alt.FacetChart | alt.VConcatChart
Rows = list[dict[str, Any]]
WIDTH = 400
"""Width of a plot in pixels without its axes: with labels and legend 600 to 800."""
LONGEST = 600
"""Pixels of a label at the most, about 100 letters: a name grows the chart before it is cut."""


def base(rows: Rows) -> alt.Chart:
    """Return a chart over rows; they travel inside the spec, so types are named at each encoding."""
    return alt.Chart(alt.Data(values=rows))


def stage_scale(names: Iterable[str]) -> alt.Scale:
    """Return the colour scale of the stages that occur."""
    order = stage_order(names)
    return alt.Scale(domain=order, range=[STAGE_COLOURS.get(name, NO_STAGE_COLOUR) for name in order])


def series_scale(names: Iterable[str], *, plain: Iterable[str] = ()) -> alt.Scale:
    """Return a colour scale for names that are not stages, such as readers; ``plain`` ones (peers) are dark."""
    order, dark = list(dict.fromkeys(names)), list(dict.fromkeys(plain))
    colours = [SERIES_COLOURS[i % len(SERIES_COLOURS)] for i in range(len(order))]
    return alt.Scale(domain=order + dark, range=colours + [INK] * len(dark))


def styled(chart: Chart, heading: str, *subtitle: str) -> Chart:
    """Give a finished chart its title, its alternative text and the common look."""
    lines = [line for line in subtitle if line]
    title = alt.TitleParams(
        heading,
        subtitle=lines,
        anchor="start",
        fontSize=14,
        fontWeight=600,
        offset=10,
        color=INK,
        subtitleFontSize=11,
        subtitleColor="#555555",
    )
    named = chart.properties(title=title, description=". ".join([heading, *lines]))
    return named.properties(config=look())


def look() -> alt.Config:
    """Return the common configuration."""
    return alt.Config(
        background="white",
        view=alt.ViewConfig(stroke=None),
        axis=alt.AxisConfig(
            labelFontSize=11,
            titleFontSize=11,
            titleFontWeight=600,
            labelLimit=LONGEST,
            gridColor="#E6E6E6",
            labelColor=INK,
        ),
        axisX=alt.AxisConfig(labelFlush=False, labelOverlap="greedy", labelSeparation=6),
        # Vega-Lite's own marks are translucent, which mixes the stages' colours with what lies below.
        point=alt.MarkConfig(opacity=1),
        tick=alt.TickConfig(opacity=1),
        legend=alt.LegendConfig(
            labelFontSize=11, titleFontSize=11, labelLimit=WIDTH, titleLimit=WIDTH, orient="bottom"
        ),
        header=alt.HeaderConfig(labelFontSize=11, labelFontWeight=600, labelLimit=2 * LONGEST, title=None),
    )


def demo_note(runs: Iterable[Run]) -> str:
    """Word in a subtitle that figures of these runs are not for quoting; empty where they are."""
    return demo_text(run.profile for run in runs)


def message(text: str) -> Chart:
    """Return a chart that only says why there is nothing to draw."""
    mark = base([{"text": text}]).mark_text(align="left", fontSize=13, color=INK)
    chart = mark.encode(x=alt.value(0), y=alt.value(15), text="text:N")
    return chart.properties(width=WIDTH, height=30, description=text, config=look())  # type: ignore[no-any-return]
