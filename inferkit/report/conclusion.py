"""The answer in plain words, computed from the records: for the last cell of a notebook, and for a terminal."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import starmap
from typing import NamedTuple, TypeVar

from inferkit.records.run import Run
from inferkit.report.labels import (
    BATCH,
    DEMO_REASON,
    DEVICE,
    DIRECTION,
    GPU,
    HOST_COPY,
    MEMORY,
    NODE,
    NOT_FOR_QUOTING,
    READER,
    SIZE,
    THREADS,
    apart,
    axis_text,
    best_valid,
    bottleneck_text,
    caveats,
    gpu_name,
    images_text,
    link,
    measured_text,
    network_text,
    point_text,
    quoting_text,
    rate_text,
    series_names,
    share_text,
    sort_key,
    verdict_text,
    where_text,
)
from inferkit.report.nodes import knees
from inferkit.report.reference import normal_text
from inferkit.report.remarks import by_network, flawed, grouped, taken_over, told_once, warnings_of
from inferkit.report.scaling import winners
from inferkit.report.storing import answers
from inferkit.text import plain, shortened
from inferkit.units import bandwidth, gibibytes

Key = TypeVar("Key")

PLATEAU = 0.9
"""A size counts as on the plateau if its bandwidth, and that of all larger ones, is at least this share of the peak."""


class Sentence(NamedTuple):
    """What it is about, and what was found."""

    lead: str
    rest: str


class Conclusion:
    """Sentences that a notebook shows as a list and a terminal as text.

    Parameters
    ----------
    sentences
        In the order in which they are read.
    """

    def __init__(self, sentences: Sequence[Sentence]) -> None:
        self.sentences = tuple(sentences)

    def __str__(self) -> str:
        return "\n".join(shortened(plain(f"{lead}: {rest}")) for lead, rest in self.sentences)

    def markdown(self) -> str:
        """Return the sentences as a Markdown list; what came from records is escaped."""
        return "\n".join(f"- **{_escaped(lead)}**: {_escaped(rest)}" for lead, rest in self.sentences)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        """Return what a notebook shows (the name is IPython's)."""
        return {"text/markdown": self.markdown(), "text/plain": str(self)}


def _escaped(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>#|$~])", r"\\\1", " ".join(text.split()))


def conclude(runs: Iterable[Run]) -> Conclusion:
    """Compute the answer of a notebook from its runs: the best points, the limits, and what is not to be trusted."""
    kept = list(runs)
    if not kept:
        return Conclusion([Sentence("No result", "there are no records")])
    sentences: list[Sentence] = []
    for (_, measure), group in grouped(kept, [(run.notebook, run.measure) for run in kept]):
        sentences += starmap(Sentence, knees(group))
        sentences += starmap(Sentence, winners(group))
        sentences += sentences_of(measure, group)
        sentences += starmap(Sentence, answers(group))
    return Conclusion([*sentences, *_remarks(kept)])


def _dataset(runs: Sequence[Run]) -> Iterator[Sentence]:
    for run in runs:
        skipped = run.facts.get("skipped") or 0
        count = skipped if isinstance(skipped, int) else len(skipped)
        made = f"{run.facts.get('images', 0):,} images made, {count:,} skipped"
        speed = "" if run.measured is None else f", at {measured_text(run)}"
        yield Sentence(f"Data set {run.params.get('data', '')}".strip(), f"{made}{speed}; {_verdict(run)}")


def _copies(runs: Sequence[Run]) -> Iterator[Sentence]:
    """Word the peak of each line of the sweep and whether larger copies hold it; then each GPU by NUMA node."""
    by_node = [run for run in runs if NODE in run.point]
    swept = [run for run in runs if NODE not in run.point and SIZE in run.point]
    for name, line in grouped(swept, series_names(swept, MEMORY, (SIZE, DEVICE))):
        for where, own in grouped(line, [link(run) for run in line]):
            measured = {int(run.point[SIZE]): value for run in own if (value := _bandwidth(run))}
            sizes = {int(run.point[SIZE]) for run in own}
            found = [_sweep(measured, sizes), *_beside(own), _normal_copy(own[0])] if measured else [_none_valid(own)]
            yield Sentence(f"{where}, {name}", "; ".join(filter(None, found)))

    batches = [run for run in runs if NODE not in run.point and SIZE not in run.point]  # of a pipeline
    for where, own in grouped(batches, [link(run) for run in batches]):
        yield Sentence(f"{where} alone", _best_alone(own))

    for where, own in grouped(by_node, [point_text(run, [GPU, DIRECTION]) for run in by_node]):
        told = [f"{bandwidth(value)} with {point_text(run, [NODE])}" for run in own if (value := _bandwidth(run))]
        yield Sentence(f"NUMA nodes, {where}", ", ".join(told) or "no VALID copy")


def _beside(runs: Sequence[Run]) -> list[str]:
    """Word what the largest copy is of each peer's that was measured beside it."""
    told = [run for run in runs if _bandwidth(run) and _peers(run)]
    largest = max(told, key=lambda run: int(run.point[SIZE]), default=None)
    return [f"{text} at {gibibytes(int(largest.point[SIZE]))}" for text in _peers(largest)] if largest else []


def _sweep(measured: dict[int, float], sizes: Collection[int]) -> str:
    """Word the peak, at which size it is, and whether all larger sizes are near it; else what the largest reaches.

    Parameters
    ----------
    measured
        Bytes per second by size, where they are VALID.
    sizes
        All that were to be measured.
    """
    peak, largest = max(measured, key=lambda size: measured[size]), max(measured)
    top, last = measured[peak], measured[largest]
    below = [size for size in measured if measured[size] < PLATEAU * top]
    first = min((size for size in measured if size > max(below, default=0)), default=None)
    if len(measured) == 1:
        only = f", the only one of {len(sizes)} sizes that is VALID" if len(sizes) > 1 else ""
        return f"{bandwidth(top)} at {gibibytes(peak)}{only}"
    found = f"peak {bandwidth(top)} at {gibibytes(peak)}"
    which = "the largest" if largest == max(sizes) else "above which none is VALID"
    at_last = f"{bandwidth(last)} at {gibibytes(largest)}, {which}"
    if first is None:
        return f"{found}, which larger copies do not hold: {at_last}"
    held = f"{found}, at least {share_text(PLATEAU)} of it from {gibibytes(first)} on"
    return held if peak == max(sizes) else f"{held}, {at_last}"


def _none_valid(runs: Sequence[Run]) -> str:
    return f"none of {len(runs)} points is VALID" if len(runs) > 1 else f"the only point is {runs[0].verdict}"


def _normal_copy(run: Run) -> str:
    """Word what is normal for the one kind of copy that there are references of: pinned, one way, one GPU."""
    plain = run.point.get(MEMORY) == "pinned" and run.point.get(DIRECTION, "in") == "in"
    alone = not isinstance(run.point.get(GPU), str)
    return normal_text(gpu_name(run), "h2d_pinned") if plain and alone and link(run) != HOST_COPY else ""


def _reads(runs: Sequence[Run]) -> Iterator[Sentence]:
    """Word the best point of each reader, the fastest first, with its peer; and whether the fastest is so for sure."""
    groups = [group for _, group in grouped(runs, _axis(runs, READER))]
    bests = sorted((best for group in groups if (best := best_valid(group))), key=sort_key)
    ahead = [run for run in bests[1:] if not apart(bests[0], run)]
    for place, run in enumerate(bests):
        lead = "Fastest reader" if place == 0 and len(bests) > 1 and not ahead else "Reader"
        rest = [f"{point_text(run)}: {measured_text(run)}", *_peers(run), _verdict(run)]
        yield Sentence(f"{lead} {run.point.get(READER, '')}".strip(), "; ".join(rest))
    if ahead:
        told = " and ".join(f"{run.point.get(READER, '')} {rate_text(run)}" for run in (bests[0], *ahead))
        yield Sentence("Fastest reader", f"no difference found: {told}")
    for group in groups:
        if all(run.verdict != "VALID" for run in group):
            yield Sentence(f"Reader {group[0].point.get(READER, '')}".strip(), _none_valid(group))


def _pipelines(runs: Sequence[Run]) -> Iterator[Sentence]:
    for _, group in by_network(runs):
        run = best_valid(group)
        if run is None:
            yield Sentence(network_text(group[0]) or "Pipeline", _none_valid(group))
            continue
        lead = f"{network_text(run) or 'Pipeline'} with {run.point.get(READER, 'its')} reads"
        where = [axis_text(BATCH, run.point[BATCH])] if BATCH in run.point else []
        yield Sentence(lead, "; ".join([measured_text(run), *_limits(run), *where, _verdict(run)]))


def _limits(run: Run) -> Iterator[str]:
    if run.predicted is not None:
        yield f"{share_text(run.reached)} of the predicted {images_text(run.predicted)}"
    if limit := bottleneck_text(run):
        yield limit


def _memory(runs: Sequence[Run]) -> Iterator[Sentence]:
    """Word what the host's memory gives all of its cores at once."""
    for run in runs:
        told = f"{measured_text(run)} copied, twice that moved; {_verdict(run)}" if run.measured else _none_valid([run])
        yield Sentence(f"Host memory, {run.point.get(THREADS, '')} threads at once", told)


def _others(runs: Sequence[Run]) -> Iterator[Sentence]:
    """Word the best point of a stage alone, which is a ceiling."""
    yield Sentence(f"{runs[0].measure} alone", _best_alone(runs))


def _best_alone(runs: Sequence[Run]) -> str:
    run = best_valid(runs)
    if run is None:
        return _none_valid(runs)
    return "; ".join([f"{measured_text(run)} at {point_text(run)}", *_peers(run), _verdict(run)])


def _peers(run: Run) -> list[str]:
    """Word what a figure is of each peer's."""
    return [f"{peer.ratio:.2f} of {peer.name}" for peer in run.peers if peer.ratio is not None]


_MEASURES: dict[str, Callable[[Sequence[Run]], Iterator[Sentence]]] = {
    "dataset": _dataset,
    "copy": _copies,
    "memory": _memory,
    "plan": lambda _: iter(()),  # what could not be planned is among the remarks
    "read": _reads,
    "pipeline": _pipelines,
}


def sentences_of(measure: str, runs: Sequence[Run]) -> Iterator[Sentence]:
    """Word the answer of runs that measured the same thing."""
    return _MEASURES.get(measure, _others)(runs)


def _remarks(runs: Sequence[Run]) -> Iterator[Sentence]:
    """Word what qualifies the answer: points without a valid figure, warnings, what could not be verified."""
    for group, where in flawed(runs, where_text):
        yield Sentence(group[0].verdict, f"{where}: {verdict_text(group[0]).partition(': ')[2]}")
    yield from starmap(Sentence, taken_over(runs))
    yield from (Sentence("Warning", text) for text in told_once(runs, warnings_of))
    yield from (Sentence("Not verified", text) for text in told_once(runs, lambda run: run.unverified))
    if any(run.profile == "demo" for run in runs):
        yield Sentence(NOT_FOR_QUOTING.capitalize(), DEMO_REASON)


def _verdict(run: Run) -> str:
    """Word what must stand beside a figure, and its verdict."""
    return "; ".join([*caveats(run), quoting_text(run.verdict, run.profile)])


def _bandwidth(run: Run) -> float | None:
    return run.measured.bytes_per_s if run.measured and run.verdict == "VALID" else None


def _axis(runs: Sequence[Run], name: str) -> list[str]:
    return [str(run.point.get(name, "")) for run in runs]
