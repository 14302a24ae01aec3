"""The charts, by name. Each takes runs and returns an Altair chart; without anything to draw, one that says why."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import altair as alt

from inferkit.records.run import Run
from inferkit.report.charts import rows as table_rows
from inferkit.report.charts.theme import WIDTH, Chart, Nothing, Rows, base, demo_note, stage_scale, styled
from inferkit.report.compare import compare
from inferkit.report.labels import ENGINE, MODEL, PRECISION, demo_text, network_text, number_text, quoting_text
from inferkit.report.palette import ALARM, INK, NO_STAGE, stage_order
from inferkit.report.repetitions import Side
from inferkit.report.store import rows_of

if TYPE_CHECKING:
    import pandas as pd

STEP = 24
"""Height of a bar with its gap, in pixels."""

_FADED = alt.condition("datum.verdict == 'VALID'", alt.value(1.0), alt.value(0.35))
_OUTLINE = alt.condition("datum.verdict == 'VALID'", alt.value(None), alt.value(ALARM))
_AXIS = alt.Axis(tickCount=6)
_LEGEND = alt.Legend(symbolType="square", symbolStrokeWidth=0)
_NOTE_COLOUR = alt.condition("!datum.verdict || datum.verdict == 'VALID'", alt.value(INK), alt.value(ALARM))


def throughput(runs: Sequence[Run]) -> Chart:
    """Draw one bar per point, with its ceilings and prediction; the colour names the bottleneck.

    Where there are pipelines, stages alone are not drawn. Each network has its own axis, since a network may be a
    thousand times slower than none.
    """
    if not runs:
        return Nothing("throughput: no runs to draw")
    pipelines = [run for run in runs if run.measure == "pipeline"]
    kept, left_out = table_rows.ranked(pipelines or runs, table_rows.BARS)
    networks = list(dict.fromkeys(network_text(run) for run in kept))
    unit = table_rows.quantity(kept)
    groups = {network: [run for run in kept if network_text(run) == network] for network in networks}
    stages = stage_order({run.bottleneck or NO_STAGE for run in kept} | {name for run in kept for name in run.ceilings})
    panels = [_bars(own, unit, stages, network if len(networks) > 1 else "") for network, own in groups.items()]
    key = "bar: measured · line: 95 % interval · diamond: predicted · tick: ceiling · triangle: ceiling beyond the axis"
    chart = panels[0] if len(panels) == 1 else alt.vconcat(*panels, spacing=12).resolve_scale(color="shared")
    return styled(chart, "How fast is each point, and how near to its prediction?", key, left_out, demo_note(kept))


def _bars(runs: Sequence[Run], unit: table_rows.Quantity, stages: Sequence[str], title: str) -> alt.LayerChart:
    bars, marks = table_rows.throughput_rows(runs, (ENGINE, MODEL, PRECISION) if title else ())
    names = [str(row["label"]) for row in bars]
    y = alt.Y("label:N", sort=names, title=None, scale=alt.Scale(domain=names))
    colour = alt.Color(
        "stage:N", scale=stage_scale(stages), title="bottleneck (of ticks: the ceiling's)", legend=_LEGEND
    )
    x = alt.X("value:Q", title=f"throughput ({unit.unit})", scale=alt.Scale(nice=False), axis=_AXIS)
    plot = alt.Chart()
    bar = plot.mark_bar(height=14, strokeWidth=1.5, strokeDash=[4, 2])
    layers = [
        bar.encode(
            y=y, x=x, color=colour, opacity=_FADED, stroke=_OUTLINE, tooltip=["label:N", "value:Q", "verdict:N"]
        ),
        plot.mark_rule(color=INK, strokeWidth=1.5).encode(y=y, x=alt.X("low:Q"), x2="high:Q"),
        _marks(marks, "ceiling").mark_tick(thickness=3, height=20).encode(y=y, x=x, color=colour),
        _marks(marks, "beyond").mark_point(shape="triangle-right", filled=True, size=90).encode(y=y, x=x, color=colour),
        _marks(marks, "predicted").mark_point(shape="diamond", size=60, color=INK, fill="white").encode(y=y, x=x),
        _notes().encode(y=y),
    ]
    chart = alt.layer(*layers, data=base(bars).data).properties(width=WIDTH, height=STEP * len(names))
    return chart.properties(title=alt.TitleParams(title, anchor="start", fontSize=11)) if title else chart


def _marks(rows: Rows, kind: str) -> alt.Chart:
    return base([row for row in rows if row["kind"] == kind])


def _notes() -> alt.Chart:
    """Return the column of texts to the right of the plot."""
    text = alt.Chart().mark_text(align="left", fontSize=11)
    notes: alt.Chart = text.encode(x=alt.value(WIDTH + 10), text="note:N", color=_NOTE_COLOUR)
    return notes


def ceilings(runs: Sequence[Run] | Run) -> Chart:
    """Draw each stage's ceiling per run, with the measured figure as a line; the bottleneck stands out."""
    runs = [runs] if isinstance(runs, Run) else runs
    kept, left_out = table_rows.ranked([run for run in runs if run.ceilings], table_rows.PANELS)
    rows = table_rows.ceiling_rows(kept)
    if not rows:
        return Nothing("ceilings: no run has any")
    unit = table_rows.quantity(kept).unit
    colour = alt.Color("stage:N", scale=stage_scale(str(row["stage"]) for row in rows), legend=None)
    y = alt.Y("stage:N", sort=stage_order(str(row["stage"]) for row in rows), title=None)
    strong = alt.condition("datum.bottleneck", alt.value(1.0), alt.value(0.45))
    plot = alt.Chart().properties(width=WIDTH, height=alt.Step(STEP))
    x = alt.X("value:Q", title=f"ceiling ({unit})", scale=alt.Scale(nice=False), axis=_AXIS)
    layers = [
        plot.mark_bar(height=14).encode(y=y, x=x, color=colour, opacity=strong),
        plot.mark_rule(color=INK, strokeWidth=2, strokeDash=[5, 3]).encode(x="measured:Q"),
        plot.mark_text(align="left", fontSize=11, color=INK).encode(y=y, x=alt.value(WIDTH + 10), text="note:N"),
    ]
    chart = _panels(alt.layer(*layers), rows).resolve_scale(x="independent", y="independent")
    key = "bar: the stage alone · dashed line: measured together · →: longer than drawn"
    return styled(chart, "Which stage is the limit?", key, left_out, demo_note(kept))


