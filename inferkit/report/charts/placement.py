"""The plan of ranks as a picture: which cores and GPUs of the machine each gets."""

from collections.abc import Sequence

import altair as alt

from inferkit.machine.topology import Topology, topology
from inferkit.records.place import Placement
from inferkit.report.charts.theme import Chart, Nothing, Rows, legend, panels, series_scale, styled

CELL = 22
ACROSS = 15
"""Squares beside each other; more of a node are in the next line."""
PANELS = 6
IDLE = "not used"
AGAIN = " line "
"""Before the number of a lane's further lines, which have no label."""


def placement_chart(plans: Sequence[Placement], found: Topology | None = None) -> Chart:
    """Draw each plan: a square for every physical core and every GPU, in the colour of its rank.

    Parameters
    ----------
    plans
        From the plan of a notebook.
    found
        The machine; None: this one.
    """
    told = found or topology()
    rows = [row for plan in plans[:PANELS] for row in _cells(plan, told)]
    if not rows:
        return Nothing("where the ranks run: no ranks are planned, or this machine does not list its cores")
    lanes = list(dict.fromkeys(str(row["lane"]) for row in rows))
    ranks = sorted({str(row["rank"]) for row in rows} - {IDLE}, key=_number)
    width = CELL * max(8, *(int(row["x"]) + 1 for row in rows))
    x = alt.X("x:O", axis=None)
    first = f"indexof(datum.value, '{AGAIN}') < 0 ? datum.value : ''"
    y = alt.Y("lane:N", sort=lanes, title=None, axis=alt.Axis(labelExpr=first, ticks=False))
    colour = alt.Color("rank:N", scale=series_scale(ranks, plain=[IDLE]), title=None, legend=legend([*ranks, IDLE]))
    plot = alt.Chart().properties(width=width, height=alt.Step(CELL))
    pale = alt.condition(f"datum.rank == '{IDLE}'", alt.value(0.15), alt.value(0.9))
    layers = [
        plot.mark_rect(stroke="white", strokeWidth=2).encode(x=x, y=y, color=colour, opacity=pale, tooltip=["what:N"]),
        plot.mark_text(fontSize=9, color="#222222").encode(x=x, y=y, text="text:N"),
    ]
    chart = panels(alt.layer(*layers), rows)
    more = f"{PANELS} of {len(plans)} plans" if len(plans) > PANELS else ""
    return styled(chart, "Where do the ranks run?", "a square: a physical core (its first CPU) or a GPU", more)


def _number(name: str) -> int:
    return int(name.split()[-1])


def _cells(plan: Placement, told: Topology) -> Rows:
    gpus = {gpu for place in plan.places for gpu in place.gpus}
    panel = f"{len(plan.places)} rank{'s' if len(plan.places) > 1 else ''}" + (f", {len(gpus)} GPUs" if gpus else "")
    rows: Rows = []
    counts: dict[str, int] = {}

    def add(lane: str, text: str, what: str, owners: Sequence[int]) -> None:
        line, x = divmod(counts.get(lane, 0), ACROSS)
        counts[lane] = counts.get(lane, 0) + 1
        lane += f"{AGAIN}{line:02d}" if line else ""
        rank = f"rank {owners[0]}" if owners else IDLE
        shared = f"{what}: ranks {', '.join(map(str, owners))}" if len(owners) > 1 else f"{what}: {rank}"
        rows.append({"panel": panel, "lane": lane, "x": x, "text": text, "what": shared, "rank": rank})

    for core in told.cores:
        owners = [place.rank for place in plan.places if set(place.cpus) & set(core.cpus)]
        add(f"{_node(core.node)} cores", str(core.cpus[0]), f"CPUs {core.cpus}", owners)
    for gpu, part in told.gpus.items():
        owners = [place.rank for place in plan.places if gpu in place.gpus]
        add(f"{_node(part.node)} GPUs", str(gpu), f"GPU {gpu}", owners)
    return rows


def _node(node: int | None) -> str:
    return "node unknown:" if node is None else f"node {node}:"
