"""One table over the records of any number of executed notebooks."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from warnings import warn

import pandas as pd

from inferkit.records.figures import Figure, Json, Scalar
from inferkit.records.notebooks import Paths, Stored, Tell, load_runs
from inferkit.records.run import Run
from inferkit.report.labels import caveats, gpu_name, point_text


def load(paths: Paths, tell: Tell = warn) -> pd.DataFrame:
    """Return one tidy table over any number of notebooks, one row per run; failed runs stay in it.

    See :func:`inferkit.records.notebooks.load_runs` for what is read, told and raised, :func:`table` for the columns.
    """
    return table(load_runs(paths, tell))


def table(stored: Iterable[Stored]) -> pd.DataFrame:
    """Put runs into one table.

    Columns
    -------
    id, notebook, measure, storage, profile, scope, verdict, quotable, started
        As in the record.
    where
        The point in words.
    path
        The notebook's file.
    one per axis of a point
        Under the axis' own name, ``point_<name>`` where that is another column's.
    images_per_s, bytes_per_s, half_width, predicted_images_per_s, predicted_bytes_per_s, reached, bottleneck,
    ceiling_<stage>, and cov of records of schema 1
        Figures; ceilings in images per second.
    cpu, cpus, gpu, dtype, shape, settings
        What has to be equal for storages to be compared.
    origin
        Where the bytes were declared to come from; what is equal in repetitions.
    caveats
        What must stand beside the figure.
    reasons, warnings, unverified, failure
        Texts, joined by ``"; "``.
    """
    frame = pd.DataFrame([_row(run, notebook) for run, notebook in stored])
    # A column of nothing but None would be of objects, which cannot be sorted, summed or drawn.
    return frame.astype({name: float for name in frame if name in _NUMBERS or str(name).startswith("ceiling_")})


SETTINGS = ("overlap", "contexts", "cuda_graph", "slots", "engine_threads", "split", "fast", "resize")
"""Parameters that make another measurement of the same point."""
ORIGIN = ("source", "evict")
"""What is said of where the bytes come from; storages differ in it by nature, repetitions of a point may not."""
_MEASURED = ("images_per_s", "bytes_per_s", "half_width", "cov")
_NUMBERS = {*_MEASURED, "predicted_images_per_s", "predicted_bytes_per_s", "reached"}


def _row(run: Run, notebook: Path) -> dict[str, Any]:
    row = {
        **_head(run),
        **_figures(run),
        **_machine(run),
        **_texts(run),
        "started": run.started,
        "where": point_text(run),
        "settings": _settings(run, SETTINGS),
        "origin": _settings(run, ORIGIN),
        "caveats": "; ".join(caveats(run)),
        "path": str(notebook),
    }
    axes = {f"point_{name}" if name in row else name: value for name, value in run.point.items()}
    return {**row, **axes}


def _head(run: Run) -> dict[str, Scalar]:
    names = ("id", "notebook", "measure", "storage", "profile", "scope", "verdict", "quotable")
    return {name: getattr(run, name) for name in names}


def _figures(run: Run) -> dict[str, Scalar | None]:
    measured, predicted = run.measured or Figure(), run.predicted or Figure()
    ceilings = {f"ceiling_{name}": figure.images_per_s for name, figure in run.ceilings.items()}
    own = {name: getattr(measured, name) for name in _MEASURED}
    return {
        **own,
        "predicted_images_per_s": predicted.images_per_s,
        "predicted_bytes_per_s": predicted.bytes_per_s,
        "reached": run.reached,
        "bottleneck": run.bottleneck,
        **ceilings,
    }


def _machine(run: Run) -> dict[str, str]:
    """Word what two runs must share to be compared; empty where the record does not say."""
    shape = _data_fact(run, "shape") or []
    return {
        "cpu": run.host.cpu,
        "cpus": str(run.host.threads or ""),
        "gpu": gpu_name(run),
        "dtype": str(_data_fact(run, "dtype") or ""),
        "shape": " × ".join(map(str, shape)),
    }


def _settings(run: Run, names: Sequence[str]) -> str:
    return ", ".join(f"{name}: {run.params[name]}" for name in names if name in run.params)


def _data_fact(run: Run, name: str) -> Json:
    """Look up a property of the data set: as found while measuring, else as asked for."""
    return run.facts.get(name) or run.params.get(name)


def _texts(run: Run) -> dict[str, str]:
    failure = "" if run.failure is None else f"{run.failure.kind}: {run.failure.message}"
    lists: Iterator[tuple[str, list[str]]] = (
        (name, getattr(run, name)) for name in ("reasons", "warnings", "unverified")
    )
    return {**{name: "; ".join(items) for name, items in lists}, "failure": failure}
