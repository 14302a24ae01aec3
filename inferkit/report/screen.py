"""The answer for a terminal: one block per storage, a table of its pipelines, and what qualifies them."""

import textwrap
from collections.abc import Iterable, Iterator, Sequence

from inferkit.records.figures import Figure
from inferkit.records.run import CEILINGS, Run
from inferkit.report.conclusion import sentences_of
from inferkit.report.labels import (
    ENGINE,
    MODEL,
    PRECISION,
    STAGE_TITLES,
    axis_text,
    demo_text,
    images_text,
    number_text,
    point_text,
    share_text,
    verdict_text,
)
from inferkit.report.remarks import best_of, flawed, grouped, taken_over, warnings_of
from inferkit.report.scaling import winners
from inferkit.text import text_table

COLUMNS = 100
LEAST_NAME = 12
"""Characters that are left of a network's name in the table of a terminal, however little room there is."""


def screen(runs: Iterable[Run]) -> str:
    """Word the answer for a terminal of 100 columns: one block per storage.

    Per engine and network: images per second, predicted, the bottleneck, each ceiling and the verdict. Notebooks
    without a pipeline are put into sentences.
    """
    kept = list(runs)
    blocks = [_storage_block(name, group) for name, group in grouped(kept, [run.storage for run in kept])]
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
        for group, where in flawed(own, point_text):
            yield from _wrapped(f"{where}: {verdict_text(group[0])}")
        yield from _notes(own, pipelines or own)


def _notes(runs: Sequence[Run], shown: Sequence[Run]) -> Iterator[str]:
    """Say what qualifies the figures that are shown and the ceilings that they are held against; each thing once."""
    ceilings = {name for run in shown for name in run.ceilings_from}
    told = [run for run in runs if run in shown or run.id in ceilings]
    for lead, rest in taken_over(runs):
        yield from _wrapped(f"{lead}: {rest}")
    for lead, remarks in (("warning", warnings_of), ("not verified", lambda run: run.unverified)):
        pairs = [(text, run) for run in told for text in remarks(run)]
        for text, group in grouped([run for _, run in pairs], [text for text, _ in pairs]):
            about = "" if len(group) > 1 else f"{group[0].measure} · {point_text(group[0])}: "
            yield from _wrapped(f"{lead}: {about if len(told) > 1 else ''}{text}")


def _sentence_lines(runs: Sequence[Run]) -> Iterator[str]:
    for measure, group in grouped(runs, [run.measure for run in runs]):
        for lead, rest in sentences_of(measure, group):
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
