"""Several processes: a bar per setting with its error, and the speedup over the number of them."""

from collections.abc import Iterator, Sequence

import altair as alt

from inferkit.records.run import Run
from inferkit.report.charts.bars import BAR, bars
from inferkit.report.charts.theme import (
    BARE,
    WIDTH,
    Chart,
    Nothing,
    Rows,
    base,
    demo_note,
    legend,
    panels,
    series_scale,
    styled,
)
from inferkit.report.labels import BATCH, axis_text, error_of, images_text, interval, share_text, sort_key
from inferkit.report.scaling import Gain, grouped, multi, rate_of, setting, smallest_of, work, workers


def scaling(runs: Sequence[Run]) -> Chart:
    """Draw a bar per setting, with its 95 % interval, and beside it speedup and efficiency."""
    rows = [row for _, group in _groups(runs) for row in _bars(group)]
    if len(rows) < 2:
        return Nothing("scaling: fewer than two settings were measured")
    lie = bars(rows, "setting")
    x = alt.X("value:Q", title="images/s", axis=alt.Axis(tickCount=6))
    plot = alt.Chart().properties(width=BARE, height=lie.step)
    opacity = alt.condition("datum.verdict == 'VALID'", alt.value(1.0), alt.value(0.35))
    layers = [
        plot.mark_bar(height=BAR, color="#0072B2", **lie.below).encode(y=lie.y, x=x, opacity=opacity),
        plot.mark_rule(color="#222222", strokeWidth=1.5, **lie.below).encode(y=lie.y, x=alt.X("low:Q"), x2="high:Q"),
        lie.words,
    ]
    chart = panels(alt.layer(*layers), lie.rows).resolve_scale(x="independent", y="independent")
    return styled(
        chart, "What do more processes and GPUs bring?", "line: 95 % interval · pale: no valid result", demo_note(runs)
    )


def _groups(runs: Sequence[Run]) -> Iterator[tuple[str, list[Run]]]:
    def name(run: Run) -> str:
        return f"{work(run)} · {axis_text(BATCH, run.point[BATCH])}"

    yield from grouped(multi(runs), name)


def _bars(group: Sequence[Run]) -> Rows:
    smallest = smallest_of(group)
    rows: Rows = []
    for run in group:
        value, gain = rate_of(run), Gain(run, smallest)
        low, high = (None, None) if value is None else interval(value, error_of(run) or 0.0)
        words = [
            images_text(run.measured),
            "" if gain.speedup is None else f"× {gain.speedup:.2f}",
            share_text(gain.efficiency),
        ]
        words += [] if run.verdict == "VALID" else [run.verdict]
        rows.append(
            {
                "panel": f"{work(run)} · {axis_text(BATCH, run.point[BATCH])}",
                "setting": setting(run),
                "value": value,
                "low": low,
                "high": high,
                "note": " · ".join(filter(None, words)),
                "verdict": run.verdict,
            }
        )
    return rows


def speedup(runs: Sequence[Run]) -> Chart:
    """Draw the speedup over the batches inferred side by side, and what would be ideal (dashed)."""
    rows: Rows = []
    for name, group in _groups(runs):
        smallest = smallest_of(group)
        for count, own in grouped(sorted(group, key=workers), workers):
            best = min(own, key=sort_key)
            gain = Gain(best, smallest).speedup
            if gain is not None:
                rows.append({"series": name, "workers": count, "speedup": gain})
    counts = sorted({row["workers"] for row in rows})
    if len(counts) < 2:
        return Nothing("speedup: fewer than two numbers of processes or GPUs were measured")
    least = counts[0]
    ideal = [{"workers": n, "speedup": n / least} for n in counts]
    axis = alt.Axis(values=counts, format="d")
    x = alt.X("workers:Q", title="processes, or GPUs of one process", axis=axis, scale=alt.Scale(zero=False))
    y = alt.Y("speedup:Q", title="speedup over the smallest", scale=alt.Scale(domainMin=0))
    names = list(dict.fromkeys(str(row["series"]) for row in rows))
    colour = alt.Color("series:N", scale=series_scale(names), title=None, legend=legend(names))
    line = base(rows).mark_line(point=alt.OverlayMarkDef(size=40)).encode(x=x, y=y, color=colour)
    dashed = base(ideal).mark_line(strokeDash=[5, 3], color="#222222").encode(x=x, y=y)
    chart = alt.layer(dashed, line).properties(width=WIDTH, height=220)
    key = "dashed: ideal, with resources that grow with the processes"
    return styled(chart, "How well does it scale?", key, demo_note(runs))
