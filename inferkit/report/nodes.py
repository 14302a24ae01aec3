"""Several machines: what each number of them reaches, and from which on the storage, not the machines, is the limit."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from inferkit.records.figures import Figure
from inferkit.records.run import Run
from inferkit.report.headline import stage_text
from inferkit.report.labels import (
    BATCH,
    axis_text,
    figure_text,
    measured_text,
    quoting_text,
    rate_of,
    share_text,
    sort_key,
)
from inferkit.report.scaling import NODES, grouped, work
from inferkit.report.tables import Table
from inferkit.units import bandwidth, rate

FEEDS = ("read", "feed")
"""Ceilings in which the storage has a share; the others are the machines' own."""


class Step(NamedTuple):
    """What a number of nodes reaches at its best.

    Parameters
    ----------
    own
        Images per second that the nodes could take if the storage gave as many: their lowest ceiling but reading.
    fed
        What reading alone gives all of them at once.
    efficiency
        The rate for each node ÷ that of the smallest number of them.
    """

    nodes: int
    run: Run
    own: float | None
    fed: Figure | None
    efficiency: float | None


def of_nodes(
    runs: Sequence[Run], measure: str = "pipeline", *, alone: bool = False
) -> Iterator[tuple[str, list[Step]]]:
    """Yield each kind of work with what every number of nodes reaches at it, the smallest first.

    Parameters
    ----------
    alone
        Whether what a single server measured, in 03b or 03c, counts as one node.
    """
    kept = [run for run in runs if run.measure == measure and (alone or NODES in run.point)]
    for name, group in grouped(kept, _name):
        bests = [min(own, key=_order) for _, own in grouped(group, _count)]
        bests.sort(key=_count)
        least = next((run for run in bests if rate_of(run)), None)
        yield name, [_step(run, least) for run in bests]


def _name(run: Run) -> str:
    return f"{work(run)} · {axis_text(BATCH, run.point[BATCH])}" if BATCH in run.point else work(run)


def _order(run: Run) -> tuple[object, ...]:
    return (run.verdict != "VALID", *sort_key(run))


def _count(run: Run) -> int:
    return int(run.point.get(NODES, 1))


def _step(run: Run, least: Run | None) -> Step:
    own = [figure.images_per_s for stage, figure in run.ceilings.items() if stage not in FEEDS and figure.images_per_s]
    ours, theirs = rate_of(run), rate_of(least) if least else None
    scale = _count(run) / _count(least) if least else 1.0
    efficiency = ours / theirs / scale if ours and theirs else None
    return Step(_count(run), run, min(own, default=None), run.ceilings.get("read"), efficiency)


def nodes_table(runs: Sequence[Run]) -> Table:
    """Return, for each number of nodes, reading alone, what was reached, what was predicted, and efficiency."""
    rows = [
        [name, f"{step.nodes}", *_row(step)]
        for measure in ("read", "pipeline")
        for name, steps in of_nodes(runs, measure)
        for step in steps
    ]
    head = [
        "work",
        "nodes",
        "reached",
        "reading alone",
        "predicted",
        "efficiency",
        "slowest node",
        "setting",
        "verdict",
    ]
    return Table(head, rows, "several machines: none were measured")


def _row(step: Step) -> list[str]:
    run = step.run
    slowest = min(run.facts.get("nodes") or [{}], key=lambda node: node.get("rate", 0.0))
    mean = sum(node["rate"] for node in run.facts["nodes"]) / step.nodes if run.facts.get("nodes") else 0.0
    told = f"{slowest['name']} ({share_text(slowest['rate'] / mean)} of the mean)" if mean and step.nodes > 1 else "–"
    setting = axis_text("ranks", run.point.get("ranks", ""))
    verdict = quoting_text(run.verdict, run.profile)
    shown = measured_text(run) if run.measured else "–"
    return [
        shown,
        figure_text(step.fed),
        figure_text(run.predicted),
        share_text(step.efficiency),
        told,
        setting,
        verdict,
    ]


def knees(runs: Sequence[Run]) -> Iterator[tuple[str, str]]:
    """Word from how many nodes on the storage is the bottleneck; of VALID runs whose ceilings are known."""
    for name, steps in of_nodes(runs):
        known = [step for step in steps if step.run.verdict == "VALID" and step.own and _fed(step)]
        if len(known) > 1:
            yield f"{name}, over the number of machines", _knee(known)


def compared(run: Run, runs: Sequence[Run]) -> list[Run]:
    """Return the runs of the same work, where several numbers of nodes were measured at it; else none."""
    own = [other for other in runs if other.measure == run.measure and NODES in other.point]
    own = [other for other in own if NODES in run.point and _name(other) == _name(run)]
    return own if len({_count(other) for other in own}) > 1 else []


def _fed(step: Step) -> float:
    return (step.fed.images_per_s if step.fed else None) or 0.0


def _knee(steps: Sequence[Step]) -> str:
    """Find the smallest number from which on reading is always the lower of the two."""
    limited = [_fed(step) < (step.own or 0.0) for step in steps]
    first = len(limited) - next((k for k, low in enumerate(reversed(limited)) if not low), len(limited))
    last = steps[-1]
    storage = stage_text("read", last.run)
    if first == len(steps):
        return (
            f"up to {last.nodes} machines the machines, not {storage}, are the bottleneck: they could take "
            f"{rate(last.own or 0.0)}, and {storage} would give {rate(_fed(last))}"
        )
    gives = bandwidth(max((step.fed.bytes_per_s or 0.0) if step.fed else 0.0 for step in steps[first:]))
    if first == 0:
        return f"with any number of machines {storage} is the bottleneck, not they: {gives}"
    return f"from {steps[first].nodes} machines on {storage}, not the machines, is the bottleneck: {gives}"
