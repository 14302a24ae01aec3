"""What a setting does to a pipeline: batch size, threads, and the energy that an image takes."""

from collections import Counter
from collections.abc import Sequence

import altair as alt

from inferkit.records.run import Run
from inferkit.report.charts.bars import BAR, bars
from inferkit.report.charts.rows import ranked
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
from inferkit.report.labels import (
    BATCH,
    THREADS,
    axis_text,
    images_text,
    interval_of,
    network_text,
    point_text,
    rate_of,
)
from inferkit.report.palette import ALARM
from inferkit.report.scaling import RANKS

HEIGHT = 170
NETWORKS = 6
"""Panels at the most."""
MOST = 8
"""Bars at the most."""


def batch_sizes(runs: Sequence[Run]) -> Chart:
    """Draw images per second over the batch size, one line per number of threads, one panel per network."""
    measured = [run for run in runs if run.measure == "pipeline" and BATCH in run.point and rate_of(run)]
    settings = dict.fromkeys((_network(run), run.point[BATCH], run.point.get(THREADS)) for run in measured)
    counts = Counter(network for network, *_ in settings)
    kept = [run for run in measured if counts[_network(run)] > 1]
    if not kept:
        return Nothing("batch size and threads: measured at one point only; set several batch_sizes or threads")
    networks = list(dict.fromkeys(map(_network, ranked(kept)[0])))
    rows = [_at(run) for run in kept if _network(run) in networks[:NETWORKS]]
    beyond, single = networks[NETWORKS:], [network for network, count in counts.items() if count == 1]
    left_out = [f"{NETWORKS} of {len(networks)} networks; left out: {', '.join(beyond)}"] if beyond else []
    left_out += [f"measured at one point: {', '.join(single)}"] if single else []
    lines = sorted({str(row["line"]) for row in rows}, key=lambda line: (len(line), line))
    x = alt.X("batch:O", title="images per batch", axis=alt.Axis(labelAngle=0))
    y = alt.Y("value:Q", title="images/s", scale=alt.Scale(zero=True))
    colour = alt.Color("line:N", scale=series_scale(lines), title=None, legend=legend(lines))
    plot = alt.Chart().properties(width=WIDTH, height=HEIGHT)
    alarm = alt.condition("datum.verdict == 'VALID'", alt.value(None), alt.value(ALARM))
    layers = [
        plot.mark_line(strokeWidth=2).encode(x=x, y=y, color=colour),
        plot.mark_rule(strokeWidth=2).encode(x=x, y="low:Q", y2="high:Q", color=colour),
        plot.mark_point(filled=True, size=60).encode(x=x, y=y, color=colour, stroke=alarm, tooltip=["text:N"]),
    ]
    rows = [row for network in networks for row in rows if row["network"] == network]
    chart = panels(alt.layer(*layers), rows, "network").resolve_scale(y="independent")
    key = "line through the points: 95 % interval · outlined: not VALID"
    return styled(chart, "Which batch size and how many threads are best?", key, *left_out, demo_note(kept))


def _network(run: Run) -> str:
    return network_text(run) or "pipeline"


def _at(run: Run) -> dict[str, object]:
    low, high = interval_of(run) or (rate_of(run), rate_of(run))
    names = [name for name in run.point if name in (THREADS, RANKS, "reader", "gpus", "cores")]
    return {
        "network": _network(run),
        "line": point_text(run, names),
        "batch": run.point[BATCH],
        "value": rate_of(run),
        "low": low,
        "high": high,
        "verdict": run.verdict,
        "text": f"{axis_text(BATCH, run.point[BATCH])}: {images_text(run.measured)} images/s, {run.verdict}",
    }


def energy(runs: Sequence[Run]) -> Chart:
    """Draw the images that a joule of the GPUs infers, one bar per point, ranked within each network."""
    kept, left_out = ranked([run for run in runs if run.facts.get("images_per_joule")], MOST)
    if len(kept) < 2:
        return Nothing("images per joule: fewer than two points tell their energy")
    rows: Rows = [
        {
            "point": f"{network_text(run)} · {point_text(run, [BATCH, THREADS, RANKS, 'gpus'])}",
            "value": run.facts["images_per_joule"],
            "note": f"{run.facts['images_per_joule']:.3g}" + ("" if run.verdict == "VALID" else f" · {run.verdict}"),
            "verdict": run.verdict,
        }
        for run in kept
    ]
    lie = bars(rows, "point")
    x = alt.X("value:Q", title="images per joule of the GPUs", axis=alt.Axis(tickCount=6))
    bar = alt.Chart().mark_bar(height=BAR, color="#009E73", **lie.below).encode(y=lie.y, x=x)
    chart = alt.layer(bar, lie.words, data=base(lie.rows).data).properties(width=BARE, height=lie.step)
    return styled(chart, "How many images does a joule infer?", left_out, demo_note(kept))
