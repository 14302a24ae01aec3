"""Several machines: what each number of them reaches beside the ceilings, and each machine's share over time."""

from collections.abc import Sequence

import altair as alt

from inferkit.records.run import Run
from inferkit.report.charts.theme import WIDTH, Chart, Nothing, Rows, demo_note, panels, series_scale, styled
from inferkit.report.headline import best_pipeline
from inferkit.report.labels import labels
from inferkit.report.nodes import of_nodes
from inferkit.report.scaling import NODES

MEASURED, READING, OWN = "measured", "reading alone", "the machines alone"
STRIP = 34
MOST = 16
"""Machines that are drawn: the slowest."""


def over_nodes(runs: Sequence[Run]) -> Chart:
    """Draw images per second over the number of machines, and what reading and the machines would allow alone."""
    rows: Rows = []
    for name, steps in of_nodes(runs):
        for step in steps:
            measured = step.run.measured.images_per_s if step.run.measured else None
            fed = step.fed.images_per_s if step.fed else None
            values = {READING: fed, OWN: step.own, MEASURED: measured}  # the last is drawn over the others
            rows += [
                {"panel": name, "nodes": step.nodes, "series": series, "value": value, "verdict": step.run.verdict}
                for series, value in values.items()
                if value is not None
            ]
    if not rows:
        return Nothing("several machines: none were measured")
    if len({row["nodes"] for row in rows}) == 1:
        return Nothing("over the number of machines: one number was measured; start more workers, or set node_counts")
    axis = alt.Axis(values=sorted({row["nodes"] for row in rows}), format="d")
    x = alt.X("nodes:Q", title="machines", axis=axis, scale=alt.Scale(zero=False))
    y = alt.Y("value:Q", title="images/s", scale=alt.Scale(domainMin=0), axis=alt.Axis(tickCount=5))
    colour = alt.Color("series:N", scale=series_scale([MEASURED, READING, OWN]), title=None)
    dash = alt.StrokeDash("series:N", scale=alt.Scale(domain=[MEASURED, READING, OWN], range=[[1, 0], [6, 3], [2, 2]]))
    opacity = alt.condition("datum.verdict == 'VALID'", alt.value(1.0), alt.value(0.4))
    line = alt.Chart().mark_line(strokeWidth=2).encode(x=x, y=y, color=colour, strokeDash=dash)
    points = alt.Chart().mark_point(size=50, filled=True).encode(x=x, y=y, color=colour, opacity=opacity)
    plot = alt.layer(line, points).properties(width=WIDTH, height=200)
    chart = panels(plot, rows)
    key = "the lower of the two ceilings is what was predicted · pale: no valid result"
    return styled(chart.resolve_scale(y="independent"), "What do more machines bring?", key, demo_note(runs))


def node_strips(runs: Sequence[Run]) -> Chart:
    """Draw each machine's rate over time in the best pipeline of the most machines, the slowest first."""
    kept = [run for run in runs if NODES in run.point and run.facts.get("nodes")]
    most = max((int(run.point[NODES]) for run in kept), default=0)
    run = best_pipeline([run for run in kept if run.point[NODES] == most])
    if run is None:
        return Nothing("each machine over time: no pipeline ran on several")
    nodes = sorted(run.facts["nodes"], key=lambda node: float(node["rate"]))[:MOST]
    begin, end = run.facts["group"]["begin_s"], run.facts["group"]["end_s"]
    rows: Rows = []
    for node in nodes:
        step = (end - begin) / len(node["course"])
        rows += [
            {"node": node["name"], "t": begin + (k + 0.5) * step, "value": value}
            for k, value in enumerate(node["course"])
            if value is not None
        ]
    x = alt.X("t:Q", title="time since the agreed start (s)", scale=alt.Scale(domain=[begin, end], nice=False))
    y = alt.Y("value:Q", title=None, scale=alt.Scale(domainMin=0), axis=alt.Axis(tickCount=2))
    plot = alt.Chart().mark_area(color="#0072B2", opacity=0.8).encode(x=x, y=y)
    chart = panels(plot.properties(width=WIDTH, height=STRIP), rows, "node")
    label = next(label for label, other in zip(labels(runs), runs, strict=True) if other is run)
    more = f"the slowest {MOST} of {most}" if most > MOST else "the slowest first"
    return styled(
        chart, "Did every machine keep up?", f"{label} · {run.facts['group']['unit']}", more, demo_note([run])
    )
