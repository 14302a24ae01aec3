"""A parameter file, read, checked and planned, before the first notebook starts."""

import difflib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from inferkit.dataset.record import check_sources, expected, holds_images, lies_there
from inferkit.dataset.target import target
from inferkit.errors import InferkitError, ParameterError
from inferkit.plan.build import plan
from inferkit.plan.networks import DEFAULT_SHAPE, shape_for
from inferkit.plan.points import Plan
from inferkit.readers import READERS
from inferkit.records.params import MEASURING, MakeDataset, MultiProcess, Parameters, StorageToHost, unknown_parameter
from inferkit.records.project import project_root, resolve

STANDARD_INPUT, STANDARD_INPUT_NAME = "-", "standard input"
OPTION = "--set"
"""Named, in place of the file, where a value given with it is refused."""


@dataclass(frozen=True)
class Configuration:
    """A parameter file, checked: what each notebook gets.

    Parameters
    ----------
    name
        The storage's name.
    notebooks
        Parameters of each notebook that runs, in order.
    skipped
        Notebooks that do not apply, and why.
    plans
        What the notebooks measure.
    """

    name: str
    notebooks: dict[str, Parameters]
    skipped: dict[str, str] = field(default_factory=dict)
    plans: dict[str, Plan] = field(default_factory=dict)


def configure(
    config: str, *, only: Sequence[str] = (), changes: Mapping[str, Any] | None = None, out: Path | None = None
) -> Configuration:
    """Read, check and plan a parameter file.

    Parameters
    ----------
    config
        A name in ``parameters/``, a path, or ``-`` for standard input.
    only
        Notebooks to run; empty: all that apply.
    changes
        Values that replace those of the file.
    out
        Where executed notebooks go; ``rerun`` looks there for earlier ones.

    Raises
    ------
    InferkitError
        If it cannot run, naming file (or option), key, what was found and what is allowed.
    """
    changes = changes or {}
    path = Path(STANDARD_INPUT) if config == STANDARD_INPUT else _parameter_file(config)
    _check(OPTION, changes, _models(only))
    values = read(path) | dict(changes)
    values.setdefault("storage", path.stem)
    place = _place(path)
    return planned(values, place, only=only, out=out, blamed=f" with {OPTION} {', '.join(changes)}" if changes else "")


def planned(
    values: Mapping[str, Any], place: str, *, only: Sequence[str] = (), out: Path | None = None, blamed: str = ""
) -> Configuration:
    """Check and plan parameters.

    Parameters
    ----------
    values
        Parameters by name, the storage's among them.
    place, blamed
        Where they come from, for messages; and what else has a share in what cannot be planned.
    only, out
        As of :func:`configure`.

    Raises
    ------
    InferkitError
        If it cannot run.
    """
    models = _models(only)
    values = dict(values)
    if out is not None:
        values.setdefault("earlier", str(out.absolute()))
    values = _shape_of_models(values) | values
    params = _check(place, values, models)
    skipped = {} if only else {notebook: why for notebook, p in params.items() if (why := _does_not_apply(p, values))}
    notebooks = {notebook: params[notebook] for notebook in MEASURING if notebook in params and notebook not in skipped}
    plans: dict[str, Plan] = {}
    try:
        maker = notebooks.get("01")
        if isinstance(maker, MakeDataset):
            check_sources(maker)
        pending = expected(maker) if isinstance(maker, MakeDataset) else None
        for notebook, its_params in notebooks.items():
            plans[notebook] = plan(its_params, pending=pending)
    except InferkitError as error:
        message = f"{place}{blamed}: {error}"
        raise type(error)(message) from error
    return Configuration(str(values["storage"]), notebooks, skipped, plans)


def _parameter_file(config: str) -> Path:
    named = configurations()
    for path in (Path(config), named.get(config)):
        if path is not None and path.is_file():
            return path.resolve()
    near = difflib.get_close_matches(config, named, n=1)
    hint = f": did you mean {near[0]!r}?" if near else ""
    message = f"{config!r} is neither a file nor one of {', '.join(named)}{hint}"
    raise ParameterError(message)


def configurations() -> dict[str, Path]:
    """Return the project's parameter files by their names."""
    return {path.stem: path for path in sorted((project_root() / "parameters").glob("*.yaml"))}


def read(path: Path) -> dict[str, Any]:
    """Read a parameter file; ``-`` is standard input.

    Raises
    ------
    ParameterError
        If it is not YAML, or holds something else than names and values.
    """
    place = _place(path)
    try:
        text = sys.stdin.read() if place == STANDARD_INPUT_NAME else path.read_text(encoding="utf-8")
        values = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        message = f"{place} is not YAML: {error}"
        raise ParameterError(message) from error
    if not isinstance(values, dict):
        message = f"{place} holds {type(values).__name__}, expected `name: value` lines"
        raise ParameterError(message)
    for key in values:
        if not isinstance(key, str):
            message = (
                f"{place}: a key was read as {key!r}: YAML takes on, off, yes, no and numbers for values; quote it"
            )
            raise ParameterError(message)
    return values


def _place(path: Path) -> str:
    return STANDARD_INPUT_NAME if str(path) == STANDARD_INPUT else str(path)


def _models(only: Sequence[str]) -> dict[str, type[Parameters]]:
    return {notebook: _model(notebook) for notebook in (only or MEASURING)}


def _model(notebook: str) -> type[Parameters]:
    if notebook not in MEASURING:
        message = f"--only {notebook}: notebooks are {', '.join(MEASURING)}"
        raise ParameterError(message)
    return MEASURING[notebook]


def _declared(model: type[Parameters], values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in model.model_fields}


def _check(where: str, values: Mapping[str, Any], models: Mapping[str, type[Parameters]]) -> dict[str, Parameters]:
    """Return each notebook's parameters; refuse a key that none declares in the words in which a notebook does."""
    known = {name for model in MEASURING.values() for name in model.model_fields}
    for name in values:
        if name not in known:
            raise ParameterError(unknown_parameter(name, known, where))
    return {notebook: model.check(_declared(model, values), where=where) for notebook, model in models.items()}


def _shape_of_models(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the shape of random images for models that want others than photographs; nothing where none are made."""
    models, data = values.get("models"), values.get("data")
    there = bool(data) and isinstance(data, str) and holds_images(resolve(data))
    if there or values.get("images") or "size" in values or not isinstance(models, list):
        return {}
    shape = shape_for(models)
    return {} if shape == DEFAULT_SHAPE else {"shape": list(shape)}


def _does_not_apply(params: Parameters, values: Mapping[str, Any]) -> str:
    """Return why a notebook has nothing to do with such parameters; empty if it has something to do."""
    readers = values.get("readers", [])
    if isinstance(params, MakeDataset):
        if readers and not any(READERS[r].capabilities.has_files for r in readers if r in READERS):
            return f"reader {', '.join(readers)} needs no data set"
        if not params.images and lies_there(params):
            return f"{target(params)} holds a data set already, and no images are named"
    if isinstance(params, StorageToHost) and not any(
        READERS[r].capabilities.has_ceiling for r in params.readers if r in READERS
    ):
        return f"readers {', '.join(params.readers)} read nothing"
    if isinstance(params, MultiProcess) and "ranks" not in values:
        return "no ranks are set (write ranks: auto to compare processes, or use --only 03c)"
    return ""
