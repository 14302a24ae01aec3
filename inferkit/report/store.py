"""Read executed notebooks: their records, and nothing else of them.

A Run lies in a cell's output under its own MIME type. No printed text, no HTML and no variable is read, so notebooks of
any origin, edited and commented by people, load the same.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from inferkit.errors import RecordError
from inferkit.report.words import gpu_name
from inferkit.run import MIME, Figure, Json, Run, Scalar


class Stored(NamedTuple):
    """A run and the notebook that it was found in."""

    run: Run
    notebook: Path


Paths = Path | str | Iterable[Path | str]


def load_runs(paths: Paths) -> list[Stored]:
    """Read the records of notebooks.

    Parameters
    ----------
    paths
        An executed notebook, a folder (searched recursively, checkpoints left out), or several of either.

    Returns
    -------
    stored
        Each run once, even where a notebook was copied, in the order of files and cells.

    Raises
    ------
    RecordError
        Naming every notebook that cannot be read, or if there is not a single record.
    """
    notebooks = _notebooks([paths] if isinstance(paths, Path | str) else list(paths))
    found: dict[str, Stored] = {}
    faults: list[str] = []
    for notebook in notebooks:
        try:
            for run in read_notebook(notebook):
                found.setdefault(run.id, Stored(run, notebook))
        except RecordError as error:
            faults.append(str(error))
    if faults:
        raise RecordError("\n".join(faults))
    if not found:
        msg = f"no record in {len(notebooks)} notebook(s) under {paths}: run one first, as by `inferkit run quickstart`"
        raise RecordError(msg)
    return list(found.values())


def read_notebook(notebook: Path) -> list[Run]:
    """Read the records of one notebook, in the order of its cells; none if it holds none.

    Raises
    ------
    RecordError
        If the file is no notebook, or a record is of an unknown schema or does not fit its own.
    """
    try:
        content = json.loads(notebook.read_text(encoding="utf-8"))
        outputs = [output for cell in content["cells"] for output in cell.get("outputs", ())]
        records = [output["data"][MIME] for output in outputs if MIME in output.get("data", {})]
    except OSError as error:
        msg = f"{notebook}: cannot be read: {error.strerror}"
        raise RecordError(msg) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        found = f"{type(error).__name__}: {error}"
        msg = f"{notebook}: is not a notebook of format 4 ({found}): execute it again or move it away"
        raise RecordError(msg) from error
    return [_run(record, notebook) for record in records]


def _run(record: Json, notebook: Path) -> Run:
    if not isinstance(record, dict):
        msg = f"{notebook}: record is a {type(record).__name__}, expected a JSON object"
        raise RecordError(msg)
    try:
        return Run.from_dict(record)
    except RecordError as error:
        msg = f"{notebook}: {error}"
        raise RecordError(msg) from error


def _notebooks(paths: list[Path | str]) -> list[Path]:
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        if not path.exists():
            msg = f"{path}: no such notebook or folder"
            raise RecordError(msg)
        inside = sorted(path.rglob("*.ipynb")) if path.is_dir() else [path]
        found |= dict.fromkeys(item for item in inside if ".ipynb_checkpoints" not in item.parts)
    return list(found)


def load(paths: Paths) -> pd.DataFrame:
    """Return one tidy table over any number of notebooks, one row per run; failed runs stay in it.

    See :func:`load_runs` for what is read and raised, :func:`table` for the columns.
    """
    return table(load_runs(paths))


def table(stored: Iterable[Stored]) -> pd.DataFrame:
    """Put runs into one table.

    Columns
    -------
    id, stage, measure, storage, profile, scope, verdict, quotable, started, notebook
        As in the record.
    one per axis of a point
        Under the axis' own name, ``point_<name>`` where that is another column's.
    images_per_s, bytes_per_s, cov, predicted_images_per_s, predicted_bytes_per_s, reached, binding, ceiling_<stage>
        Figures; ceilings in images per second.
    cpu, gpu, dtype, shape
        What has to be equal for storages to be compared.
    reasons, warnings, unverified, failure
        Texts, joined by ``"; "``.
    """
    frame = pd.DataFrame([_row(run, notebook) for run, notebook in stored])
    # A column of nothing but None would be of objects, which cannot be sorted, summed or drawn.
    return frame.astype({name: float for name in frame if name in _NUMBERS or str(name).startswith("ceiling_")})


_NUMBERS = {"images_per_s", "bytes_per_s", "cov", "predicted_images_per_s", "predicted_bytes_per_s", "reached"}


def _row(run: Run, notebook: Path) -> dict[str, Any]:
    row = {
        **_head(run),
        **_figures(run),
        **_machine(run),
        **_texts(run),
        "started": run.started,
        "notebook": str(notebook),
    }
    axes = {f"point_{name}" if name in row else name: value for name, value in run.point.items()}
    return {**row, **axes}


def _head(run: Run) -> dict[str, Scalar]:
    names = ("id", "stage", "measure", "storage", "profile", "scope", "verdict", "quotable")
    return {name: getattr(run, name) for name in names}


def _figures(run: Run) -> dict[str, Scalar | None]:
    measured, predicted = run.measured or Figure(), run.predicted or Figure()
    ceilings = {f"ceiling_{name}": figure.images_per_s for name, figure in run.ceilings.items()}
    own = {"images_per_s": measured.images_per_s, "bytes_per_s": measured.bytes_per_s, "cov": measured.cov}
    return {
        **own,
        "predicted_images_per_s": predicted.images_per_s,
        "predicted_bytes_per_s": predicted.bytes_per_s,
        "reached": run.reached,
        "binding": run.binding,
        **ceilings,
    }


def _machine(run: Run) -> dict[str, str]:
    """Word what two runs must share to be compared; empty where the record does not tell."""
    shape = _data_fact(run, "shape") or []
    return {
        "cpu": run.host.cpu,
        "gpu": gpu_name(run),
        "dtype": str(_data_fact(run, "dtype") or ""),
        "shape": " × ".join(map(str, shape)),
    }


def _data_fact(run: Run, name: str) -> Json:
    """Look a property of the data set up: as found while measuring, else as asked for."""
    return run.facts.get(name) or run.params.get(name)


def _texts(run: Run) -> dict[str, str]:
    failure = "" if run.failure is None else f"{run.failure.kind}: {run.failure.message}"
    lists: Iterator[tuple[str, list[str]]] = (
        (name, getattr(run, name)) for name in ("reasons", "warnings", "unverified")
    )
    return {**{name: "; ".join(items) for name, items in lists}, "failure": failure}
