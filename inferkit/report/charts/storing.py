"""Store JPEG files or tensors: images per second over the bandwidth of the storage, for each way to read."""

from collections.abc import Iterator, Sequence
from typing import Any

import altair as alt

from inferkit.records.run import Run
from inferkit.report.charts.theme import WIDTH, Chart, Nothing, Rows, demo_note, panels, series_scale, styled
from inferkit.report.labels import interval_of, rate_text
from inferkit.report.palette import INK
from inferkit.report.storing import MISSING, Way, answer, here, ways
from inferkit.units import bandwidth

HEIGHT = 190
NETWORKS = 3
"""Panels at the most."""
STEPS = 48
"""Points of a line: it is bent on a logarithmic axis."""
BELOW, ABOVE = 20.0, 3.0
"""How far the axis goes below the lowest and above the highest bandwidth at which something happens."""
DASHES = ([1, 0], [7, 4])
"""So that a line shows below another: all that store alike rise alike."""
GB = 1e9


def jpeg_or_tensors(runs: Sequence[Run]) -> Chart:
    """Draw what each way to store and read would infer of a storage of any bandwidth, and what it did of this one.

    A line rises with the bandwidth, by the bytes that an image takes, up to the lowest ceiling but reading. The rule is
    this machine's storage: the best that reading alone reached. A point is a measured pipeline, at what its own reading
    alone reached; one that reads nothing stands at the bandwidth that it took.
    """
    found = dict(list(ways(runs).items())[:NETWORKS])
    if not found:
        return Nothing(f"store JPEG or tensors: {MISSING}")
    rows: Rows = [row for network, compared in found.items() for row in _rows(network, compared)]
    names = list(dict.fromkeys(str(row["way"]) for row in rows if "way" in row))
    x = alt.X(
        "x:Q",
        title="bandwidth of the storage (GB/s, logarithmic)",
        scale=alt.Scale(type="log", nice=False),
        axis=alt.Axis(tickCount=8, format="~g", grid=False),
    )
    y = alt.Y("y:Q", title="images/s", scale=alt.Scale(zero=True))
    key = alt.Legend(columns=1, symbolType="stroke")
    colour = alt.Color("way:N", scale=series_scale(names), title=None, legend=key)
    dashes = [DASHES[k % len(DASHES)] for k in range(len(names))]
    dash = alt.StrokeDash("way:N", scale=alt.Scale(domain=names, range=dashes), title=None, legend=key)
    plot = alt.Chart().properties(width=WIDTH, height=HEIGHT)
    points = plot.transform_filter("datum.kind == 'measured'")
    rule = plot.transform_filter("datum.kind == 'here'")
    layers = [
        rule.mark_rule(color=INK, strokeDash=[5, 3]).encode(x=x),
        rule.mark_text(fontSize=11, color=INK).encode(x=x, y=alt.value(-7), text="text:N"),
        plot.transform_filter("datum.kind == 'line'")
        .mark_line(strokeWidth=2.5)
        .encode(x=x, y=y, color=colour, strokeDash=dash),
        points.mark_rule(strokeWidth=2).encode(x=x, y="low:Q", y2="high:Q", color=colour),
        points.mark_point(filled=True, size=80, stroke="white", strokeWidth=1).encode(
            x=x, y=y, color=colour, tooltip=["way:N", "text:N"]
        ),
    ]
    chart = panels(alt.layer(*layers), rows, "network", padding=18).resolve_scale(x="independent", y="independent")
    shown = [way.run for compared in found.values() for way in compared]
    told = [f"{network}: {answer(compared)}" for network, compared in found.items()]
    how = "line: bandwidth ÷ bytes of an image, up to the ceiling of the rest · point: measured · rule: this storage"
    return styled(chart, "Store JPEG or tensors?", *told, how, demo_note(shown))


def _rows(network: str, compared: Sequence[Way]) -> Iterator[dict[str, Any]]:
    """Yield the rows of one panel: lines, points, and the storage of this machine."""
    storage = here(compared)
    marks = [mark for way in compared for mark in (way.ceiling * way.nbytes, _took(way))]
    low, high = min(marks) / BELOW, max([*marks, storage or 0.0]) * ABOVE
    for way in compared:
        knee = way.ceiling * way.nbytes
        steps = [low * (high / low) ** (step / STEPS) for step in range(STEPS + 1)]
        line = {"network": network, "way": way.name, "kind": "line"}
        yield from ({**line, "x": each / GB, "y": way.at(each)} for each in sorted([*steps, knee]))
        bottom, top = interval_of(way.run) or (way.rate, way.rate)
        point = {"x": _took(way) / GB, "y": way.rate, "low": bottom, "high": top, "text": rate_text(way.run)}
        yield {**line, "kind": "measured", **point}
    if storage:
        yield {"network": network, "kind": "here", "x": storage / GB, "text": f"reading alone: {bandwidth(storage)}"}


def _took(way: Way) -> float:
    return way.reads or way.rate * way.nbytes
