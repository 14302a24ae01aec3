"""An index of executed notebooks: the answer of each in a line, the newest first. It needs no more than the records."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple
from warnings import warn

from inferkit.records.notebooks import Paths, Tell, load_each
from inferkit.records.run import Run
from inferkit.report.asking import ask
from inferkit.report.dates import NEVER, begun_at
from inferkit.report.headline import counts, headline
from inferkit.report.labels import NOT_FOR_QUOTING, STAGE_TITLES
from inferkit.report.machines import machines
from inferkit.report.tables import html_table
from inferkit.text import wrapped

HEAD = ("started (UTC)", "verdict", "storage", "notebook", "machine", "answer", "file")


class Entry(NamedTuple):
    """An executed notebook: when its newest point was begun, what became of its points, and its answer."""

    started: datetime
    verdict: str
    storage: str
    notebook: str
    machine: str
    answer: str
    path: Path


def entries(paths: Paths, tell: Tell = warn) -> list[Entry]:
    """Return an entry for each executed notebook, the newest first.

    Parameters
    ----------
    paths, tell
        As of :func:`inferkit.records.notebooks.load_runs`.

    Raises
    ------
    RecordError
        If a path is missing, or no notebook holds a record that can be read.
    ReadError
        If their storage gave no answer.
    """
    read = ask(partial(load_each, paths), tell)
    names = iter(machines([run for _, runs in read for run in runs]))
    found = [_entry(notebook, runs, [next(names) for _ in runs]) for notebook, runs in read]
    return sorted(found, key=lambda entry: entry.started, reverse=True)


def _entry(notebook: Path, runs: Sequence[Run], names: Sequence[str]) -> Entry:
    return Entry(
        started=max(begun_at(run.started) for run in runs),
        verdict=_verdict(runs),
        storage=_each(run.storage for run in runs),
        notebook=_each(f"{run.notebook} {STAGE_TITLES.get(run.notebook, '')}" for run in runs),
        machine=_each(names),
        answer=headline(runs).sentence,
        path=notebook,
    )


def _each(words: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(" ".join(text.split()) or "–" for text in words))


def _verdict(runs: Sequence[Run]) -> str:
    """Word what became of the points, and whether figures may be quoted."""
    demo = f" ({NOT_FOR_QUOTING})" if any(run.profile == "demo" for run in runs) else ""
    return (counts(runs) or "VALID") + demo


class Index:
    """Entries as text of 80 columns and as HTML.

    Parameters
    ----------
    found
        In the order in which they are shown.
    """

    def __init__(self, found: Sequence[Entry]) -> None:
        self.entries = tuple(found)

    def __str__(self) -> str:
        return "\n\n".join("\n".join(_block(entry)) for entry in self.entries)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        """Return what a notebook shows (the name is IPython's)."""
        rows = [(_date(entry), *map(str, entry[1:])) for entry in self.entries]
        return {"text/html": html_table(rows, HEAD), "text/plain": str(self)}


def _block(entry: Entry) -> Iterator[str]:
    about = (_date(entry), entry.verdict, entry.storage, entry.notebook, entry.machine)
    yield from wrapped("  ".join(about), further="    ")
    yield from wrapped(entry.answer, "    ")
    yield from wrapped(str(entry.path), "    ")


def _date(entry: Entry) -> str:
    return f"{entry.started:%F %R}" if entry.started > NEVER else "date unknown"
