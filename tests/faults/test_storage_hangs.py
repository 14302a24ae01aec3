"""Storage that answers no more, before, while and after anything is measured: given up, and told with its mount.

The FUSE program is stopped (SIGSTOP), so that whatever asks its mount waits for ever, as for a server that is gone; or
it takes a read and never answers it, which not even SIGKILL ends.
"""

import errno
import json
import os
import queue
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from inferkit.cli import execute as executing
from inferkit.cli.configure import Configuration, configure
from inferkit.cli.main import main
from inferkit.cli.whole import WholeNotebooks
from inferkit.cockpit.preview import Planner
from inferkit.dataset.record import make_dataset
from inferkit.dataset.synthetic import make_synthetic
from inferkit.errors import ReadError
from inferkit.machine import watchdog
from inferkit.machine import watched as watching
from inferkit.measure import watch
from inferkit.measure.measure import measure
from inferkit.measure.watch import Status
from inferkit.plan.build import plan, prepare
from inferkit.ranks import launch
from inferkit.records.notebooks import read_notebook
from inferkit.records.params import MakeDataset
from inferkit.records.project import project_root
from inferkit.records.run import Run
from inferkit.report import index, store
from inferkit.report.contact_sheet import contact_sheet
from tests.faults.conftest import IMAGES, PER_FILE, SHAPE, Storage, mounted
from tests.faults.test_storage_faults import LONG, asked


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ((watchdog, "STILL_S"), (watching, "ENDED_S"), (launch, "STUCK_S"), (watch, "STALL_S")):
        monkeypatch.setattr(module, name, 1.0)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
    place = tmp_path_factory.mktemp("stopped")
    make_synthetic(MakeDataset(data=str(place / "tensors"), limit=4, shape=list(SHAPE)))
    found = mounted(place / "tensors", place)
    found.daemon.send_signal(signal.SIGSTOP)
    yield found
    found.close()


@pytest.fixture
def holding(uncached: Storage) -> Storage:
    """Return storage whose reads are taken and never answered."""
    uncached.tell(hang=True)
    return uncached


