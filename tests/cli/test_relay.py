"""Ctrl-C, a closed terminal, and kernels that do not answer."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import papermill
import pytest
from nbclient.exceptions import DeadKernelError

from inferkit.cli import relay as relay_module
from inferkit.cli.execute import ENGINE
from inferkit.cli.relay import Relay
from tests.processes import wait_for


def heard() -> None:
    """Let a process hear a Ctrl-C, also where the tests run in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_a_closed_terminal_is_one_ctrl_c_however_often_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "leave_terminal", lambda: None)
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
    relay: Any = Relay()
    with subprocess.Popen(["sleep", "60"], preexec_fn=heard) as kernel, relay.installed():
        relay._client = SimpleNamespace(km=SimpleNamespace(provisioner=kernel), heard=True, idle_s=None)
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGHUP)
        assert kernel.wait(30) == -signal.SIGINT
        relay._client = None
    signal.signal(signal.SIGHUP, before)
    assert relay.presses == 1


def test_under_nohup_a_closed_terminal_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    relay = Relay()
    try:
        with relay.installed():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert relay.presses == 0


LEAVES = """
import os
from inferkit.cli.relay import leave_terminal
leave_terminal()
os.write(1, b"gone")
os.write(2, b"kept")
"""


def test_what_goes_to_a_terminal_that_is_gone_goes_nowhere(tmp_path: Path) -> None:
    ours, terminal = os.openpty()
    errors = tmp_path / "errors"
    with errors.open("wb") as file:
        done = subprocess.Popen([sys.executable, "-c", LEAVES], stdout=terminal, stderr=file)
    os.close(terminal)
    os.close(ours)
    assert (done.wait(60), errors.read_bytes()) == (0, b"kept")


DROPS_CELLS = """
def interrupted(*_):
    raise KeyboardInterrupt
get_ipython().kernel.shell_handlers["execute_request"] = interrupted
"""


def test_a_kernel_that_drops_a_cell_when_it_is_interrupted_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "LOST_S", 1.0)
    cells = [nbformat.v4.new_code_cell(source) for source in (DROPS_CELLS, "1 + 1")]
    notebook, out = tmp_path / "in.ipynb", tmp_path / "out.ipynb"
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), notebook)
    relay = Relay()

    def press() -> None:
        wait_for(lambda: getattr(relay._client, "code_cells_executed", 0) >= 1, 60)
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)

    presser = threading.Thread(target=press)
    presser.start()
    options: dict[str, Any] = {"kernel_name": "python3", "progress_bar": False, "relay": relay, "hear": lambda _: None}
    with relay.installed(), pytest.raises(DeadKernelError):
        papermill.execute_notebook(notebook, out, engine_name=ENGINE, **options)
    presser.join()
    assert relay.presses == 1
