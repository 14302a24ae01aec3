"""Run the notebooks: a parameter file's stages through papermill, one storage after the other.

Everything is checked and planned before the first notebook starts. The executed notebooks are the result; what this
module knows of them it reads back from their records.
"""

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import nbformat
import papermill
import yaml
from jupyter_core.paths import jupyter_data_dir
from nbclient.exceptions import DeadKernelError
from nbformat.sign import NotebookNotary
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, papermill_engines
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

from inferkit.dataset.record import check_sources, expected, holds_images, lies_there, target
from inferkit.errors import InferkitError, ParameterError
from inferkit.models.chosen import DEFAULT_SHAPE, shape_for
from inferkit.params import (
    NOTEBOOKS,
    MakeDataset,
    MultiProcess,
    Parameters,
    StorageToHost,
    project_root,
    resolve,
    unknown_parameter,
)
from inferkit.plan import Plan, plan
from inferkit.progress import MIME as PROGRESS_MIME
from inferkit.progress import Sink
from inferkit.readers import READERS
from inferkit.report.store import read_notebook
from inferkit.run import Run

ENGINE = "inferkit"
KILLED_AFTER = 3
"""Interrupts until a kernel that does not answer is killed."""
STAGES = tuple(stage for stage in NOTEBOOKS if stage != "compare")


@dataclass(frozen=True)
class Configuration:
    """A parameter file, checked: what each stage's notebook gets.

    Parameters
    ----------
    name
        The storage's name.
    stages
        Parameters of each stage that runs, in order.
    skipped
        Stages that do not apply, and why.
    plans
        What the stages measure.
    """

    name: str
    stages: dict[str, Parameters]
    skipped: dict[str, str] = field(default_factory=dict)
    plans: dict[str, Plan] = field(default_factory=dict)


@dataclass(frozen=True)
class Executed:
    """An executed notebook, why it ended early if it did, and whether the user stopped it."""

    notebook: Path
    runs: list[Run]
    error: str = ""
    stopped: bool = False


def configure(
    config: str, *, only: Sequence[str] = (), changes: Mapping[str, Any] | None = None, out: Path | None = None
) -> Configuration:
    """Read, check and plan a parameter file.

    Parameters
    ----------
    config
        A name in ``parameters/``, or a path.
    only
        Stages to run; empty: all that apply.
    changes
        Values that replace those of the file.
    out
        Where executed notebooks go; ``rerun`` looks there for earlier ones.

    Raises
    ------
    InferkitError
        If it cannot run, naming file, key, what was found and what is allowed.
    """
    path = _parameter_file(config)
    values = _read(path) | dict(changes or {})
    _refuse_unknown(path, values)
    values.setdefault("storage", path.stem)
    if out is not None:
        values.setdefault("earlier", str(out.absolute()))
    values = _shape_of_models(values) | values
    models = {stage: _model(stage) for stage in (only or STAGES)}
    params = {stage: model.check(_declared(model, values), where=str(path)) for stage, model in models.items()}
    skipped = {} if only else {stage: why for stage, p in params.items() if (why := _does_not_apply(p, values))}
    stages = {stage: params[stage] for stage in STAGES if stage in params and stage not in skipped}
    plans: dict[str, Plan] = {}
    try:
        maker = stages.get("01")
        if isinstance(maker, MakeDataset):
            check_sources(maker)
        pending = expected(maker) if isinstance(maker, MakeDataset) else None
        for stage, stage_params in stages.items():
            plans[stage] = plan(stage_params, pending=pending)
    except InferkitError as error:
        msg = f"{path}: {error}"
        raise type(error)(msg) from error
    return Configuration(str(values["storage"]), stages, skipped, plans)


def _parameter_file(config: str) -> Path:
    folder = project_root() / "parameters"
    for path in (Path(config), folder / f"{config}.yaml"):
        if path.is_file():
            return path.resolve()
    names = ", ".join(sorted(path.stem for path in folder.glob("*.yaml")))
    msg = f"{config!r} is neither a file nor one of {names}"
    raise ParameterError(msg)