def invoked(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(main, [*map(str, words)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def given_up(storage: Storage) -> str:
    """Return what a message about it has in it."""
    return rf"{storage.mount}\S* on {storage.mount} \(fuse\S*, \S+\) gave no answer for \d+ s and was given up"


EXECUTED = project_root() / "tests" / "fixtures" / "schema_1" / "03b_single_process.ipynb"
COMMANDS: dict[str, Callable[[Storage], tuple[object, ...]]] = {
    "doctor": lambda storage: ("doctor", storage.mount),
    "doctor of a folder below": lambda storage: ("doctor", storage.mount / "below"),
    "verify": lambda storage: ("dataset", "verify", storage.mount),
    "info": lambda storage: ("dataset", "info", storage.mount),
    "make": lambda storage: ("dataset", "make", storage.mount, storage.mount.parent / "made"),
    "make on it": lambda storage: ("dataset", "make", "", storage.mount / "made", "--limit", 4),
    "stage": lambda storage: ("dataset", "stage", storage.mount, "--to", storage.mount.parent / "staged"),
    "run": lambda storage: ("run", "nas", "--set", f"data={storage.mount}", "--only", "03a"),
    "dry run": lambda storage: ("run", "nas", "--set", f"data={storage.mount}", "--dry-run"),
    "run to it": lambda storage: ("run", "quickstart", "--out", storage.mount / "runs"),
    "show": lambda storage: ("show", storage.mount / "a.ipynb"),
    "compare": lambda storage: ("compare", EXECUTED, storage.mount),
    "plan": lambda storage: ("plan", storage.mount, "--images", "1e9", "--within", "1d"),
    "the list of notebooks": lambda storage: ("runs", storage.mount),
    "export": lambda storage: ("export", storage.mount / "a.ipynb", "--to", "json"),
    "export to it": lambda storage: ("export", EXECUTED, "--to", "json", "--out", storage.mount / "a.json"),
    "init": lambda storage: ("init", storage.mount / "project"),
    "run of a file on it": lambda storage: ("run", storage.mount / "nas.yaml"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_gives_up_and_names_the_mount(stopped: Storage, command: str) -> None:
    code, output = invoked(*COMMANDS[command](stopped))
    assert code == (2 if "run" in command else 1), output
    assert re.search(given_up(stopped), output), output


def test_through_a_link_the_mount_is_named_all_the_same(stopped: Storage, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(stopped.mount)
    code, output = invoked("dataset", "info", tmp_path / "link" / "below")
    assert code == 1
    assert f" on {stopped.mount} (fuse" in output


def test_reads_that_cannot_even_be_killed_are_left_behind_and_said(holding: Storage) -> None:
    code, output = invoked("dataset", "verify", holding.mount)
    assert code == 1
    assert re.search(given_up(holding), output), output
    (left,) = re.findall(r"process (\d+), which waits for it, stays until the kernel lets it go", output)
    assert Path("/proc", left).exists()


@pytest.mark.parametrize("name", ["run", "show"])
def test_a_real_command_hears_ctrl_c_meanwhile(stopped: Storage, name: str) -> None:
    command = [sys.executable, "-m", "inferkit.cli.main", *map(str, COMMANDS[name](stopped))]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # also where the tests run in the background
    )
    while not waits(process.pid):
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 1


def waits(pid: int) -> bool:
    """Tell whether a copy of a process is at work."""
    return bool(Path(f"/proc/{pid}/task/{pid}/children").read_text().strip())


def test_notebooks_on_it_stop_the_cell_that_compares_them(stopped: Storage) -> None:
    for read in (store.load, index.entries):
        with pytest.raises(ReadError, match=given_up(stopped)):
            read([EXECUTED, stopped.mount])


def test_the_cockpit_s_form_tells_it_and_can_be_corrected(stopped: Storage) -> None:
    shown: queue.Queue[Configuration | str] = queue.Queue()
    planner = Planner(shown.put)
    values = {"storage": "nas", "engines": ["null"], "batch_sizes": [8]}
    for data, out in ((stopped.mount, "runs"), ("", stopped.mount / "runs")):
        planner.ask({**values, "data": str(data)}, ["03a"], str(out))
        assert re.search(given_up(stopped), str(shown.get(timeout=60)))
    planner.ask(values, ["03a"], "runs")
    assert isinstance(shown.get(timeout=60), Configuration)


# ---- what a run writes ----


def notebook(*sources: str) -> str:
    cells = [{"cell_type": "markdown", "metadata": {}, "source": source} for source in sources]
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


def configured(place: Path, out: Path, data: Path) -> Configuration:
    file = place / "tiny.yaml"
    values = {"data": str(data), "engines": ["null"], "batch_sizes": [8], "threads": [1], "readers": ["buffered"]}
    file.write_text(json.dumps({**values, "evict": False, "warmup_s": 0.05, "duration_s": 0.5, "repeats": 1}))
    return configure(str(file), only=["03a"], out=out)


def test_a_notebook_is_written_as_soon_as_its_storage_answers_again(storage: Storage) -> None:
    path = storage.mount / "a.ipynb"
    writer = WholeNotebooks()
    writer.write(notebook("first"), str(path))
    assert writer.failure == ""
    storage.daemon.send_signal(signal.SIGSTOP)
    for source in ("second", "third"):
        writer.write(notebook(source), str(path))
        assert re.search(rf"^{path} cannot be written: {given_up(storage)}", writer.failure), writer.failure
    storage.daemon.send_signal(signal.SIGCONT)
    writer.finish()
    assert writer.failure == ""
    assert "third" in path.read_text()


def test_records_are_those_that_were_heard_where_the_notebook_cannot_be_read_again(
    stopped: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path))
    heard = [run.to_dict() for run in read_notebook(EXECUTED)]
    faults: list[str] = []
    runs = executing._read_back(stopped.mount / "a.ipynb", heard, faults)
    assert [run.to_dict() for run in runs] == heard
    (fault,) = faults
    assert re.search(given_up(stopped), fault)


def test_a_home_that_hangs_as_a_notebook_is_signed_takes_no_record(
    stopped: Storage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(stopped.mount / "jupyter"))
    faults: list[str] = []
    assert executing._read_back(EXECUTED, [], faults)
    assert faults == []
    assert re.search(rf"are not signed \({given_up(stopped)}", caplog.text), caplog.text


def test_with_a_home_that_hangs_no_notebook_is_begun(
    stopped: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = configured(tmp_path, tmp_path / "runs", stopped.folder)
    monkeypatch.setenv("HOME", str(stopped.mount))
    (executed,) = executing.execute(asked, asked.out)
    assert executed.stopped
    assert re.search(f"did not run, for its kernel needs the home: {given_up(stopped)}", executed.error)


def test_a_folder_for_notebooks_on_it_is_refused(stopped: Storage, tmp_path: Path) -> None:
    asked = configured(tmp_path, tmp_path / "runs", stopped.folder)
    with pytest.raises(ReadError, match=given_up(stopped)):
        list(executing.execute(asked, stopped.mount / "runs"))


@pytest.mark.slow
def test_notebooks_whose_storage_hangs_while_it_is_measured_lose_no_answer(storage: Storage, tmp_path: Path) -> None:
    make_synthetic(MakeDataset(data=str(tmp_path / "data"), limit=64, shape=list(SHAPE)))
    asked = configured(tmp_path, storage.mount / "runs", tmp_path / "data")

    class Stopping:
        def show(self, fraction: float, text: str) -> None:
            storage.daemon.send_signal(signal.SIGSTOP)

        def close(self) -> None:
            pass

    (executed,) = executing.execute(asked, asked.out, Stopping())  # type: ignore[arg-type]
    assert [run.measured is not None for run in executed.runs] == [True]
    assert re.search(given_up(storage), executed.error)


def test_a_notebook_s_plan_becomes_a_record(stopped: Storage) -> None:
    prepared = prepare(asked(stopped.mount))
    (run,) = measure(prepared)
    assert run.verdict == "FAILED"
    assert run.failure is not None
    assert run.failure.kind == "ReadError"
    assert re.search(given_up(stopped), run.failure.message)


def test_what_is_made_on_it_becomes_a_record(stopped: Storage) -> None:
    run = make_dataset(MakeDataset(data=str(stopped.mount / "made"), limit=4, shape=[3, 8, 8]))
    assert run.verdict == "FAILED"
    assert run.failure is not None
    assert re.search(given_up(stopped), run.failure.message)


def test_images_that_are_shown_again(storage: Storage) -> None:
    folder = storage.mount
    made = make_dataset(
        MakeDataset(data=str(storage.folder), limit=IMAGES, shape=list(SHAPE), images_per_file=PER_FILE)
    )
    run = Run.from_dict(made.to_dict() | {"params": made.params | {"data": str(folder)}})
    assert not isinstance(contact_sheet(run), str)
    storage.daemon.send_signal(signal.SIGSTOP)
    assert re.search(given_up(storage), str(contact_sheet(run)))


def test_while_a_rank_prepares(storage: Storage) -> None:
    planned = plan(asked(storage.mount))
    storage.daemon.send_signal(signal.SIGSTOP)
    (run,) = measure(planned)
    assert run.failure is not None
    assert f", at {storage.mount}" in run.failure.message
    assert f" on {storage.mount} (fuse" in run.failure.message
    assert "prepared nothing for" in run.failure.message


def test_in_the_window_the_file_is_named_and_what_stays_behind(uncached: Storage) -> None:
    begun: list[None] = []

    def show(status: Status) -> None:
        if status.fraction > 0 and not begun:
            begun.append(None)
            uncached.tell(hang=True)

    (run,) = measure(plan(asked(uncached.mount, duration_s=LONG, evict=False)), show)
    assert run.failure is not None
    assert re.search(rf"{uncached.mount}/images-\d+\.tensors on {uncached.mount} \(fuse", run.failure.message)
    assert re.search(r"process \d+ waits in the kernel and stays until that lets it go", run.failure.message)


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_errors_while_it_is_planned_or_verified_are_told(storage: Storage, number: int) -> None:
    storage.tell(errno=number)
    code, output = invoked("dataset", "verify", storage.mount)
    assert code in (1, 2)
    assert os.strerror(number) in output
    assert str(storage.mount) in output
