"""Executed notebooks: their records, and nothing else of them.

A Run lies in a cell's output under its own MIME type. No printed text, no HTML and no variable is read, so notebooks of
any origin, edited and commented by people, load the same.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple
from warnings import warn

from inferkit.errors import RecordError
from inferkit.records.figures import Json
from inferkit.records.run import MIME, Run

Paths = Path | str | Iterable[Path | str]
Tell = Callable[[str], object]
"""Is told what was left out, and why."""
RUN_FIRST = "run one first (inferkit run quickstart)"
NO_RECORD = f"no record in this notebook: {RUN_FIRST}"


class Stored(NamedTuple):
    """A run and the notebook that it was found in."""

    run: Run
    notebook: Path


def load_runs(paths: Paths, tell: Tell = warn) -> list[Stored]:
    """Read the records of notebooks.

    Parameters
    ----------
    paths
        An executed notebook, a folder (searched recursively, checkpoints left out), or several of either.
    tell
        Is told of every notebook, and every record, that cannot be read: it is left out.

    Returns
    -------
    stored
        Each run once, even where a notebook was copied, in the order of files and cells.

    Raises
    ------
    RecordError
        If a path is missing, or if there is not a single record that can be read: then it names all that cannot.
    """
    found: dict[str, Stored] = {}
    for notebook, runs in load_each(paths, tell):
        for run in runs:
            found.setdefault(run.id, Stored(run, notebook))
    return list(found.values())


def load_each(paths: Paths, tell: Tell = warn) -> list[tuple[Path, list[Run]]]:
    """Return each notebook that holds records, with them; the rest as :func:`load_runs`, but a copy stands for itself.

    Raises
    ------
    RecordError
        As of :func:`load_runs`.
    """
    asked = [paths] if isinstance(paths, Path | str) else list(paths)
    found: list[tuple[Path, list[Run]]] = []
    faults: list[str] = []
    for notebook in _notebooks(asked):
        try:
            if runs := _runs_of(notebook, faults.append):
                found.append((notebook, runs))
        except RecordError as error:
            faults.append(str(error))
    if not found:
        nothing = f"no notebook under {', '.join(map(str, asked))}: {RUN_FIRST}"
        raise RecordError("\n".join(faults) or nothing)
    for fault in faults:
        tell(f"left out: {fault}")
    return found


def _runs_of(notebook: Path, tell: Tell) -> list[Run]:
    """Read the records of one notebook; one that never held any is refused."""
    records = raw_records(notebook)
    if not records:
        message = f"{notebook}: {NO_RECORD}"
        raise RecordError(message)
    return list(_readable(notebook, records, tell))


def load_notebook(notebook: Path, tell: Tell = warn) -> list[Run]:
    """Read the records of one notebook that was executed.

    Parameters
    ----------
    notebook, tell
        As of :func:`load_runs`, but no folder.

    Raises
    ------
    RecordError
        If it is a folder or no notebook, or holds no record that can be read.
    """
    if notebook.is_dir():
        message = f"{notebook}: is a folder, expected one executed notebook: name one that lies in it"
        raise RecordError(message)
    return [run for run, _ in load_runs(notebook, tell)]


def read_notebook(notebook: Path, tell: Tell = warn) -> list[Run]:
    """Read the records of one notebook, in the order of its cells; none if it holds none.

    Parameters
    ----------
    tell
        Is told of every record that is of an unknown schema, does not fit its own or is not well-formed.

    Raises
    ------
    RecordError
        If the file is no notebook.
    """
    return list(_readable(notebook, raw_records(notebook), tell))


def _readable(notebook: Path, records: Iterable[Json], tell: Tell) -> Iterator[Run]:
    for record in records:
        try:
            yield _run(record)
        except RecordError as error:
            tell(f"{notebook}: {error}")


def _run(record: Json) -> Run:
    if not isinstance(record, dict):
        message = f"record is a {type(record).__name__}, expected a JSON object"
        raise RecordError(message)
    return Run.from_dict(record)


def raw_records(notebook: Path) -> list[Json]:
    """Read the JSON of one notebook's records, whatever they hold.

    Raises
    ------
    RecordError
        If the file is no notebook.
    """
    try:
        content = json.loads(notebook.read_text(encoding="utf-8"))
        outputs = [output for cell in content["cells"] for output in cell.get("outputs", ())]
        records = [output["data"][MIME] for output in outputs if MIME in output.get("data", {})]
    except OSError as error:
        message = f"{notebook}: cannot be read: {error.strerror}"
        raise RecordError(message) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        found = f"{type(error).__name__}: {error}"
        message = f"{notebook}: is not a notebook of format 4 ({found}): execute it again or move it away"
        raise RecordError(message) from error
    return records


def _notebooks(paths: list[Path | str]) -> list[Path]:
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        if not path.exists():
            message = f"{path}: no such notebook or folder"
            raise RecordError(message)
        found |= dict.fromkeys(notebooks_under(path) if path.is_dir() else [path])
    return list(found)


def notebooks_under(folder: Path) -> Iterator[Path]:
    """Yield the notebooks in a folder and below, in order; none if it is missing. Checkpoints are left out."""
    yield from (path for path in sorted(folder.rglob("*.ipynb")) if ".ipynb_checkpoints" not in path.parts)
