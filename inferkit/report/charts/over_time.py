"""What the machine did while a point ran: throughput above, GPUs and CPU below, on one axis of time."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import altair as alt

from inferkit.records.figures import FOREIGN_CPU, several
from inferkit.records.run import Run
from inferkit.report.charts.theme import WIDTH, Chart, Nothing, Rows, base, demo_note, series_scale, styled
from inferkit.report.headline import best_pipeline
from inferkit.report.labels import labels, share_text
from inferkit.report.palette import SERIES_COLOURS

HEIGHT = 70
HOST = "all together"
HOST_CPU = "host_cpu"
FOREIGN_COLOUR = SERIES_COLOURS[5]


class _Panel(NamedTuple):
    """A quantity: its title and unit, what to divide by, and the end of its axis where that is known."""

    title: str
    scale: float = 1.0
    top: float | None = None


_PANELS = {
    "images_per_s": _Panel("images/s"),
    HOST_CPU: _Panel("host CPU (%)", 0.01, 100),
    "busy": _Panel("GPU busy (%)", 0.01, 100),
    "power_w": _Panel("power (W)"),
    "clock_hz": _Panel("SM clock (GHz)", 1e9),
    "temperature_c": _Panel("temperature (°C)"),
    "pcie_in": _Panel("to the GPU (GB/s)", 1e9),
    "pcie_out": _Panel("from the GPU (GB/s)", 1e9),
}
"""By the name of the series, without the GPU's number."""


def machine_over_time(runs: Sequence[Run]) -> Chart:
    """Draw what was sampled while the best pipeline ran, one that infers if there is one; one line per GPU."""
    run = best_pipeline([run for run in runs if run.series])
    if run is None:
        return Nothing("machine over time: no pipeline ran")
    rows = _rows(run)
    if not rows:
        return Nothing("machine over time: nothing was sampled twice while the best pipeline ran")
    names = sorted({str(row["series"]) for row in rows} - {HOST})
    there = [name for name in _PANELS if any(row["name"] == name for row in rows)]
    end = max(float(row["t"]) for row in rows) + 0.5
    panels = [_panel(name, rows, run, names, end, last=name == there[-1]) for name in there]
    chart = alt.vconcat(*panels, spacing=8)
    label = next(label for label, other in zip(labels(runs), runs, strict=True) if other is run)
    demo = demo_note([run])
    key = "grey: warm-up, not counted · a point: the mean over a second, or over a batch that takes longer"
    traffic = "traffic to and from the GPU: samples of 20 ms" if {"pcie_in", "pcie_out"} & set(there) else ""
    return styled(chart, "What did the machine do meanwhile?", label, key, _foreign(run), traffic, demo)


def _foreign(run: Run) -> str:
    """Word what of the host's CPUs others had, which the line of the host counts as well; and how it is drawn."""
    cpus = run.facts.get("cpus")
    share = cpus.get("foreign") if isinstance(cpus, dict) else None
    drawn = "filled, below host CPU: " if HOST_CPU in run.series and FOREIGN_CPU in run.series else ""
    return f"{drawn}other programs had {share_text(share)} of the CPUs' time" if isinstance(share, int | float) else ""


def _rows(run: Run) -> Rows:
    """Return one row per bin and series that has a panel; none of a panel that would show a dot."""
    rows: Rows = []
    lines = set()
    for key in run.series:
        gpu = re.fullmatch(r"gpu(\d+)_(.+)", key)
        name = gpu[2] if gpu else key
        if name in _PANELS:
            place = f"GPU {gpu[1]}" if gpu else HOST
            rows += [{"name": name, "series": place, **bin_} for bin_ in _bins(run, key, _PANELS[name].scale)]
            if several(run.series[key].values):
                lines.add(name)
    return [row for row in rows if row["name"] in lines]


def _bins(run: Run, key: str, scale: float) -> Rows:
    """Return time and value of each bin of a series that is known; none where there is no such series."""
    series = run.series.get(key)
    if series is None:
        return []
    times = [series.start_s + (k + 0.5) * series.step_s for k in range(len(series.values))]
    known = [(t, value) for t, value in zip(times, series.values, strict=True) if value is not None]
    return [{"t": t, "value": value / scale} for t, value in known]


def _panel(name: str, rows: Rows, run: Run, names: Sequence[str], end: float, *, last: bool) -> alt.LayerChart:
    axis = (
        alt.Axis(title="time since the first batch was asked for (s)") if last else alt.Axis(title=None, labels=False)
    )
    x = alt.X("t:Q", scale=alt.Scale(domain=[0, end], nice=False), axis=axis)
    title, _, top = _PANELS[name]
    limits = alt.Scale(zero=True) if top is None else alt.Scale(domain=[0, top])
    y = alt.Y("value:Q", title=title, scale=limits, axis=alt.Axis(tickCount=3))
    legend = alt.Legend() if names else None  # without GPUs there is nothing to tell apart
    colour = alt.Color("series:N", scale=series_scale(names, plain=[HOST]), title=None, legend=legend)
    warm: Rows = [
        {"start": repeat.start_s, "end": repeat.start_s + repeat.seconds} for repeat in run.repeats if repeat.warmup
    ]
    shade = base(warm).mark_rect(color="#999999", opacity=0.25).encode(x=alt.X("start:Q", axis=axis), x2="end:Q")
    own = base([{key: row[key] for key in ("series", "t", "value")} for row in rows if row["name"] == name])
    line = own.mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=18)).encode(x=x, y=y, color=colour)
    others = _bins(run, FOREIGN_CPU, _PANELS[HOST_CPU].scale) if name == HOST_CPU else []
    filled = [base(others).mark_area(color=FOREIGN_COLOUR, opacity=0.6).encode(x=x, y=y)] if others else []
    return alt.layer(shade, *filled, line).properties(width=WIDTH, height=HEIGHT)
