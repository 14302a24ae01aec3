"""Executed notebooks: their records, and nothing else of them.

A Run lies in a cell's output under its own MIME type. No printed text, no HTML and no variable is read, so notebooks of
any origin, edited and commented by people, load the same.
"""

import errno
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from warnings import warn

from inferkit.errors import RecordError
from inferkit.files import read_regular
from inferkit.records.figures import Json
from inferkit.records.packed import DEEPEST, nested_deeper, unpack
from inferkit.records.run import MIME, Run

Paths = Path | str | Iterable[Path | str]
Tell = Callable[[str], object]
"""Is told what was left out, and why."""
RUN_FIRST = "run one first (inferkit run quickstart)"
NO_RECORD = f"no record in this notebook: {RUN_FIRST}"
MOST_BYTES = 1 << 26
"""Of a notebook: one of a hundred points has a megabyte; as Python's objects JSON takes up to fifty times as much."""


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
    for notebook in _notebooks(asked, faults.append):
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
    content = read_content(notebook)
    if not records_in(content):
        message = f"{notebook}: {NO_RECORD}"
        raise RecordError(message)
    return runs_in(content, notebook, tell)


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
    return load_content(notebook, tell)[1]


def load_content(notebook: Path, tell: Tell = warn) -> tuple[dict[str, Any], list[Run]]:
    """Read one notebook that was executed, and its records; otherwise as :func:`load_notebook`."""
    content = read_content(notebook)
    faults: list[str] = []
    runs = {run.id: run for run in runs_in(content, notebook, faults.append)}
    if not runs:
        raise RecordError("\n".join(faults) or f"{notebook}: {NO_RECORD}")
    for fault in faults:
        tell(f"left out: {fault}")
    return content, list(runs.values())


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
    return runs_in(read_content(notebook), notebook, tell)


def runs_in(content: dict[str, Any], notebook: Path, tell: Tell = warn) -> list[Run]:
    """Return the records in a notebook's content; ``notebook`` is its name for what is told."""
    runs = []
    for record in records_in(content):
        try:
            runs.append(_run(record))
        except RecordError as error:
            tell(f"{notebook}: {error}")
    return runs


def _run(record: Json) -> Run:
    if not isinstance(record, dict):
        message = f"record is a {type(record).__name__}, expected a JSON object"
        raise RecordError(message)
    return Run.from_dict(record)


def raw_records(notebook: Path) -> list[Json]:
    """Read the JSON of one notebook's records, whatever they hold; raises as :func:`read_content`."""
    return records_in(read_content(notebook))


def records_in(content: dict[str, Any]) -> list[Json]:
    """Return the JSON of the records in a notebook's content."""
    return [data[MIME] for data in bundles(content) if MIME in data]


def bundles(content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what a notebook shows: each output's forms by their MIME types."""
    outputs = (output for cell in content["cells"] for output in cell.get("outputs", ()))
    yield from (output["data"] for output in outputs if "data" in output)


def read_content(notebook: Path) -> dict[str, Any]:
    """Read one notebook: its cells are a list of objects, and so are their outputs; nothing else is known of it.

    Its records are whole, packed or not.

    Raises
    ------
    RecordError
        If it is no file or no notebook of format 4, or is nested too deep.
    """
    if notebook.exists() and not notebook.is_file():
        what = "a folder" if notebook.is_dir() else "no regular file"
        message = f"{notebook}: is {what}, expected an executed notebook: name one"
        raise RecordError(message)
    try:
        content = json.loads(read_regular(notebook, MOST_BYTES))
        fault = _fault(content)
    except OSError as error:
        message = f"{notebook}: cannot be read: {error.strerror}"
        raise RecordError(message) from error
    except (ValueError, RecursionError) as error:
        fault = f"{type(error).__name__}: {error}"
    if fault:
        message = f"{notebook}: is not a notebook of format 4 ({fault}): execute it again or move it away"
        raise RecordError(message)
    change_records(content, unpack)
    return dict(content)


def change_records(content: dict[str, Any], change: Callable[[Iterable[Json]], list[Json]]) -> None:
    """Put changed records in the places of those in a notebook's content, all of them at once."""
    holders = [data for data in bundles(content) if MIME in data]
    for data, record in zip(holders, change([data[MIME] for data in holders]), strict=True):
        data[MIME] = record


def _fault(content: Json) -> str:
    """Say what the content of a file lacks to be a notebook; empty if nothing."""
    if not isinstance(content, dict) or not _objects(content.get("cells")):
        return "it holds no list of cells"
    outputs = [cell.get("outputs", []) for cell in content["cells"]]
    if not all(map(_objects, outputs)):
        return "a cell's outputs are no list of objects"
    if not all(isinstance(output.get("data", {}), dict) for each in outputs for output in each):
        return "an output's data is no object"
    return f"it is nested more than {DEEPEST} levels deep" if nested_deeper(content, DEEPEST) else ""


def _objects(value: Json) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _notebooks(paths: list[Path | str], tell: Tell) -> list[Path]:
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        if not path.exists():
            message = f"{path}: no such notebook or folder"
            raise RecordError(message)
        if path.resolve() == Path(path.resolve().anchor):
            message = f"{path}: is the whole file system: name a folder in it"
            raise RecordError(message)
        found |= dict.fromkeys(notebooks_under(path, tell) if path.is_dir() else [path])
    return list(found)


def notebooks_under(folder: Path, tell: Tell = warn) -> list[Path]:
    """Return the notebooks in a folder and below, in order; none if it is missing. Checkpoints are left out.

    Parameters
    ----------
    tell
        Is told of every folder that cannot be listed.
    """

    def left_out(error: OSError) -> None:
        if error.errno != errno.ENOENT:
            tell(f"{error.filename}: cannot be listed: {error.strerror}")

    walked = os.walk(folder, onerror=left_out)
    # A folder of such a name is no notebook: whoever reads it says so.
    found = (Path(place, name) for place, *both in walked for names in both for name in names)
    return sorted(path for path in found if path.suffix == ".ipynb" and ".ipynb_checkpoints" not in path.parts)
