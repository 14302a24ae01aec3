"""A parameter file, read, checked and planned, before the first notebook starts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inferkit.cli.parameter_files import located, read
from inferkit.dataset.contents import contents
from inferkit.dataset.record import check_sources, check_target, counted, expected, holds_images, lies_there
from inferkit.dataset.target import target
from inferkit.dataset.tensors import Dataset
from inferkit.errors import CredentialError, InferkitError, ParameterError, ReadError
from inferkit.files import obstacle
from inferkit.machine.placement_overrides import parsed
from inferkit.objects.place import is_url
from inferkit.plan.assumed import Assumed, gpus_named
from inferkit.plan.build import plan
from inferkit.plan.networks import DEFAULT_SHAPE, shape_for
from inferkit.plan.points import Plan
from inferkit.readers import READERS
from inferkit.records.faults import unknown_parameter
from inferkit.records.groups import Parameters, Reading
from inferkit.records.params import MEASURING, Cluster, MakeDataset, MultiProcess, StorageToHost
from inferkit.records.project import resolve, within

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
    file, root
        The parameter file, and the folder that its relative paths resolve against.
    out
        Folder for the executed notebooks of all storages.
    assumed
        What a dry run takes to be here although it is not.
    """

    name: str
    notebooks: dict[str, Parameters]
    file: Path
    root: Path
    out: Path
    skipped: dict[str, str] = field(default_factory=dict)
    plans: dict[str, Plan] = field(default_factory=dict)
    assumed: tuple[str, ...] = ()

    @property
    def data(self) -> str:
        """The data set that is made or read; empty where images lie in memory alone."""
        maker = self.notebooks.get(MakeDataset.notebook)
        read = [plan.dataset.folder for plan in self.plans.values() if plan.dataset and not plan.dataset.in_memory]
        with within(self.root):
            return str(target(maker) if isinstance(maker, MakeDataset) else next(iter(read), ""))


def configure(
    config: str,
    *,
    only: Sequence[str] = (),
    changes: Mapping[str, Any] | None = None,
    out: Path | None = None,
    dry: bool = False,
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
        Where executed notebooks go (default: ``runs`` in the file's project); ``rerun`` looks there for earlier ones.
    dry
        Nothing is to run: hardware and folders that are not here are assumed, and nothing is made.

    Raises
    ------
    InferkitError
        If it cannot run, naming file (or option), key, what was found and what is allowed.
    """
    path, root = located(config)
    changes = changes or {}
    with within(root):
        _check(OPTION, changes, _models(only))
        values = {**read(path), **changes}
        blamed = f" with {OPTION} {', '.join(changes)}" if changes else ""
        return planned(values, path, root, only=only, out=out, dry=dry, blamed=blamed)


def planned(
    values: Mapping[str, Any],
    path: Path,
    root: Path,
    *,
    only: Sequence[str] = (),
    out: Path | None = None,
    dry: bool = False,
    blamed: str = "",
) -> Configuration:
    """Check and plan parameters.

    Parameters
    ----------
    values
        Parameters by name, the storage's among them.
    path, blamed
        Where they come from, for messages, and what else has a share in what cannot be planned.
    root
        The project that relative paths resolve against.
    only, out, dry
        As of :func:`configure`.

    Raises
    ------
    InferkitError
        If it cannot run.
    """
    models, place, values = _models(only), str(path), dict(values)
    if values.get("storage", "") == "":
        values["storage"] = path.stem
    _check(place, values, MEASURING)
    target = (out or root / "runs").absolute()
    if why := obstacle(target, elsewhere=dry):
        message = f"--out: {target} cannot be made, {why}: name a folder that you may write to"
        raise ParameterError(message)
    if out is not None:
        values.setdefault("earlier", str(target))
    values = _shape_of_models(values) | values
    params = _check(place, values, models)
    unfit = {notebook: _does_not_apply(its_params, values, dry) for notebook, its_params in params.items() if not only}
    skipped = {notebook: why for notebook, why in unfit.items() if why}
    notebooks = {notebook: params[notebook] for notebook in MEASURING if notebook in params and notebook not in skipped}
    plans: dict[str, Plan] = {}
    assumed = Assumed(gpus_named(notebooks.values())) if dry else None
    try:
        for line in values.get("placement", ()):
            parsed(line)
        pending = _pending(notebooks, values, place, assumed)
        for notebook, its_params in notebooks.items():
            plans[notebook] = plan(its_params, pending=pending, assumed=assumed)
            if isinstance(its_params, Cluster):
                _check_scheduler(its_params, assumed)
    except InferkitError as error:
        message = f"{place}{blamed}: {error}"
        raise type(error)(message) from error
    told = tuple(dict.fromkeys(assumed.told)) if assumed else ()
    return Configuration(str(values["storage"]), notebooks, path, root, target, skipped, plans, told)


def _check_scheduler(params: Cluster, assumed: Assumed | None) -> None:
    """Refuse a scheduler that cannot be reached; a dry run assumes it."""
    from inferkit.cluster.workers import check_scheduler  # who measures on one machine alone waits for none of it

    try:
        check_scheduler(params.scheduler)
    except ParameterError as error:
        if assumed is None or not params.scheduler:
            raise
        assumed.told.append(str(error))


def _pending(
    notebooks: Mapping[str, Parameters], values: Mapping[str, Any], where: str, assumed: Assumed | None
) -> Dataset | None:
    """Describe the data set that notebook 01 has yet to make. A dry run takes it to be there where 01 does not run."""
    maker = notebooks.get(MakeDataset.notebook)
    if isinstance(maker, MakeDataset):
        check_sources(maker, assumed.told if assumed else None)
        return expected(maker) if assumed is None else counted(maker)
    if assumed is None or not any(isinstance(params, Reading) for params in notebooks.values()):
        return None
    maker = MakeDataset.check(_declared(MakeDataset, values), where=where)
    if not maker.data or _answers(contents(target(maker)).exists, dry=True):
        return None
    check_target(target(maker), elsewhere=True)
    assumed.told.append(f"data set {target(maker)}, as notebook 01 would make it")
    return counted(maker)


def _answers(asked: Callable[[], bool], dry: bool) -> bool:
    """Return what a folder or a store answers; for a dry run a store that cannot be asked holds nothing."""
    try:
        return asked()
    except (CredentialError, ReadError):
        if not dry:
            raise
        return False


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
    there = isinstance(data, str) and bool(data) and (is_url(data) or holds_images(resolve(data)))
    if there or values.get("images") or "size" in values or not isinstance(models, list):
        return {}
    shape = shape_for(models)
    return {} if shape == DEFAULT_SHAPE else {"shape": list(shape)}


def _does_not_apply(params: Parameters, values: Mapping[str, Any], dry: bool) -> str:
    """Return why a notebook has nothing to do with such parameters; empty if it has something to do."""
    readers = values.get("readers", [])
    if isinstance(params, MakeDataset):
        if readers and not any(READERS[r].capabilities.has_files for r in readers if r in READERS):
            return f"reader {', '.join(readers)} needs no data set"
        if not params.images and _answers(lambda: lies_there(params), dry):
            return f"{target(params)} holds a data set already, and no images are named"
    if isinstance(params, StorageToHost) and not any(
        READERS[r].capabilities.has_ceiling for r in params.readers if r in READERS
    ):
        return f"readers {', '.join(params.readers)} read nothing"
    if isinstance(params, Cluster):
        return "" if params.scheduler else "no scheduler is set (see docs/cluster.md)"
    if isinstance(params, MultiProcess) and "ranks" not in values:
        return "no ranks are set (write ranks: auto to compare processes, or use --only 03c)"
    return ""