def _panels(layers: alt.LayerChart, rows: Rows) -> alt.FacetChart:
    """Stack one panel per run, in the order of the rows, each under its heading, which may have several lines."""
    order = list(dict.fromkeys(str(row["panel"]) for row in rows))
    lines = r"split(datum.label, '\n')"
    header = alt.Header(labelOrient="top", labelAnchor="start", labelAngle=0, labelPadding=4, labelExpr=lines)
    facet = alt.Facet("panel:N", sort=order, header=header, title=None)
    return layers.facet(facet=facet, columns=1, data=base(rows).data, spacing=14)


def stage_times(runs: Sequence[Run]) -> Chart:
    """Draw the time per batch of each stage: from the median to the 99th percentile."""
    kept, left_out = table_rows.ranked([run for run in runs if run.stages], table_rows.PANELS)
    rows = table_rows.time_rows(kept)
    if not rows:
        return Nothing("stage times: no run has any")
    colour = alt.Color("stage:N", scale=stage_scale(str(row["stage"]) for row in rows), legend=None)
    y = alt.Y("stage:N", sort=stage_order(str(row["stage"]) for row in rows), title=None)
    scale = alt.Scale(type="log", nice=False, padding=12)
    x = alt.X("p50:Q", scale=scale, title="time per batch (ms, logarithmic)", axis=alt.Axis(format="~g", tickCount=6))
    plot = alt.Chart().properties(width=WIDTH, height=alt.Step(STEP))
    layers = [
        plot.mark_rule(strokeWidth=8, strokeCap="butt").encode(y=y, x=x, x2="p99:Q", color=colour),
        plot.mark_tick(thickness=3, height=18, color=INK).encode(y=y, x=x),
        plot.mark_point(shape="circle", filled=True, size=30, color="white", stroke=INK).encode(y=y, x="p90:Q"),
        plot.mark_text(align="left", fontSize=11, color=INK).encode(y=y, x=alt.value(WIDTH + 10), text="note:N"),
    ]
    chart = _panels(alt.layer(*layers), rows).resolve_scale(y="independent")
    return styled(
        chart,
        "How long does a batch take in each stage?",
        "black tick: median · circle: 90 % · end of the bar: 99 %",
        left_out,
        demo_note(kept),
    )


