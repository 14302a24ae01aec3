"""Charts of stages measured alone: bandwidth over the size of a transfer, and over threads and batch sizes."""

from collections.abc import Sequence

import altair as alt

from inferkit.records.run import Run
from inferkit.report.charts.theme import (
    WIDTH,
    Chart,
    Drawn,
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
    DEVICE,
    DIRECTION,
    GPU,
    HOST_COPY,
    MEMORY,
    NODE,
    READER,
    SIZE,
    THREADS,
    VERDICTS,
    axis_text,
    gpu_name,
    link,
    point_text,
    series_names,
)
from inferkit.report.palette import ALARM, INK
from inferkit.report.reference import normal_text
from inferkit.units import bandwidth

HEIGHT = 200
_SHAPES = alt.Scale(domain=list(VERDICTS), range=["circle", "triangle-up", "cross"])
# Vega's expressions have no binary prefixes; the sizes are those of buffers, so KiB and MiB are what people look for.
_BINARY = (
    "datum.value >= 1073741824 ? format(datum.value / 1073741824, '.3~g') + ' GiB' : "
    "datum.value >= 1048576 ? format(datum.value / 1048576, '.3~g') + ' MiB' : "
    "datum.value >= 1024 ? format(datum.value / 1024, '.3~g') + ' KiB' : datum.value + ' B'"
)


