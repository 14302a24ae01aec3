"""The answer for a terminal of 80 columns: one block per storage, its sentence first, then what qualifies it."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from inferkit.records.run import CEILINGS, Run
from inferkit.report.conclusion import sentences_of
from inferkit.report.headline import counts, headline
from inferkit.report.labels import (
    STAGE_TITLES,
    demo_text,
    images_text,
    limits_of,
    network_text,
    number_text,
    share_text,
    verdict_text,
    where_text,
)
from inferkit.report.nodes import knees
from inferkit.report.remarks import best_of, flawed, grouped, taken_over, told_once, warnings_of
from inferkit.report.scaling import winners
from inferkit.report.storing import answers
from inferkit.text import plain, wrapped

MOST_REMARKS = 5
"""Kinds of warnings that a terminal shows of a notebook; the rest is counted, and stands in the notebook."""


def screen(runs: Iterable[Run], title: str = "") -> str:
    """Word the answer for a terminal of 80 columns: one block per storage, and in it one per notebook.

    First the sentence that stands at the top of the notebook. Then, per engine and network, what the pipeline reached
    of what, the bottleneck and each ceiling; of notebooks without a pipeline, sentences. Last what qualifies them.

    Parameters
    ----------
    runs
        What was measured.
    title
        Of a block, in place of the storage's name, which another may have as well.
    """
    kept = list(runs)
    blocks = [_storage_block(title or name, group) for name, group in grouped(kept, [run.storage for run in kept])]
    return "\n\n".join("\n".join(block) for block in blocks) or "no records"


def _storage_block(storage: str, runs: Sequence[Run]) -> Iterator[str]:
    demo = demo_text(run.profile for run in runs)
    name = plain(storage) or "results"
    yield from wrapped(f"{name} ({demo})" if demo else name, "", "  ")
    for notebook in sorted({run.notebook for run in runs}):
        own = [run for run in runs if run.notebook == notebook]
        yield f"  {plain(notebook)} {STAGE_TITLES.get(notebook, '')}".rstrip()
        yield from _wrapped(headline(own).sentence, "    ")
        pipelines = best_of(own)
        for run in pipelines if len(pipelines) > 1 or _ceilings(pipelines) else ():
            yield from _network(run)
        if not pipelines and len(own) > 1:
            yield from _sentences(own)
        for lead, rest in (*knees(own), *winners(own), *answers(own)):
            yield from _wrapped(f"{lead}: {rest}", "    ")
        yield from _notes(own, pipelines or own)


def _network(run: Run) -> Iterator[str]:
    """Yield a line of what a network's best pipeline reached, and one of its ceilings."""
    reached = (
        "" if run.predicted is None else f", {share_text(run.reached)} of {number_text(run.predicted.images_per_s)}"
    )
    limit = f", bottleneck {' or '.join(limits_of(run))}" if run.bottleneck and run.verdict == "VALID" else ""
    words = f"{network_text(run) or 'pipeline'}: {images_text(run.measured)} images/s{reached}{limit}; {run.verdict}"
    yield from _wrapped(words, "    - ")
    if ceilings := _ceilings([run]):
        yield from _wrapped(f"alone: {ceilings}", "      ")


def _ceilings(runs: Sequence[Run]) -> str:
    named = [(name, run.ceilings[name]) for run in runs for name in CEILINGS if name in run.ceilings]
    told = [f"{name} {number_text(figure.images_per_s)}" for name, figure in named]
    return ", ".join(told)


def _sentences(runs: Sequence[Run]) -> Iterator[str]:
    for measure, group in grouped(runs, [run.measure for run in runs]):
        for lead, rest in sentences_of(measure, group):
            yield from _wrapped(f"{lead}: {rest}", "    - ")


def _notes(runs: Sequence[Run], shown: Sequence[Run]) -> Iterator[str]:
    """Say what qualifies the figures that are shown and the ceilings that they are held against; each kind once."""
    ceilings = {name for run in shown for name in run.ceilings_from}
    told = [run for run in runs if run in shown or run.id in ceilings]
    if many := counts(runs):
        yield from _wrapped(many)
    for group, where in flawed(runs, where_text):
        yield from _wrapped(f"{where}: {verdict_text(group[0])}")
    for lead, rest in taken_over(runs):
        yield from _wrapped(f"{lead}: {rest}")
    remarks = [f"warning: {text}" for text in told_once(told, warnings_of)]
    remarks += [f"not verified: {text}" for text in told_once(told, lambda run: run.unverified)]
    for text in islice(remarks, MOST_REMARKS):
        yield from _wrapped(text)
    if (left := len(remarks) - MOST_REMARKS) > 0:
        yield from _wrapped(f"{left} more kinds of warnings: see the notebook")


def _wrapped(text: str, mark: str = "    ! ") -> list[str]:
    return wrapped(text, mark, "      ")
