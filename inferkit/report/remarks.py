"""What qualifies an answer: points without a valid figure, warnings, what was taken over; each said once."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from inferkit.records.run import REUSED, Run
from inferkit.report.labels import ENGINE, MODEL, PRECISION, sort_key, verdict_text, where_text

Item = TypeVar("Item")
Key = TypeVar("Key")

MOST_NAMED = 3
"""Up to so many points that share a reason for not being valid are named; of more, only their number is given."""


def grouped(runs: Sequence[Item], keys: Sequence[Key]) -> Iterator[tuple[Key, list[Item]]]:
    """Group runs, or what belongs to them, by keys, in the order of the keys' first appearance."""
    for key in dict.fromkeys(keys):
        yield key, [item for item, own in zip(runs, keys, strict=True) if own == key]


def by_network(runs: Sequence[Run]) -> Iterator[tuple[str, list[Run]]]:
    """Yield the pipelines of each engine, model and precision."""
    pipelines = [run for run in runs if run.measure == "pipeline"]
    keys = [" ".join(str(run.point.get(name, "")) for name in (ENGINE, MODEL, PRECISION)) for run in pipelines]
    yield from grouped(pipelines, keys)


def best_of(runs: Sequence[Run]) -> list[Run]:
    """Return the best pipeline run of each engine, model and precision: VALID first, then the faster."""
    return [min(group, key=sort_key) for _, group in by_network(runs)]


def warnings_of(run: Run) -> list[str]:
    """Return a run's warnings but that it is an older one, which is said once for all."""
    return [text for text in run.warnings if not text.startswith(REUSED)]


def taken_over(runs: Sequence[Run]) -> Iterator[tuple[str, str]]:
    """Say how many points were not measured again, from which notebook they are, and when they were measured."""
    taken = [run for run in runs if run.taken_from]
    for notebook, group in grouped(taken, [run.taken_from.rpartition(" (")[0] for run in taken]):
        times = dict.fromkeys(sorted(run.started for run in (group[0], group[-1])))
        yield "Not measured again", f"{len(group)} of {len(runs)} points, from {notebook} of {' to '.join(times)}"


def flawed(runs: Sequence[Run], name: Callable[[Run], str]) -> Iterator[tuple[list[Run], str]]:
    """Yield the runs that are not valid, together where for the same reason; and which they are, or how many."""
    bad = [run for run in runs if run.verdict != "VALID"]
    for _, group in grouped(bad, [alike(verdict_text(run)) for run in bad]):
        many = f"{len(group)} of {len(runs)} points"
        names = list(dict.fromkeys(map(name, group)))
        yield group, many if len(names) > MOST_NAMED else "; ".join(names)


def alike(text: str) -> str:
    """Return what remarks of one kind have in common: no numbers, nothing in parentheses, no sign."""
    return re.sub(r"\([^()]*\)|[\d.,]+", "", text)


def told_once(runs: Sequence[Run], texts: Callable[[Run], Sequence[str]]) -> Iterator[str]:
    """Yield each kind of remark once: with its point, or with the number of points that have one of this kind."""
    pairs = [(text, run) for run in runs for text in texts(run)]
    for _, group in grouped(pairs, [alike(text) for text, _ in pairs]):
        text, run = group[0]
        points = len({run.id for _, run in group})
        about = "" if points > 1 or len(runs) == 1 else f"{where_text(run)}: "
        yield f"{about}{text}" + (f" ({points} points have one like it)" if points > 1 else "")
