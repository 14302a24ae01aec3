"""One table over the records of any number of executed notebooks: as plain rows, and as a data frame for analysis."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from warnings import warn

from inferkit.records.figures import Figure, Json, Scalar
from inferkit.records.notebooks import Paths, Stored, Tell, load_runs
from inferkit.records.run import Run
from inferkit.report.asking import ask
from inferkit.report.labels import caveats, gpu_name, point_text
from inferkit.report.machines import machines
from inferkit.report.names import told_apart
from inferkit.text import plain

if TYPE_CHECKING:
    import pandas as pd

Row = Mapping[str, Any]
"""One run: what lacks is None, or no key at all."""


def load(paths: Paths, tell: Tell = warn) -> "pd.DataFrame":
    """Return one tidy table over any number of notebooks, one row per run; failed runs stay in it.

    See :func:`inferkit.records.notebooks.load_runs` for what is read, told and raised, :func:`table` for the columns.
    """
    return table(ask(partial(load_runs, paths), tell))


def table(stored: Iterable[Stored]) -> "pd.DataFrame":
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
    machine
        Which one (:mod:`inferkit.report.machines`); of networks and storages too, equal names are the same
        (:mod:`inferkit.report.names`).
    cpu, cpus, gpu, dtype, shape, settings
        What has to be equal for storages to be compared.
    contexts
        Batches inferred at a time on a GPU.
    data_bytes
        Size of the data set, where the record tells it.
    covered, limits
        Whether all of it was read while measuring, and which disks a control group lets be read no faster than so.
    version, software
        inferkit's version; and all that shapes a figure: kernel, driver, libraries.
    bound
        Where ranks were placed on demand; is equal in repetitions.
    origin
        Where the bytes were declared to come from; what is equal in repetitions.
    caveats
        What must stand beside the figure.
    reasons, warnings, unverified, failure
        Texts, joined by ``"; "``.
    """
    import pandas as pd  # a terminal needs no more than the rows

    # Arrow, in which pandas keeps texts, takes no half of a character.
    told = [
        {name: plain(value, lines=True) if isinstance(value, str) else value for name, value in row.items()}
        for row in rows(stored)
    ]
    frame = pd.DataFrame(told)
    # A column of nothing but None would be of objects, which cannot be sorted, summed or drawn.
    return frame.astype({name: float for name in frame if name in _NUMBERS or str(name).startswith("ceiling_")})


def rows(stored: Iterable[Stored]) -> list[Row]:
    """Return one row per run, with the columns of :func:`table`."""
    kept = list(stored)
    names = machines([run for run, _ in kept])
    runs = told_apart([run for run, _ in kept], names)
    return [{**_row(run, one.notebook), "machine": name} for run, one, name in zip(runs, kept, names, strict=True)]


def rows_of(frame: "pd.DataFrame") -> list[Row]:
    """Return a data frame's rows; pandas makes NaN of what lacks, and floats of integers beside it."""
    columns = list(map(str, frame.columns))
    return [
        {name: _plain(value) for name, value in zip(columns, row, strict=True) if value == value}
        for row in frame.itertuples(index=False, name=None)
    ]


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


SETTINGS = ("overlap", "contexts", "cuda_graph", "slots", "engine_threads", "split", "fast", "resize")
"""Parameters that make another measurement of the same point."""
ALL = 0.99
"""Share of a data set that is as good as all of it."""
MOST_BYTES = 2**80
"""No data set is as large: what says so tells nothing."""
BOUND = ("placement", "gpus")
"""Where ranks run and which GPUs they feed, where somebody said so: in a point they are no more than numbers."""
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
        "data_bytes": _data_bytes(run),
        "where": point_text(run),
        "contexts": run.params.get("contexts") if run.point.get("device") == "cuda" else None,
        "covered": _covered(run),
        "limits": _limits(run),
        "settings": _settings(run, SETTINGS),
        "origin": _settings(run, ORIGIN),
        "bound": _settings(run, [name for name in BOUND if run.params.get(name)]),
        "caveats": "; ".join(caveats(run)),
        "path": str(notebook),
        "machine": "",
    }
    taken = {name for name in run.point if name in row or name.startswith("ceiling_")}
    return {**row, **{f"point_{name}" if name in taken else name: value for name, value in run.point.items()}}


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
    """Word what two runs must share to be compared, and what runs on it; empty where the record does not say."""
    shape = _data_fact(run, "shape") or []
    host = run.host
    driver = next((gpu.driver for gpu in host.gpus if gpu.driver), "")
    software = {"kernel": host.kernel, "driver": driver, "python": host.python, **host.packages}
    return {
        "cpu": run.host.cpu,
        "cpus": str(run.host.threads or ""),
        "gpu": gpu_name(run),
        "dtype": str(_data_fact(run, "dtype") or ""),
        "shape": " × ".join(map(str, shape)),
        "version": host.packages.get("inferkit", ""),
        "software": ", ".join(f"{name} {version}" for name, version in software.items() if version),
    }


def _settings(run: Run, names: Sequence[str]) -> str:
    return ", ".join(f"{name}: {run.params[name]}" for name in names if name in run.params)


def _data_fact(run: Run, name: str) -> Json:
    """Look up a property of the data set: as found while measuring, else as asked for."""
    return run.facts.get(name) or run.params.get(name)


def _storage_fact(run: Run, name: str) -> Json:
    """Look up what is told of the storage; facts are open, so that anything may lie there."""
    storage = run.facts.get("storage")
    return storage.get(name) if isinstance(storage, dict) else None


def _covered(run: Run) -> str:
    share = _storage_fact(run, "covered")
    known = isinstance(share, int | float)
    return ("all of the data set" if share >= ALL else "a part of the data set") if known else ""


def _limits(run: Run) -> str:
    """Name the devices that a control group limits; ``none`` is known, and empty where nobody looked."""
    told = _storage_fact(run, "limits")
    names = [str(own.get("device")) for own in told if isinstance(own, dict)] if isinstance(told, list) else []
    return ", ".join(names) or ("none" if told == [] else "")


def _data_bytes(run: Run) -> float | None:
    """Return the size of the data set."""
    nbytes = _storage_fact(run, "dataset_bytes")
    return nbytes if isinstance(nbytes, int | float) and 0 < nbytes < MOST_BYTES else None


def _texts(run: Run) -> dict[str, str]:
    failure = "" if run.failure is None else f"{run.failure.kind}: {run.failure.message}"
    lists: Iterator[tuple[str, list[str]]] = (
        (name, getattr(run, name)) for name in ("reasons", "warnings", "unverified")
    )
    return {**{name: "; ".join(items) for name, items in lists}, "failure": failure}
