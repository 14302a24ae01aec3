"""Run the notebooks: a parameter file's, through papermill, one storage after the other.

The executed notebooks are the result; what this module knows of them it reads back from their records.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import nbformat
import papermill
from jupyter_core.paths import jupyter_data_dir
from nbformat.sign import NotebookNotary
from papermill.engines import NBClientEngine, papermill_engines
from papermill.exceptions import PapermillExecutionError

from inferkit.cli.configure import Configuration
from inferkit.cli.feed import Feed
from inferkit.cli.kernel import OwnKernelClient
from inferkit.cli.relay import KILLED_AFTER, Relay
from inferkit.cli.sockets import folder_for_sockets
from inferkit.cli.stuck import killed_when_stuck
from inferkit.cli.whole import NOTEBOOKS as WRITTEN
from inferkit.cli.whole import Manager
from inferkit.errors import ParameterError, RankError, ReadError, RecordError
from inferkit.files import say_once
from inferkit.linux.limits import check_room, raise_open_files
from inferkit.machine.watched import watched
from inferkit.measure.progress import MIME as PROGRESS_MIME
from inferkit.measure.progress import Sink
from inferkit.os_errors import explained
from inferkit.records.figures import Json
from inferkit.records.groups import Parameters
from inferkit.records.notebooks import read_notebook
from inferkit.records.packed import Unpacker
from inferkit.records.params import NOTEBOOKS
from inferkit.records.project import find, project_root, within
from inferkit.records.run import MIME as RUN_MIME
from inferkit.records.run import Run

Hear = Callable[[Mapping[str, Any]], None]
"""Is given all that a notebook's cells display, by MIME type."""
ENGINE = "inferkit"
UNFINISHED = "stopped by the user: the notebook could not be finished"
MOST_A_SECOND = 1000


@dataclass(frozen=True)
class Executed:
    """An executed notebook, why it ended early if it did, and whether the user stopped it."""

    notebook: Path
    runs: list[Run]
    error: str = ""
    stopped: bool = False


def execute(
    configuration: Configuration, out: Path, sink: Sink | None = None, feed: Feed | None = None
) -> Iterator[Executed]:
    """Execute a configuration's notebooks into a folder of their own.

    Parameters
    ----------
    configuration
        From :func:`configure`.
    out
        Folder for all runs; the notebooks go to ``out/<storage>/<time>/``.
    sink
        Where the notebooks' progress is shown.
    feed
        Is told of it as well, and of records.

    Yields
    ------
    Executed
        As soon as a notebook is written and signed; one whose last cell raised is written too. The one that the user
        stopped is the last.

    Raises
    ------
    ParameterError
        If the folder cannot be made, or the system allows too few open files or threads.
    ReadError
        If the folder's storage gives no answer.
    """
    raise_open_files()
    check_room()
    folder = watched(lambda _: _new_folder(out / configuration.name))
    if feed is not None:
        feed.tell(
            "planned", storage=configuration.name, notebooks=[*configuration.notebooks], skipped=configuration.skipped
        )
    for notebook, params in configuration.notebooks.items():
        output = folder / f"{NOTEBOOKS[notebook].file_stem}.ipynb"
        with within(configuration.root):
            executed = _without_home(output) or execute_notebook(notebook, params, output, sink, feed)
        if feed is not None:
            feed.tell("executed", path=str(output.absolute()), error=executed.error, stopped=executed.stopped)
        yield executed
        if executed.stopped:
            return


def _without_home(output: Path) -> Executed | None:
    """Return a notebook that was not begun, for the home gives no answer: each kernel looks for it as it starts."""
    try:
        with suppress(RankError, RuntimeError):  # no process to look with, or no home
            watched(lambda _: Path("~").expanduser().resolve())
    except ReadError as error:
        return Executed(output, [], f"did not run, for its kernel needs the home: {error}", stopped=True)
    return None


