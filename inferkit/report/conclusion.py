"""The answer in plain words, computed from the records: for the last cell of a notebook, and for a terminal."""

import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import starmap
from typing import NamedTuple, TypeVar

from inferkit.records.run import CEILINGS, REUSED, Figure, Run
from inferkit.report.labels import (
    BATCH,
    DEMO_REASON,
    DEVICE,
    DIRECTION,
    ENGINE,
    GPU,
    HOST_COPY,
    MEMORY,
    MODEL,
    NODE,
    NOT_FOR_QUOTING,
    PRECISION,
    READER,
    SIZE,
    STAGE_TITLES,
    apart,
    axis_text,
    best_valid,
    caveats,
    demo_text,
    gpu_name,
    images_text,
    link,
    measured_text,
    network_text,
    number_text,
    point_text,
    quoting_text,
    rate_text,
    series_names,
    share_text,
    sort_key,
    verdict_text,
)
from inferkit.report.reference import normal_text
from inferkit.report.scaling import winners
from inferkit.text import text_table
from inferkit.units import bandwidth, gibibytes

Key = TypeVar("Key")

COLUMNS = 100
PLATEAU = 0.9
"""A size counts as on the plateau if its bandwidth, and that of all larger ones, is at least this share of the peak."""

LEAST_NAME = 12
"""Characters that are left of a network's name in the table of a terminal, however little room there is."""
MOST_NAMED = 3
"""Up to so many points that share a reason for not being valid are named; of more, only their number is given."""


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
        return "\n".join(f"{lead}: {rest}" for lead, rest in self.sentences)

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
    for (_, measure), group in _grouped(kept, [(run.notebook, run.measure) for run in kept]):
        sentences += starmap(Sentence, winners(group))
        sentences += _MEASURES.get(measure, _others)(group)
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
    runs = [run for run in runs if NODE not in run.point]
    for name, line in _grouped(runs, series_names(runs, MEMORY, (SIZE, DEVICE))):
        for where, own in _grouped(line, [link(run) for run in line]):
            measured = {int(run.point[SIZE]): value for run in own if (value := _bandwidth(run)) and SIZE in run.point}
            found = [_sweep(measured), _normal_copy(own[0])] if measured else [_none_valid(own)]
            yield Sentence(f"{where}, {name}", "; ".join(filter(None, found)))

    for where, own in _grouped(by_node, [point_text(run, [GPU, DIRECTION]) for run in by_node]):
        told = [f"{bandwidth(value)} with {point_text(run, [NODE])}" for run in own if (value := _bandwidth(run))]
        yield Sentence(f"NUMA nodes, {where}", ", ".join(told) or "no VALID copy")


def _sweep(measured: dict[int, float]) -> str:
    """Word the peak, at which size it is, and whether all larger sizes are near it; else what the largest reaches."""
    peak, largest = max(measured, key=lambda size: measured[size]), max(measured)
    top, last = measured[peak], measured[largest]
    below = [size for size in measured if measured[size] < PLATEAU * top]
    first = min((size for size in measured if size > max(below, default=0)), default=None)
    found = f"peak {bandwidth(top)} at {gibibytes(peak)}"
    if first is None:
        return f"{found}, which larger copies do not hold: {bandwidth(last)} at {gibibytes(largest)}, the largest"
    held = f"at least {share_text(PLATEAU)} of it from {gibibytes(first)} on"
    return f"{found}, {held}" + ("" if peak == largest else f", {bandwidth(last)} at {gibibytes(largest)}, the largest")


def _none_valid(runs: Sequence[Run]) -> str:
    return f"none of {len(runs)} points is VALID" if len(runs) > 1 else f"the only point is {runs[0].verdict}"


def _normal_copy(run: Run) -> str:
    """Word what is normal for the one kind of copy that there are references of: pinned, one way, one GPU."""
    plain = run.point.get(MEMORY) == "pinned" and run.point.get(DIRECTION, "in") == "in"
    alone = not isinstance(run.point.get(GPU), str)
    return normal_text(gpu_name(run), "h2d_pinned") if plain and alone and link(run) != HOST_COPY else ""


def _reads(runs: Sequence[Run]) -> Iterator[Sentence]:
    """Word the best point of each reader, the fastest first, with its peer; and whether the fastest is so for sure."""
    groups = [group for _, group in _grouped(runs, _axis(runs, READER))]
    bests = sorted((best for group in groups if (best := best_valid(group))), key=sort_key)
    ahead = [run for run in bests[1:] if not apart(bests[0], run)]
    for place, run in enumerate(bests):
        lead = "Fastest reader" if place == 0 and len(bests) > 1 and not ahead else "Reader"
        peers = [f"{peer.ratio:.2f} of {peer.name}" for peer in run.peers if peer.ratio is not None]
        rest = [f"{point_text(run)}: {measured_text(run)}", *peers, _verdict(run)]
        yield Sentence(f"{lead} {run.point.get(READER, '')}".strip(), "; ".join(rest))
    if ahead:
        told = " and ".join(f"{run.point.get(READER, '')} {rate_text(run)}" for run in (bests[0], *ahead))
        yield Sentence("Fastest reader", f"no difference found: {told}")
    for group in groups:
        if all(run.verdict != "VALID" for run in group):
            yield Sentence(f"Reader {group[0].point.get(READER, '')}".strip(), _none_valid(group))


