"""From what nodes measured to one outcome: their sum, what each did, and what speaks against the figure."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from inferkit.cluster.clocks import Offset, moved_s
from inferkit.pipeline.steadiness import drifted
from inferkit.ranks.aggregate import Sum, add_up, common_repeats, common_series, common_stages
from inferkit.ranks.combine import (
    LATE_S,
    LEAST_OVERLAP,
    UNEVEN,
    added_files,
    added_storage,
    figure_of_sum,
    in_common,
    overlap_reasons,
)
from inferkit.records.figures import Json, Series
from inferkit.records.outcome import Outcome
from inferkit.records.windows import Window
from inferkit.stats import Floats, interval
from inferkit.units import duration, percent
from inferkit.validity.io_accounting import COUNTERS, shares

FULL_OVERLAP = 0.99
"""Share of the windows below which it is said that not all nodes were running."""
MOST_PARTS_TOLD = 40
"""Values of a node's course in a record."""


class Share(NamedTuple):
    """What one node contributed.

    Parameters
    ----------
    name, boot
        The node, and what tells two systems apart.
    outcome
        Of all its ranks.
    before, after
        Its clock against ours, before and after the windows.
    """

    name: str
    boot: str
    outcome: Outcome
    before: Offset
    after: Offset

    @property
    def clock_error_s(self) -> float:
        """How far its agreed start may lie from ours."""
        return (self.before.error_ns + self.after.error_ns) / 1e9 + moved_s(self.before, self.after)


def combine_nodes(nodes: Sequence[Share], window: Window, more: dict[str, Json]) -> Outcome:
    """Put the nodes' outcomes together.

    Parameters
    ----------
    nodes
        In the order of their ranks.
    window
        That was agreed.
    more
        Facts of the group as such: seconds to the barrier.
    """
    outcomes = [node.outcome for node in nodes]
    traces = [trace for outcome in outcomes for trace in outcome.traces]
    total = add_up(traces, window)
    error_s = max(node.clock_error_s for node in nodes)
    total = _less_overlap(total, error_s, window)
    repeats = common_repeats(outcomes, traces, window)
    rates = _of_nodes(nodes, total)
    told = _Told(nodes)
    group = in_common(total) | more | {"clock_error_s": error_s}
    facts = _facts(nodes, total, rates) | {"group": group | _done(outcomes)}
    return Outcome(
        repeats=repeats,
        stages=common_stages(outcomes),
        series=_series(nodes, window),
        measured=figure_of_sum(total, repeats),
        facts=facts,
        warnings=[*told.each("warnings"), *_warnings(nodes, total, rates), *drifted(total.course)],
        unverified=told.each("unverified"),
        reasons=[*told.each("reasons"), *overlap_reasons(total, window, repeats[1:]), *_jumps(nodes)],
        traces=traces,
    )


class _Told:
    """What the nodes say of themselves: once where all say the same, else with the node's name."""

    def __init__(self, nodes: Sequence[Share]) -> None:
        self._nodes = nodes

    def each(self, field: str) -> list[str]:
        texts = [(node.name, text) for node in self._nodes for text in getattr(node.outcome, field)]
        of_all = {text for _, text in texts if sum(text == other for _, other in texts) == len(self._nodes)}
        return list(dict.fromkeys(text if text in of_all else f"node {name}: {text}" for name, text in texts))


def _less_overlap(total: Sum, error_s: float, window: Window) -> Sum:
    """Take from the overlap what the clocks may have been apart."""
    unsure = error_s / (window.seconds - window.warmup_s)
    return Sum(
        total.begin_s,
        total.end_s,
        max(0.0, total.overlap - unsure),
        total.images_per_s,
        total.bytes_per_s,
        total.batches,
    )


def _of_nodes(nodes: Sequence[Share], total: Sum) -> Floats:
    """Return each node's rate in each part of the common windows: parts × nodes."""
    bounds = np.cumsum([0, *(len(node.outcome.traces) for node in nodes)])
    return np.stack([total.rates[:, low:high].sum(axis=1) for low, high in pairwise(bounds)], axis=1)


def _done(outcomes: Sequence[Outcome]) -> dict[str, Json]:
    """Return when the first and the last rank had completed their last batch, since the agreed start."""
    ended = [trace.ended_s for outcome in outcomes for trace in outcome.traces]
    return {"first_done_s": min(ended), "last_done_s": max(ended)}