def _read(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        msg = f"{path} is no YAML: {error}"
        raise ParameterError(msg) from error
    if not isinstance(values, dict):
        msg = f"{path} holds {type(values).__name__}, expected `name: value` lines"
        raise ParameterError(msg)
    for key in values:
        if not isinstance(key, str):
            msg = f"{path}: a key was read as {key!r}: YAML takes on, off, yes, no and numbers for values; quote it"
            raise ParameterError(msg)
    return values


def _model(stage: str) -> type[Parameters]:
    if stage not in STAGES:
        msg = f"--only {stage}: stages are {', '.join(STAGES)}"
        raise ParameterError(msg)
    return NOTEBOOKS[stage]


def _declared(model: type[Parameters], values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in model.model_fields}


def _refuse_unknown(path: Path, values: Mapping[str, Any]) -> None:
    """Refuse a key that no notebook declares, with the message that any one of them has for it."""
    known = {name for stage in STAGES for name in NOTEBOOKS[stage].model_fields}
    for name in values:
        if name not in known:
            raise ParameterError(unknown_parameter(name, known, str(path)))


def _shape_of_models(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the shape of random images for models that want others than photographs; nothing where none are made."""
    models, data = values.get("models"), values.get("data")
    there = bool(data) and isinstance(data, str) and holds_images(resolve(data))
    if there or values.get("images") or "size" in values or not isinstance(models, list):
        return {}
    shape = shape_for(models)
    return {} if shape == DEFAULT_SHAPE else {"shape": list(shape)}


def _does_not_apply(params: Parameters, values: Mapping[str, Any]) -> str:
    """Return why a stage has nothing to do with such parameters; empty if it has."""
    readers = values.get("readers", [])
    if isinstance(params, MakeDataset):
        if readers == ["memory"]:
            return "reader memory needs no data set"
        if not params.images and lies_there(params):
            return f"{target(params)} holds a data set already, and no images are named"
    if isinstance(params, StorageToHost) and not any(READERS[r].has_ceiling for r in params.readers if r in READERS):
        return f"readers {', '.join(params.readers)} read nothing"
    if isinstance(params, MultiProcess) and "ranks" not in values:
        return "it says nothing of ranks (write ranks: auto to compare processes, or use --only 03c)"
    return ""


def execute(configuration: Configuration, out: Path, sink: Sink | None = None) -> Iterator[Executed]:
    """Execute a configuration's notebooks into a folder of their own.

    Parameters
    ----------
    configuration
        From :func:`configure`.
    out
        Folder for all runs; the notebooks go to ``out/<storage>/<time>/``.
    sink
        Where the notebooks' progress is shown.

    Yields
    ------
    Executed
        As soon as a notebook is written and signed; one whose last cell raised is written too. The one that the user
        stopped is the last.
    """
    folder = out / configuration.name / datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%SZ")
    folder.mkdir(parents=True)
    for stage, params in configuration.stages.items():
        executed = execute_notebook(stage, params, folder / f"{NOTEBOOKS[stage].notebook}.ipynb", sink)
        yield executed
        if executed.stopped:
            return


def execute_notebook(stage: str, params: Parameters, output: Path, sink: Sink | None = None) -> Executed:
    """Execute one notebook through papermill, sign it, and read its records back."""
    _Client.sink = sink
    error = ""
    try:
        with _interrupts_relayed() as presses:
            papermill.execute_notebook(
                project_root() / "notebooks" / f"{NOTEBOOKS[stage].notebook}.ipynb",
                output,
                parameters=params.model_dump(mode="json"),
                engine_name=ENGINE,
                kernel_name="python3",
                cwd=project_root(),
                progress_bar=False,
            )
    except PapermillExecutionError as failed:
        error = f"{failed.ename}: {failed.evalue}"
    except DeadKernelError as dead:
        error = f"the notebook's kernel died: {dead}"
    _sign(output)
    return Executed(output, read_notebook(output), error, stopped=bool(presses))


class _Client(PapermillNotebookClient):
    """Passes on the progress that a notebook shows, and is known while it runs so that Ctrl-C can reach its kernel."""

    sink: Sink | None = None
    running: "_Client | None" = None

    def execute(self, **kwargs: Any) -> Any:
        _Client.running = self
        try:
            return super().execute(**kwargs)  # type: ignore[no-untyped-call]
        finally:
            _Client.running = None

    def process_message(self, *args: Any, **kwargs: Any) -> Any:
        data = args[0]["content"].get("data", {})
        if self.sink is not None and PROGRESS_MIME in data:
            self.sink.show(data[PROGRESS_MIME]["fraction"], data[PROGRESS_MIME]["text"])
        return super().process_message(*args, **kwargs)  # type: ignore[no-untyped-call]


# Sockets of this user's own, not TCP ports that anybody on the machine can listen to.
_PRIVATE = Config({"ConnectionFileMixin": {"transport": "ipc"}})


class _Engine(NBClientEngine):
    """papermill's own engine with our client."""

    @classmethod
    def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, *args: Any, **kwargs: Any) -> Any:
        return _Client(nb_man, kernel_name=kernel_name, timeout=None, startup_timeout=60, config=_PRIVATE).execute()  # type: ignore[no-untyped-call]


papermill_engines.register(ENGINE, _Engine)


@contextmanager
def _interrupts_relayed() -> Iterator[list[int]]:
    """Send each Ctrl-C on to the kernel, which lives in a session of its own; a third one kills it.

    While a notebook measures, the first lets the point under way be finished and the second ends it.
    """
    presses: list[int] = []

    def relay(number: int, frame: FrameType | None) -> None:
        presses.append(number)
        client = _Client.running
        kernel = getattr(getattr(getattr(client, "km", None), "provisioner", None), "pid", None)
        if kernel is None:
            raise KeyboardInterrupt
        os.kill(kernel, signal.SIGINT if len(presses) < KILLED_AFTER else signal.SIGKILL)

    before = {number: signal.signal(number, relay) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield presses
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _sign(notebook: Path) -> None:
    """Sign an executed notebook, so that JupyterLab on this machine shows all of its outputs."""
    Path(jupyter_data_dir()).mkdir(parents=True, exist_ok=True)
    notary = NotebookNotary()
    notary.sign(nbformat.read(notebook, as_version=4))
    notary.store.close()