def _pipelines(runs: Sequence[Run]) -> Iterator[Sentence]:
    for _, group in _by_network(runs):
        run = best_valid(group)
        if run is None:
            yield Sentence(network_text(group[0]) or "Pipeline", _none_valid(group))
            continue
        lead = f"{network_text(run) or 'Pipeline'} with {run.point.get(READER, 'its')} reads"
        where = [axis_text(BATCH, run.point[BATCH])] if BATCH in run.point else []
        yield Sentence(lead, "; ".join([measured_text(run), *_limits(run), *where, _verdict(run)]))


def _limits(run: Run) -> Iterator[str]:
    if run.predicted is not None:
        yield f"{share_text(run.reached)} of the predicted {number_text(run.predicted.images_per_s)}"
    if run.bottleneck:
        yield f"{run.bottleneck} is the bottleneck"


def _others(runs: Sequence[Run]) -> Iterator[Sentence]:
    """Word the best point of a stage alone, which is a ceiling."""
    run = best_valid(runs)
    told = f"{measured_text(run)} at {point_text(run)}; {_verdict(run)}" if run else _none_valid(runs)
    yield Sentence(f"{runs[0].measure} alone", told)


_MEASURES: dict[str, Callable[[Sequence[Run]], Iterator[Sentence]]] = {
    "dataset": _dataset,
    "copy": _copies,
    "read": _reads,
    "pipeline": _pipelines,
}


def _remarks(runs: Sequence[Run]) -> Iterator[Sentence]:
    """Word what qualifies the answer: points without a valid figure, warnings, what could not be verified."""
    for group, where in _flawed(runs, lambda run: f"{run.measure} · {point_text(run)}"):
        yield Sentence(group[0].verdict, f"{where}: {verdict_text(group[0]).partition(': ')[2]}")
    yield from starmap(Sentence, _taken_over(runs))
    yield from _told("Warning", [(text, run) for run in runs for text in _warnings(run)])
    yield from _told("Not verified", [(text, run) for run in runs for text in run.unverified])
    if any(run.profile == "demo" for run in runs):
        yield Sentence(NOT_FOR_QUOTING.capitalize(), DEMO_REASON)


def _warnings(run: Run) -> list[str]:
    """Return a run's warnings but that it is an older one, which is said once for all."""
    return [text for text in run.warnings if not text.startswith(REUSED)]


def _taken_over(runs: Sequence[Run]) -> Iterator[tuple[str, str]]:
    """Say how many points were not measured again, from which notebook they are, and when they were measured."""
    taken = [run for run in runs if run.taken_from]
    for notebook, group in _grouped(taken, [run.taken_from.rpartition(" (")[0] for run in taken]):
        times = dict.fromkeys(sorted(run.started for run in (group[0], group[-1])))
        yield "Not measured again", f"{len(group)} of {len(runs)} points, from {notebook} of {' to '.join(times)}"


def _flawed(runs: Sequence[Run], name: Callable[[Run], str]) -> Iterator[tuple[list[Run], str]]:
    """Yield the runs that are not valid, together where for the same reason; and which they are, or how many."""
    bad = [run for run in runs if run.verdict != "VALID"]
    for _, group in _grouped(bad, [verdict_text(run) for run in bad]):
        many = f"{len(group)} of {len(runs)} points"
        names = list(dict.fromkeys(map(name, group)))
        yield group, many if len(names) > MOST_NAMED else "; ".join(names)


def _told(lead: str, remarks: Sequence[tuple[str, Run]]) -> Iterator[Sentence]:
    """Say each remark once, and where it belongs to a single point, to which."""
    for text, group in _grouped([run for _, run in remarks], [text for text, _ in remarks]):
        about = f"{group[0].measure} · {point_text(group[0])}: " if len(group) == 1 else ""
        yield Sentence(lead, about + text)


def _verdict(run: Run) -> str:
    """Word what must stand beside a figure, and its verdict."""
    return "; ".join([*caveats(run), quoting_text(run.verdict, run.profile)])


def _bandwidth(run: Run) -> float | None:
    return run.measured.bytes_per_s if run.measured and run.verdict == "VALID" else None


def _axis(runs: Sequence[Run], name: str) -> list[str]:
    return [str(run.point.get(name, "")) for run in runs]


def _grouped(runs: Sequence[Run], keys: Sequence[Key]) -> Iterator[tuple[Key, list[Run]]]:
    """Group runs by keys, in the order of the keys' first appearance."""
    for key in dict.fromkeys(keys):
        yield key, [run for run, own in zip(runs, keys, strict=True) if own == key]