def _facts(nodes: Sequence[Share], total: Sum, rates: Floats) -> dict[str, Json]:
    first = nodes[0].outcome.facts
    facts = {name: value for name, value in first.items() if name not in {"ranks", "gpus", "storage", "group"}}
    facts["nodes"] = [_node(node, own) for node, own in zip(nodes, rates.T, strict=True)]
    facts["ranks"] = [{**rank, "host": node.name} for node in nodes for rank in node.outcome.facts["ranks"]]
    gpus = [(node.name, node.outcome.facts["gpus"]) for node in nodes if "gpus" in node.outcome.facts]
    if gpus:
        facts["gpus"] = {
            gpu if gpu == "missing" else f"{name}:{gpu}": own for name, all_ in gpus for gpu, own in all_.items()
        }
    verified = [node.outcome.facts.get("verified_images") for node in nodes]
    if None not in verified:
        facts["verified_images"] = sum(verified) if all(verified) else 0
    if "decoders" in facts:
        facts["decoders"] = [own for node in nodes for own in node.outcome.facts["decoders"]]
        facts["reader"] = added_files([node.outcome.facts["reader"] for node in nodes])
    if all("storage" in node.outcome.facts for node in nodes):
        facts["storage"] = _storage(nodes)
    return facts


def _node(node: Share, rates: Floats) -> dict[str, Json]:
    found = interval(rates, np.array([]))
    ranks = node.outcome.facts["ranks"]
    course = Series(unit="1/s", values=rates.tolist()).thinned(MOST_PARTS_TOLD).values
    return {
        "name": node.name,
        "ranks": len(ranks),
        "rate": float(rates.mean()),
        "half_width": found.half_width if found else None,
        "course": course,
        "began_s": max(rank["began_s"] for rank in ranks),
        "ended_s": min(rank["ended_s"] for rank in ranks),
        "clock_offset_s": [node.before.offset_ns / 1e9, node.after.offset_ns / 1e9],
        "clock_error_s": [node.before.error_ns / 1e9, node.after.error_ns / 1e9],
    }


def _storage(nodes: Sequence[Share]) -> dict[str, Json]:
    """Add up where the nodes' bytes came from: each system has counters of its own, two workers of one share theirs."""
    systems: dict[str, list[dict[str, Json]]] = {}
    for node in nodes:
        systems.setdefault(node.boot, []).append(node.outcome.facts["storage"])
    own = [added_storage(told) for told in systems.values()]
    facts = added_storage(own)
    for name in COUNTERS:
        pairs = [each[name] for each in own]
        whole = all(None not in pair for pair in pairs)
        facts[name] = [sum(pair[k] for pair in pairs) if whole else None for k in (0, 1)]
    for name in ("resident_before", "resident_after"):
        known = [each[name] for each in own if each.get(name) is not None]
        facts[name] = max(known) if len(known) == len(own) else None
    return facts | shares(facts)


def _series(nodes: Sequence[Share], window: Window) -> dict[str, Series]:
    """Return the throughput of all over time, and what the first node sampled of its machine."""
    outcomes = [node.outcome for node in nodes]
    traces = [trace for outcome in outcomes for trace in outcome.traces]
    first = outcomes[0].series
    return first | {
        name: own
        for name, own in common_series(outcomes, traces, window).items()
        if name in ("images_per_s", "bytes_per_s")
    }


def _warnings(nodes: Sequence[Share], total: Sum, rates: Floats) -> Iterator[str]:
    means = rates.mean(axis=0)
    slow, fast = int(means.argmin()), int(means.argmax())
    if means[fast] and means[slow] < UNEVEN * means[fast]:
        share = percent(means[slow] / means[fast])
        yield f"node {nodes[slow].name} is the slowest: {share} of the rate of node {nodes[fast].name}"
    if LEAST_OVERLAP <= total.overlap < FULL_OVERLAP:
        share = percent(total.overlap)
        yield f"all nodes were running for {share} of the windows for sure: lengthen warmup_s or duration_s"
    for node in nodes:
        if node.clock_error_s > LATE_S:
            known = duration(node.clock_error_s)
            yield f"the clock of node {node.name} is known to {known} only: the network is slow, so lengthen duration_s"
    systems = {node.boot for node in nodes}
    if len(systems) < len(nodes):
        yield f"{len(nodes)} nodes are workers on {len(systems)} machine(s): they share memory, storage and network"


def _jumps(nodes: Sequence[Share]) -> Iterator[str]:
    """Refuse a figure whose parts were not measured at the same time."""
    for node in nodes:
        jump_s = moved_s(node.before, node.after)
        if jump_s > LATE_S:
            yield (
                f"the clock of node {node.name} moved by {duration(jump_s)} against ours while it measured (a virtual "
                "machine that was stopped or moved?), so nobody knows what was measured together: measure again"
            )