def time_series(runs: Sequence[Run], name: str = "images_per_s") -> Chart:
    """Draw a series over time; the warm-up is shaded."""
    there = [run for run in runs if name in run.series]
    pipelines = [run for run in there if run.measure == "pipeline"]
    kept, left_out = table_rows.ranked(pipelines or there, table_rows.PANELS)
    rows, unit = table_rows.series_rows(kept, name)
    if not rows:
        return Nothing(f"{name} over time: no run has this series")
    height = 160 if len(kept) == 1 else 90
    plot = alt.Chart().properties(width=WIDTH, height=height)
    x = alt.X("t:Q", title="time since the first batch was asked for (s)")
    y = alt.Y("value:Q", title=unit)
    warm = plot.transform_filter("datum.kind == 'warm-up'").mark_rect(color="#999999", opacity=0.25)
    bins = plot.transform_filter("datum.kind == 'bin'")
    line = bins.mark_line(color="#0072B2", strokeWidth=2, point=alt.OverlayMarkDef(color="#0072B2", size=18))
    chart = _panels(alt.layer(warm.encode(x=x, x2="end:Q"), line.encode(x=x, y=y)), rows).resolve_scale(y="independent")
    key = "grey: warm-up, not counted · a gap: no data"
    what = "bandwidth" if name == table_rows.BYTES.field else "throughput" if name == "images_per_s" else name
    return styled(chart, f"Is the {what} steady?", key, left_out, demo_note(kept))


def comparison(frame: "pd.DataFrame", *, since: datetime | None = None, best: bool = False) -> Chart:
    """Draw the best pipeline point of each storage, one panel per engine, model and precision.

    Parameters
    ----------
    frame
        From :func:`inferkit.report.store.load`.
    since, best
        Which runs count, as in :func:`inferkit.report.compare.compare`.
    """
    if frame.empty or not (frame["measure"] == "pipeline").any():
        return Nothing("comparison: no pipeline run to draw")
    groups = compare(rows_of(frame), since=since, best=best, allow_different=True).groups
    rows = [
        _compared(group.network, label, side)
        for group in groups
        for label, side in zip(group.labels, group.sides, strict=True)
    ]
    storages = list(dict.fromkeys(str(row["storage"]) for row in rows))
    y = alt.Y("storage:N", sort=storages, title=None)
    colour = alt.Color(
        "stage:N", scale=stage_scale(str(row["stage"]) for row in rows), title="bottleneck", legend=_LEGEND
    )
    plot = alt.Chart().properties(width=WIDTH, height=alt.Step(STEP))
    bar = plot.mark_bar(height=14, strokeWidth=1.5, strokeDash=[4, 2])
    note = plot.mark_text(align="left", fontSize=11)
    x = alt.X("value:Q", title="throughput (images/s)", axis=_AXIS)
    layers = [
        bar.encode(
            y=y, x=x, color=colour, opacity=_FADED, stroke=_OUTLINE, tooltip=["storage:N", "value:Q", "verdict:N"]
        ),
        note.encode(y=y, x=alt.value(WIDTH + 10), text="note:N", color=_NOTE_COLOUR),
    ]
    chart = _panels(alt.layer(*layers), rows).resolve_scale(x="independent", y="independent")
    demo = demo_text(set(frame["profile"]))
    return styled(chart, "From which storage does this server infer the most?", "the best point of each storage", demo)


def _compared(network: str, label: str, side: Side) -> dict[str, object]:
    verdict = str(side.row["verdict"])
    flag = "" if verdict == "VALID" else verdict
    note = " · ".join(filter(None, [number_text(side.rate) if side.rate is not None else "", flag]))
    own = {"storage": label, "value": side.rate, "verdict": verdict, "note": note}
    stage = side.row.get("bottleneck") or NO_STAGE
    return {"panel": network, **own, "stage": stage, "quoting": quoting_text(verdict, str(side.row["profile"]))}