def _new_folder(parent: Path) -> Path:
    """Make a folder that is named after this second; a second one of the same second gets a number."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%SZ")
    for name in (now, *(f"{now}-{number}" for number in range(2, MOST_A_SECOND))):
        try:
            (parent / name).mkdir(parents=True)
        except FileExistsError as error:
            fault = explained(error)
        except OSError as error:
            fault = explained(error)
            break
        else:
            return parent / name
    message = f"--out: {parent / now} cannot be made: {fault}"
    raise ParameterError(message)


def execute_notebook(
    notebook: str, params: Parameters, output: Path, sink: Sink | None = None, feed: Feed | None = None
) -> Executed:
    """Execute one of the project's notebooks through papermill, sign it, and read its records back.

    Where it cannot be written, or not be read again, the records are those that were heard while it ran.
    """
    error = ""
    heard: list[Json] = []
    relay = Relay()
    try:
        with relay.installed():
            papermill.execute_notebook(
                literal(find(f"notebooks/{NOTEBOOKS[notebook].file_stem}.ipynb")),
                literal(output.absolute()),  # so that it is written by WholeNotebooks (whole.py)
                parameters=params.model_dump(mode="json", exclude_defaults=True),  # the cell above holds those
                engine_name=ENGINE,
                kernel_name="python3",
                cwd=project_root(),
                progress_bar=False,
                report_mode=True,  # folds the code away, that of the parameters too
                relay=relay,
                hear=partial(_hear, notebook, sink, feed, Unpacker(), heard),
            )
    except PapermillExecutionError as failed:
        error = f"{failed.ename}: {failed.evalue}" if failed.evalue or not relay.presses else UNFINISHED
    except (RuntimeError, RankError) as failed:  # nbclient's DeadKernelError is one; our client words them
        error = UNFINISHED if relay.presses >= KILLED_AFTER else str(failed)
    WRITTEN.finish()
    faults = [text for text in (error, WRITTEN.failure) if text]
    runs = _heard(heard, faults) if WRITTEN.failure else _read_back(output, heard, faults)
    return Executed(output, runs, "\n".join(faults), stopped=relay.presses > 0)


def _read_back(output: Path, heard: Sequence[Json], faults: list[str]) -> list[Run]:
    """Sign what was written, and read its records; return those that were heard where its storage gives no answer."""
    try:
        unsigned = watched(lambda _: _sign(output), deaf=True)
    except (ReadError, RankError) as error:
        unsigned = str(error)
    if unsigned:
        say_once(f"executed notebooks are not signed ({unsigned}): JupyterLab will ask whether to trust them")
    try:
        runs, more = watched(lambda _: _read(output), deaf=True)
    except (ReadError, RankError) as error:
        faults.append(str(error))
        return _heard(heard, faults)
    faults += [] if faults else more
    return runs


def _read(output: Path) -> tuple[list[Run], list[str]]:
    """Return a notebook's records, and what was wrong with it."""
    faults: list[str] = []
    return read_notebook(output, faults.append), faults


def literal(path: Path) -> str:
    """Return a path as papermill takes it, which fills in what stands between braces."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _heard(records: Sequence[Json], faults: list[str]) -> list[Run]:
    """Return the records that a notebook displayed, each once."""
    runs: dict[str, Run] = {}
    for record in records:
        try:
            runs.setdefault((run := Run.from_dict(record)).id, run)
        except RecordError as error:
            faults.append(str(error))
    return list(runs.values())


def _hear(
    notebook: str, sink: Sink | None, feed: Feed | None, unpacker: Unpacker, heard: list[Json], data: Mapping[str, Any]
) -> None:
    """Show elsewhere what a notebook displays, and keep its records, whole."""
    if RUN_MIME in data:
        heard.append(unpacker.unpack(data[RUN_MIME]))
        data = {**data, RUN_MIME: heard[-1]}
    if sink is not None and PROGRESS_MIME in data:
        sink.show(data[PROGRESS_MIME]["fraction"], data[PROGRESS_MIME]["text"])
    if feed is not None:
        feed.output(notebook, data)


class _Client(OwnKernelClient):
    """Passes on what a notebook displays; knows if its kernel spoke, and since when it idles (None: it works)."""

    def __init__(self, nb_man: Any, folder: str, hear: Hear, **kwargs: Any) -> None:
        super().__init__(nb_man, folder, **kwargs)
        self._hear = hear
        self.heard = False
        self.idle_s: float | None = None

    def process_message(self, *args: Any, **kwargs: Any) -> Any:
        self.heard = True
        content = args[0]["content"]
        if "execution_state" in content:
            self.idle_s = monotonic() if content["execution_state"] == "idle" else None
        self._hear(content.get("data", {}))
        return super().process_message(*args, **kwargs)  # type: ignore[no-untyped-call]


class _Engine(NBClientEngine):
    """papermill's own engine with our client and our manager.

    It speaks to the kernel through sockets in a folder of this user's own, not TCP ports that anybody on the machine
    can listen to, nor files in the current folder; the file with the kernel's key lies there too. ``relay`` and
    ``hear`` come from :func:`execute_notebook`: papermill hands on what it does not know itself.
    """

    @classmethod
    def execute_notebook(
        cls, nb: Any, kernel_name: str, output_path: str | None = None, *args: Any, **kwargs: Any
    ) -> Any:
        manager = Manager(nb, output_path)
        manager.notebook_start()
        try:
            cls.execute_managed_notebook(manager, kernel_name, *args, **kwargs)
        finally:
            manager.notebook_complete()
        return manager.nb

    @classmethod
    def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, *args: Any, **kwargs: Any) -> Any:
        relay: Relay = kwargs["relay"]
        hear: Hear = kwargs["hear"]
        with folder_for_sockets() as folder:
            client = _Client(nb_man, folder, hear, kernel_name=kernel_name, timeout=None, startup_timeout=60)
            with relay.reaching(client), killed_when_stuck(client):
                return client.execute()


papermill_engines.register(ENGINE, _Engine)


def _sign(notebook: Path) -> str:
    """Sign an executed notebook, so that JupyterLab on this machine shows all of its outputs; return why not, if so.

    Where the home cannot be written to nobody opens JupyterLab with it either.
    """
    try:
        Path(jupyter_data_dir()).mkdir(parents=True, exist_ok=True)
        notary = NotebookNotary()
        notary.sign(nbformat.read(notebook, as_version=4))
        notary.store.close()
    except (OSError, RuntimeError, sqlite3.Error) as error:
        return str(error)
    return ""
