"""Where a network's time goes: its layers, as the engine timed them one by one."""

from collections.abc import Sequence

import altair as alt

from inferkit.records.run import Run
from inferkit.report.charts.bars import BAR, bars
from inferkit.report.charts.theme import BARE, Chart, Nothing, Rows, base, demo_note, styled
from inferkit.report.labels import network_text
from inferkit.report.palette import STAGE_COLOURS

LONGEST = 25
"""Layers that the chart shows; the others are summed up in one bar."""
NAME = 60


def layer_rows(run: Run) -> Rows:
    """Return the longest layers of a run, and one row for all others."""
    times = sorted(((str(name), float(ms)) for name, ms in run.facts["layers_ms"]), key=lambda entry: -entry[1])
    rest = sum(ms for _, ms in times[LONGEST:])
    shown = times[:LONGEST] + ([(f"{len(times) - LONGEST} others", rest)] if rest else [])
    return [{"layer": f"{place + 1}. {name[:NAME]}", "ms": ms} for place, (name, ms) in enumerate(shown)]


def layer_times(runs: Sequence[Run]) -> Chart:
    """Draw the time of each layer of one batch, the longest first; of several profiled runs the last."""
    profiled = [run for run in runs if run.facts.get("layers_ms")]
    if not profiled:
        return Nothing("layers: none were timed; set layer_profile: true with engine tensorrt")
    rows = layer_rows(profiled[-1])
    lie = bars(rows, "layer")
    x = alt.X("ms:Q", title="time in one batch (ms)")
    bar = alt.Chart().mark_bar(height=BAR, color=STAGE_COLOURS["infer"], **lie.below)
    chart = alt.layer(bar.encode(y=lie.y, x=x, tooltip=["layer:N", "ms:Q"]), lie.words, data=base(lie.rows).data)
    demo = demo_note(profiled[-1:])
    heading = f"Which layers of {network_text(profiled[-1])} take the time?"
    return styled(
        chart.properties(width=BARE, height=lie.step),
        heading,
        "each layer is timed alone: compare layers, not sums",
        demo,
    )
