"""Batches one by one: when each stage had them, and how long each took."""

from collections.abc import Iterator, Sequence
from typing import Any

import altair as alt

from inferkit.records.run import Run
from inferkit.report.charts.theme import WIDTH, Chart, Nothing, Rows, base, demo_note, panels, stage_scale, styled
from inferkit.report.headline import best_pipeline
from inferkit.report.labels import network_text, point_text
from inferkit.report.palette import INK, stage_order

LANE = 16
"""Height of a lane in pixels."""


def timeline(runs: Sequence[Run]) -> Chart:
    """Draw when each stage had some tens of batches of the best pipeline: whether stages overlap is seen at once.

    A stage has as many lanes as it had batches at one time. Every other batch is paler, so that one can be followed
    from stage to stage.
    """
    run = best_pipeline([run for run in runs if run.facts.get("batches")])
    rows: Rows = list(_lanes(run.facts["batches"])) if run else []
    if not run or not rows:
        return Nothing("timeline of batches: no pipeline has one")
    stages = stage_order(str(row["stage"]) for row in rows)
    lanes = sorted({str(row["lane"]) for row in rows}, key=lambda lane: (stages.index(lane.split()[0]), lane))
    y = alt.Y("lane:N", sort=lanes, title=None)
    x = alt.X("start:Q", title="time (ms)", scale=alt.Scale(nice=False))
    plot = base(rows).properties(width=WIDTH, height=alt.Step(LANE))
    bars = plot.mark_bar(height=LANE - 4, stroke="white", strokeWidth=0.5).encode(
        y=y,
        x=x,
        x2="end:Q",
        color=alt.Color("stage:N", scale=stage_scale(stages), legend=None),
        opacity=alt.condition("datum.batch % 2", alt.value(1.0), alt.value(0.55)),
        tooltip=["stage:N", "batch:Q", "start:Q", "end:Q"],
    )
    what = " · ".join(filter(None, [network_text(run), point_text(run, ["reader", "threads", "batch_size"])]))
    count = max(int(row["batch"]) for row in rows)
    key = f"{count} batches from the middle of the measurement, one pale, the next not"
    return styled(bars, "Do the stages overlap?", what, key, demo_note([run]))


def _lanes(batches: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Yield one row per stage and batch, in the first lane of the stage that is free."""
    for stage in stage_order(batches):
        free: list[int] = []
        spans = [tuple(map(int, span.split("+"))) for span in batches[stage].split()]
        for batch, (start, length) in sorted(enumerate(spans, 1), key=lambda each: each[1]):
            lane = next((i for i, end in enumerate(free) if end <= start), len(free))
            free[lane : lane + 1] = [start + length]
            name = f"{stage} {lane + 1}"
            yield {"lane": name, "stage": stage, "batch": batch, "start": start / 1e3, "end": (start + length) / 1e3}


def batch_times(runs: Sequence[Run]) -> Chart:
    """Draw how many batches of the best pipeline took how long in each stage."""
    run = best_pipeline([run for run in runs if run.stages])
    rows: Rows = list(_shares(run)) if run else []
    if not run or not rows:
        return Nothing("time per batch: no pipeline has one")
    stages = stage_order({str(row["stage"]) for row in rows})
    x = alt.X("low:Q", scale=alt.Scale(type="log", nice=False), title="time for a batch (ms, logarithmic)")
    y = alt.Y("share:Q", title=None, axis=alt.Axis(format="%", tickCount=2))
    colour = alt.Color("stage:N", scale=stage_scale(stages), legend=None)
    bars = alt.Chart().mark_rect().encode(x=x, x2="high:Q", y=y, y2="zero:Q", color=colour)
    median = alt.Chart().mark_rule(color=INK, strokeDash=[4, 2]).encode(x="p50:Q")
    plot = alt.layer(bars, median).properties(width=WIDTH, height=44)
    chart = panels(plot, rows).resolve_scale(y="independent")
    what = " · ".join(filter(None, [network_text(run), point_text(run, ["reader", "threads", "batch_size"])]))
    return styled(chart, "How long do batches take in each stage?", what, "dashed: median", demo_note([run]))


def _ms(seconds: float) -> str:
    """Word a time in the unit of the axis."""
    milliseconds = seconds * 1e3
    return f"{milliseconds:,.0f} ms" if milliseconds >= 1000 else f"{milliseconds:.3g} ms"


def _shares(run: Run) -> Iterator[dict[str, Any]]:
    """Yield one row per stage and bin of its histogram, in milliseconds."""
    for stage in stage_order(run.stages):
        histogram, times = run.stages[stage].histogram, run.stages[stage].quantiles
        if histogram is None or times is None or not sum(histogram.counts):
            continue
        total = sum(histogram.counts)
        panel = f"{stage}: half below {_ms(times.p50_s)}, 99 % below {_ms(times.p99_s)}"
        edges = [max(edge, 1e-9) * 1e3 for edge in histogram.edges_s]
        for low, high, count in zip(edges, edges[1:], histogram.counts, strict=False):
            own = {"panel": panel, "stage": stage, "p50": max(times.p50_s, 1e-9) * 1e3}
            yield own | {"low": low, "high": high, "share": count / total, "zero": 0}