def _by_network(runs: Sequence[Run]) -> Iterator[tuple[str, list[Run]]]:
    """Yield the pipelines of each engine, model and precision."""
    pipelines = [run for run in runs if run.measure == "pipeline"]
    keys = [" ".join(str(run.point.get(name, "")) for name in (ENGINE, MODEL, PRECISION)) for run in pipelines]
    yield from _grouped(pipelines, keys)


def best_of(runs: Sequence[Run]) -> list[Run]:
    """Return the best pipeline run of each engine, model and precision: VALID first, then the faster."""
    return [min(group, key=sort_key) for _, group in _by_network(runs)]


def screen(runs: Iterable[Run]) -> str:
    """Word the answer for a terminal of 100 columns: one block per storage.

    Per engine and network: images per second, predicted, the bottleneck, each ceiling and the verdict. Notebooks
    without a pipeline are put into sentences.
    """
    kept = list(runs)
    blocks = [_storage_block(name, group) for name, group in _grouped(kept, [run.storage for run in kept])]
    return "\n\n".join("\n".join(block) for block in blocks) or "no records"


def _storage_block(storage: str, runs: Sequence[Run]) -> Iterator[str]:
    demo = demo_text(run.profile for run in runs)
    yield f"{storage or 'results'} ({demo})" if demo else storage or "results"
    stages = dict.fromkeys(run.notebook for run in runs)
    for stage in sorted(stages):
        own = [run for run in runs if run.notebook == stage]
        yield f"  {stage} {STAGE_TITLES.get(stage, '')}".rstrip()
        pipelines = best_of(own)
        lines = _pipeline_table(pipelines) if pipelines else _sentence_lines(own)
        yield from (f"    {line}" for line in lines)
        for lead, rest in winners(own):
            yield from _wrapped(f"{lead}: {rest}", "    ")
        for group, where in _flawed(own, point_text):
            yield from _wrapped(f"{where}: {verdict_text(group[0])}")
        yield from _notes(own, pipelines or own)


def _notes(runs: Sequence[Run], shown: Sequence[Run]) -> Iterator[str]:
    """Say what qualifies the figures that are shown and the ceilings that they are held against; each thing once."""
    ceilings = {name for run in shown for name in run.ceilings_from}
    told = [run for run in runs if run in shown or run.id in ceilings]
    for lead, rest in _taken_over(runs):
        yield from _wrapped(f"{lead}: {rest}")
    for lead, remarks in (("warning", _warnings), ("not verified", lambda run: run.unverified)):
        pairs = [(text, run) for run in told for text in remarks(run)]
        for text, group in _grouped([run for _, run in pairs], [text for text, _ in pairs]):
            about = "" if len(group) > 1 else f"{group[0].measure} · {point_text(group[0])}: "
            yield from _wrapped(f"{lead}: {about if len(told) > 1 else ''}{text}")


def _sentence_lines(runs: Sequence[Run]) -> Iterator[str]:
    for measure, group in _grouped(runs, [run.measure for run in runs]):
        for lead, rest in _MEASURES.get(measure, _others)(group):
            yield from textwrap.wrap(f"{lead}: {rest}", COLUMNS - 4, subsequent_indent="  ")


def _wrapped(text: str, mark: str = "    ! ") -> list[str]:
    return textwrap.wrap(text, COLUMNS, initial_indent=mark, subsequent_indent="      ")


def _pipeline_table(runs: Sequence[Run]) -> list[str]:
    """Return the table; names of networks are cut to the room that there is."""
    ceilings = [name for name in CEILINGS if any(name in run.ceilings for run in runs)]
    head = ["engine", "model", "images/s", "predicted", "reached", "bottleneck", *ceilings, "verdict"]
    right = [2, 3, 4, *range(6, 6 + len(ceilings))]
    rows = [_pipeline_row(run, ceilings) for run in runs]
    lines = text_table(rows, head, numbers=right)
    over = max(map(len, lines)) - (COLUMNS - 4)
    if over <= 0:
        return lines
    most = max(LEAST_NAME, max(len(name) for _, name, *_ in rows) - over)
    return text_table([[engine, _cut(name, most), *rest] for engine, name, *rest in rows], head, numbers=right)


def _pipeline_row(run: Run, ceilings: Sequence[str]) -> list[str]:
    network = " ".join(filter(None, (axis_text(name, run.point.get(name, "")) for name in (MODEL, PRECISION))))
    limit = (run.bottleneck if run.verdict == "VALID" else None) or "–"
    figures = [images_text(run.measured), _images(run.predicted), share_text(run.reached), limit]
    limits = [_images(run.ceilings.get(name)) for name in ceilings]
    return [str(run.point.get(ENGINE, "")), network or "–", *figures, *limits, run.verdict]


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _images(figure: Figure | None) -> str:
    return number_text(figure.images_per_s if figure else None)