def transfer_sweep(runs: Sequence[Run]) -> Chart:
    """Draw the bandwidth of copies over their size: one line per GPU, coloured by the kind of host memory.

    All GPUs at once are a panel of their own, with the sum. What nvbandwidth reached beside a point is a dash of the
    colour of its line; what the link allows is a dashed line across.
    """
    kept = [run for run in runs if SIZE in run.point and NODE not in run.point]
    sizes = sorted({float(run.point[SIZE]) for run in kept})
    if len(sizes) < 2:
        return Nothing("copies by size: fewer than two sizes were measured")
    series = series_names(kept, MEMORY, (SIZE, DEVICE, GPU))
    ways = [_panel(run) for run in kept]
    rows = [
        {"size": run.point[SIZE], "series": name, "gpu": str(run.point.get(GPU, "")), "link": panel, **row}
        for run, name, panel in zip(kept, series, ways, strict=True)
        for row in (_outcome(run), *_peers(run), *_link_limit(run))
    ]
    # Decades of sizes need a tick each, but a long sweep has more sizes than room.
    axis = alt.Axis(labelExpr=_BINARY, values=sizes[:: -(-len(sizes) // 9)], labelOverlap="greedy")
    scale = alt.Scale(type="log", base=2, nice=False, padding=6)  # at the very edge a rounding loses the last tick
    x = alt.X("size:Q", title="bytes per copy (logarithmic)", scale=scale, axis=axis)
    unique = list(dict.fromkeys(ways))
    whole = _stacked(_lines(rows, x, series, "host memory"), rows, "link")
    where = unique[0] if len(unique) == 1 else ""
    normal = {normal_text(gpu_name(run), "h2d_pinned") for run in kept if link(run) != HOST_COPY}
    key = [*sorted(normal), _peer_key(rows, "what the link allows"), *_lacking(kept), *_flags(kept)]
    return styled(whole, "Which size of copies uses the link fully?", where, *key)


def _panel(run: Run) -> str:
    """Name what a copy went over; copies of several GPUs at once are another matter than those of one."""
    at_once = f"GPUs {run.point[GPU]} at once, sum" if "+" in str(run.point.get(GPU, "")) else ""
    return " · ".join(filter(None, (link(run), at_once)))


def _link_limit(run: Run) -> Rows:
    limit = run.ceilings.get("link")
    return [{"peer": False, "ceiling": limit.bytes_per_s / 1e9}] if limit and limit.bytes_per_s else []


def copy_matrix(runs: Sequence[Run]) -> Chart:
    """Draw the bandwidth between each GPU and the memory of each NUMA node, one panel per direction."""
    kept = [run for run in runs if SIZE in run.point and NODE in run.point]
    if not kept:
        return Nothing("GPU × NUMA node: nothing to draw without a GPU and several NUMA nodes")
    rows = [
        {
            "gpu": point_text(run, [GPU]),
            "node": point_text(run, [NODE]),
            "panel": str(run.point.get(DIRECTION, "in")),
            "value": value / 1e9 if run.verdict == "VALID" else None,
            "text": " · ".join(
                filter(None, (bandwidth(value) if value else "", "" if run.verdict == "VALID" else run.verdict))
            ),
        }
        for run in kept
        for value in [(run.measured.bytes_per_s if run.measured else None) or 0.0]
    ]
    gpus, nodes = (list(dict.fromkeys(str(row[axis]) for row in rows)) for axis in ("gpu", "node"))
    plot = alt.Chart().properties(width=WIDTH, height=alt.Step(26))
    x = alt.X("node:O", sort=nodes, title=None, axis=alt.Axis(labelAngle=0, orient="top"))
    y = alt.Y("gpu:O", sort=gpus, title=None)
    colour = alt.Color("value:Q", scale=alt.Scale(range=["#F1F1F1", "#E69F00"], zero=True), legend=None)
    chart = alt.layer(
        plot.mark_rect(stroke="white").encode(x=x, y=y, color=colour), plot.mark_text().encode(x=x, y=y, text="text:N")
    )
    whole = _stacked(chart, rows, "panel")
    what = f"{axis_text(SIZE, kept[0].point[SIZE])}, {kept[0].point.get(MEMORY, '')} memory"
    demo = demo_note(kept)
    return styled(whole, "Which memory is near to which GPU? (GB/s)", what, demo)


def read_sweep(runs: Sequence[Run]) -> Chart:
    """Draw the bandwidth of reading over threads, one line per reader, one panel per batch size.

    Peers, such as fio, are drawn as dashes of the colour of the reader that they were run beside; the device's own
    ceiling, as far as one was measured, as a dashed line across. Readers that read nothing, such as ``mapped``, have no
    bandwidth and are left out.
    """
    reads = [run for run in runs if READER in run.point and THREADS in run.point]
    if not reads:
        return Nothing(f"read sweep: no run has the axes {READER!r} and {THREADS!r}")
    kept = [run for run in reads if run.measured or run.verdict != "VALID"]
    nothing = dict.fromkeys(str(run.point[READER]) for run in reads if run not in kept)
    left_out = f"{', '.join(nothing)}: reads nothing and has no bandwidth" if nothing else ""
    if len(kept) < 2:
        single = "measured at one point only; set several threads, readers or batch_sizes" if kept else ""
        return Nothing("; ".join(filter(None, [f"reading by threads: {single or 'no bandwidth'}", left_out])))
    series = series_names(kept, READER, (THREADS, BATCH))
    rows = []
    for run, name in zip(kept, series, strict=True):
        place = {"threads": run.point[THREADS], "panel": axis_text(BATCH, run.point.get(BATCH, "")), "series": name}
        rows += [{**place, **row} for row in (_outcome(run), *_peers(run))]
    rows.sort(key=lambda row: (len(str(row["panel"])), str(row["panel"])))  # batch size 64 stands before 128
    threads = sorted({int(run.point[THREADS]) for run in kept})
    x = alt.X(
        "threads:O", title="reader threads", sort=threads, scale=alt.Scale(type="band"), axis=alt.Axis(labelAngle=0)
    )
    names = {str(row["panel"]) for row in rows}
    whole = _stacked(_lines(rows, x, series, "reader"), rows, "panel")
    heading = "How many threads does reading need?"
    single = "" if len(names) > 1 else names.pop()
    return styled(
        whole, heading, single, _peer_key(rows, "the device's ceiling"), left_out, *_lacking(kept), *_flags(kept)
    )


def _peers(run: Run) -> Rows:
    """Return what others reached beside a run, in GB/s; the device is a ceiling, not a peer."""
    known = [
        (peer.name, peer.figure.bytes_per_s / 1e9) for peer in run.peers if peer.figure and peer.figure.bytes_per_s
    ]
    return [
        {"peer": False, "ceiling": value} if name == DEVICE else {"peer": True, "peer_name": name, "value": value}
        for name, value in known
    ]


def _peer_key(rows: Rows, ceiling: str) -> str:
    names = dict.fromkeys(str(row["peer_name"]) for row in rows if row["peer"])
    dashes = f"short dash: {', '.join(names)}, beside the line of its colour" if names else ""
    across = f"dashed line: {ceiling}" if any("ceiling" in row for row in rows) else ""
    return " · ".join(filter(None, (dashes, across)))


def _lacking(runs: Sequence[Run]) -> list[str]:
    """Word why peers are missing, each reason once."""
    return list(dict.fromkeys(f"{peer.name}: {peer.missing}" for run in runs for peer in run.peers if peer.missing))


def _outcome(run: Run) -> dict[str, object]:
    """Return a run's bandwidth in GB/s, 0 where it failed, so that the failure is on the chart."""
    value = run.measured.bytes_per_s if run.measured else None
    return {"value": (value or 0.0) / 1e9, "verdict": run.verdict, "peer": False}


def _lines(rows: Rows, x: alt.X, series: Sequence[str], about: str) -> alt.LayerChart:
    y = alt.Y("value:Q", title="bandwidth (GB/s)", scale=alt.Scale(zero=True))
    colour = alt.Color(
        "series:N",
        scale=series_scale(series),
        title=about,
        legend=legend(set(series), symbolStrokeWidth=0),
    )
    shape = alt.Shape("verdict:N", scale=_SHAPES, legend=None)
    plot = alt.Chart().properties(width=WIDTH, height=HEIGHT)
    own = plot.transform_filter("!datum.peer && isValid(datum.value)")
    alarm = alt.condition("datum.verdict == 'VALID'", alt.value(None), alt.value(ALARM))
    layers = [
        own.transform_filter("datum.verdict != 'FAILED'")
        .mark_line(strokeWidth=2)
        .encode(x=x, y=y, color=colour, detail="gpu:N"),
        own.mark_point(filled=True, size=70).encode(x=x, y=y, color=colour, shape=shape, stroke=alarm),
    ]
    if any(row["peer"] for row in rows):
        dashes = plot.transform_filter("datum.peer").mark_tick(thickness=3, orient="horizontal")
        layers.append(dashes.encode(x=x, y=y, color=colour))
    if any("ceiling" in row for row in rows):
        across = plot.transform_filter("isValid(datum.ceiling)").mark_rule(strokeDash=[6, 4], color=INK)
        layers.append(across.encode(y=alt.Y("mean(ceiling):Q", title="bandwidth (GB/s)")))
    return alt.layer(*layers)


def _stacked(plot: alt.LayerChart, rows: Rows, field: str) -> Drawn:
    """Return a panel for each value of a field; where there is one value, the plot alone."""
    if len({row[field] for row in rows}) > 1:
        return panels(plot, rows, field)
    alone: alt.LayerChart = plot.properties(data=base(rows).data)
    return alone


def _flags(runs: Sequence[Run]) -> list[str]:
    """Word how many points are no VALID result, and whether the figures may be quoted."""
    counts = {
        mark: sum(run.verdict == mark.split()[0] for run in runs) for mark in ("INVALID (triangle)", "FAILED (cross)")
    }
    lines = [f"{count} of {len(runs)} points {mark}" for mark, count in counts.items() if count]
    return [*lines, demo_note(runs)]
