"""The charts, by name. Each takes runs and returns an Altair chart; without anything to draw, one that says why."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import altair as alt

from inferkit.records.figures import several
from inferkit.records.run import Run
from inferkit.report.charts import rows as table_rows
from inferkit.report.charts.bars import BAR, bars
from inferkit.report.charts.theme import (
    BARE,
    HEADING,
    NOTED,
    WIDTH,
    Chart,
    Nothing,
    Rows,
    base,
    demo_note,
    folded,
    panels,
    stage_scale,
    styled,
)
from inferkit.report.compare import compare
from inferkit.report.labels import ENGINE, MODEL, PRECISION, demo_text, network_text, quoting_text
from inferkit.report.palette import ALARM, INK, NO_STAGE, stage_order
from inferkit.report.remarks import grouped
from inferkit.report.repetitions import Side
from inferkit.report.side_by_side import rate_text
from inferkit.report.store import rows_of

if TYPE_CHECKING:
    import pandas as pd

STEP = 24
"""Height of a bar with its gap, in pixels."""

_FADED = alt.condition("datum.verdict == 'VALID'", alt.value(1.0), alt.value(0.35))
_OUTLINE = alt.condition("datum.verdict == 'VALID'", alt.value(None), alt.value(ALARM))
_AXIS = alt.Axis(tickCount=6)
_LEGEND = alt.Legend(symbolType="square", symbolStrokeWidth=0)


def throughput(runs: Sequence[Run]) -> Chart:
    """Draw one bar per point, with its ceilings and prediction; the colour names the bottleneck.

    Where there are pipelines, stages alone are not drawn. Each network has its own axis, since a network may be a
    thousand times slower than none; one without any figure is named instead.
    """
    if not runs:
        return Nothing("throughput: no runs to draw")
    pipelines = [run for run in runs if run.measure == "pipeline"]
    kept, left_out = table_rows.ranked(pipelines or runs, table_rows.BARS)
    unit = table_rows.quantity(kept)
    groups = dict(grouped(kept, [network_text(run) for run in kept]))
    bare = [name for name, own in groups.items() if not any(table_rows.is_drawn(run, unit) for run in own)]
    missing = "; ".join(f"{name or 'this'}: {table_rows.flaw(groups[name][0])}" for name in bare)
    if len(bare) == len(groups):
        return Nothing(f"throughput: nothing has a figure ({missing})")
    shown = {name: own for name, own in groups.items() if name not in bare}
    stages = {stage for own in shown.values() for run in own for stage in (run.bottleneck or NO_STAGE, *run.ceilings)}
    drawn = [_bars(own, unit, stage_order(stages), name if len(groups) > 1 else "") for name, own in shown.items()]
    key = "bar: measured · line: 95 % interval · diamond: predicted · tick: ceiling · triangle: ceiling beyond the axis"
    chart = drawn[0] if len(drawn) == 1 else alt.vconcat(*drawn, spacing=12).resolve_scale(color="shared")
    without = f"without a figure: {missing}" if missing else ""
    title = "How fast is each point, and how near its prediction?"
    return styled(chart, title, key, left_out, without, demo_note(kept))


def _bars(runs: Sequence[Run], unit: table_rows.Quantity, stages: Sequence[str], title: str) -> alt.LayerChart:
    rows, marks = table_rows.throughput_rows(runs, (ENGINE, MODEL, PRECISION) if title else ())
    lie = bars(rows, "label")
    colour = alt.Color(
        "stage:N", scale=stage_scale(stages), title="bottleneck (of ticks: the ceiling's)", legend=_LEGEND
    )
    x = alt.X("value:Q", title=f"throughput ({unit.unit})", scale=alt.Scale(nice=False), axis=_AXIS)
    plot = alt.Chart()
    bar = plot.mark_bar(height=BAR, strokeWidth=1.5, strokeDash=[4, 2], **lie.below)
    layers = [
        bar.encode(
            y=lie.y, x=x, color=colour, opacity=_FADED, stroke=_OUTLINE, tooltip=["label:N", "value:Q", "verdict:N"]
        ),
        plot.mark_rule(color=INK, strokeWidth=1.5, **lie.below).encode(y=lie.y, x=alt.X("low:Q"), x2="high:Q"),
        _marks(marks, "ceiling").mark_tick(thickness=3, height=20, **lie.below).encode(y=lie.y, x=x, color=colour),
        _marks(marks, "beyond")
        .mark_point(shape="triangle-right", filled=True, size=90, **lie.below)
        .encode(y=lie.y, x=x, color=colour),
        _marks(marks, "predicted")
        .mark_point(shape="diamond", size=60, color=INK, fill="white", **lie.below)
        .encode(y=lie.y, x=x),
        lie.words,
    ]
    chart = alt.layer(*layers, data=base(lie.rows).data).properties(width=BARE, height=lie.step)
    return (
        chart.properties(title=alt.TitleParams(folded(title, HEADING), anchor="start", fontSize=11)) if title else chart
    )


def _marks(rows: Rows, kind: str) -> alt.Chart:
    return base([row for row in rows if row["kind"] == kind])


def ceilings(runs: Sequence[Run] | Run) -> Chart:
    """Draw each stage's ceiling per run, with the measured figure as a line; the bottleneck stands out.

    A run of which one ceiling alone is known has no limit to be found among several.
    """
    runs = [runs] if isinstance(runs, Run) else runs
    kept, left_out = table_rows.ranked([run for run in runs if len(run.ceilings) > 1], table_rows.PANELS)
    rows = table_rows.ceiling_rows(kept)
    if not rows:
        return Nothing("which stage is the limit: no run has the ceilings of two stages")
    unit = table_rows.quantity(kept).unit
    colour = alt.Color("stage:N", scale=stage_scale(str(row["stage"]) for row in rows), legend=None)
    y = alt.Y("stage:N", sort=stage_order(str(row["stage"]) for row in rows), title=None)
    strong = alt.condition("datum.bottleneck", alt.value(1.0), alt.value(0.45))
    plot = alt.Chart().properties(width=NOTED, height=alt.Step(STEP))
    x = alt.X("value:Q", title=f"ceiling ({unit})", scale=alt.Scale(nice=False), axis=_AXIS)
    layers = [
        plot.mark_bar(height=14).encode(y=y, x=x, color=colour, opacity=strong),
        plot.mark_rule(color=INK, strokeWidth=2, strokeDash=[5, 3]).encode(x="measured:Q"),
        plot.mark_text(align="left", fontSize=11, color=INK).encode(y=y, x=alt.value(NOTED + 10), text="note:N"),
    ]
    chart = panels(alt.layer(*layers), rows).resolve_scale(x="independent", y="independent")
    key = "bar: the stage alone · dashed: measured together · →: longer than drawn"
    return styled(chart, "Which stage is the limit?", key, left_out, demo_note(kept))


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
    plot = alt.Chart().properties(width=NOTED, height=alt.Step(STEP))
    layers = [
        plot.mark_rule(strokeWidth=8, strokeCap="butt").encode(y=y, x=x, x2="p99:Q", color=colour),
        plot.mark_tick(thickness=3, height=18, color=INK).encode(y=y, x=x),
        plot.mark_point(shape="circle", filled=True, size=30, color="white", stroke=INK).encode(y=y, x="p90:Q"),
        plot.mark_text(align="left", fontSize=11, color=INK).encode(y=y, x=alt.value(NOTED + 10), text="note:N"),
    ]
    chart = panels(alt.layer(*layers), rows).resolve_scale(y="independent")
    return styled(
        chart,
        "How long does a batch take in each stage?",
        "black tick: median · circle: 90 % · end of the bar: 99 %",
        left_out,
        demo_note(kept),
    )


def time_series(runs: Sequence[Run], name: str = "images_per_s") -> Chart:
    """Draw a series over time; the warm-up is shaded."""
    there = [run for run in runs if name in run.series and several(run.series[name].values)]
    pipelines = [run for run in there if run.measure == "pipeline"]
    kept, left_out = table_rows.ranked(pipelines or there, table_rows.PANELS)
    rows, unit = table_rows.series_rows(kept, name)
    what = "bandwidth" if name == table_rows.BYTES.field else "throughput" if name == "images_per_s" else name
    if not rows:
        return Nothing(f"{what} over time: no run has two points of it")
    height = 160 if len(kept) == 1 else 90
    plot = alt.Chart().properties(width=WIDTH, height=height)
    x = alt.X("t:Q", title="time since the first batch was asked for (s)")
    y = alt.Y("value:Q", title=unit)
    warm = plot.transform_filter("datum.kind == 'warm-up'").mark_rect(color="#999999", opacity=0.25)
    bins = plot.transform_filter("datum.kind == 'bin'")
    line = bins.mark_line(color="#0072B2", strokeWidth=2, point=alt.OverlayMarkDef(color="#0072B2", size=18))
    chart = panels(alt.layer(warm.encode(x=x, x2="end:Q"), line.encode(x=x, y=y)), rows).resolve_scale(y="independent")
    key = "grey: warm-up, not counted · a gap: no data"
    return styled(chart, f"Is the {what} steady?", key, left_out, demo_note(kept))


def comparison(frame: "pd.DataFrame", *, since: datetime | None = None, best: bool = False) -> Chart:
    """Draw the best pipeline point of each storage, one panel per engine, model and precision that several ran.

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
        if len(group.sides) > 1
        for label, side in zip(group.labels, group.sides, strict=True)
    ]
    if not rows:
        return Nothing("comparison: no network ran from two storages")
    lie = bars(rows, "storage")
    colour = alt.Color(
        "stage:N", scale=stage_scale(str(row["stage"]) for row in rows), title="bottleneck", legend=_LEGEND
    )
    plot = alt.Chart().properties(width=BARE, height=lie.step)
    bar = plot.mark_bar(height=BAR, strokeWidth=1.5, strokeDash=[4, 2], **lie.below)
    x = alt.X("value:Q", title="throughput (images/s)", axis=_AXIS)
    told = ["storage:N", "value:Q", "verdict:N"]
    drawn = bar.encode(y=lie.y, x=x, color=colour, opacity=_FADED, stroke=_OUTLINE, tooltip=told)
    error = plot.mark_rule(color=INK, strokeWidth=1.5, **lie.below).encode(y=lie.y, x=alt.X("low:Q"), x2="high:Q")
    chart = panels(alt.layer(drawn, error, lie.words), lie.rows).resolve_scale(x="independent", y="independent")
    demo = demo_text(set(frame["profile"]))
    return styled(
        chart,
        "From which storage does this server infer the most?",
        "the best point of each storage · line: 95 % interval",
        demo,
    )


def _compared(network: str, label: str, side: Side) -> dict[str, object]:
    verdict = str(side.row["verdict"])
    flag = "" if verdict == "VALID" else verdict
    note = " · ".join(filter(None, [rate_text(side) if side.rate is not None else "", flag]))
    own = {"storage": label, "value": side.rate, "verdict": verdict, "note": note}
    if side.rate is not None and side.half is not None:
        own |= {"low": max(0.0, side.rate - side.half), "high": side.rate + side.half}
    stage = side.row.get("bottleneck") or NO_STAGE
    return {"panel": network, **own, "stage": stage, "quoting": quoting_text(verdict, str(side.row["profile"]))}
