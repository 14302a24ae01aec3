"""A kernel that does not move any more is killed; one that works, or has nothing to do, is not."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from inferkit.cli import stuck
from inferkit.cli.stuck import killed_when_stuck

NEVER = "import sys; open(sys.argv[1])"
MOVES = "import time\nfor _ in range(60): time.sleep(0.05)"
STARTS_ONE_THAT_MOVES = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {MOVES!r}])"


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stuck, "STUCK_S", 1.0)
    monkeypatch.setattr(stuck, "LOOK_S", 0.1)


@contextmanager
def kernel(code: str, place: Path, **known: Any) -> Iterator[tuple[Any, "subprocess.Popen[bytes]"]]:
    silent = place / "silent"
    os.mkfifo(silent)  # to open it takes for ever
    with subprocess.Popen([sys.executable, "-c", code, silent]) as process:
        provisioner = SimpleNamespace(pid=process.pid)
        client = SimpleNamespace(km=SimpleNamespace(provisioner=provisioner), heard=True, idle_s=None, stuck_s=0.0)
        client.__dict__.update(known)
        with killed_when_stuck(client):
            yield client, process
        process.kill()


def test_one_that_waits_for_ever_is_killed(tmp_path: Path) -> None:
    with kernel(NEVER, tmp_path) as (client, process):
        assert process.wait(60) == -signal.SIGKILL
        assert client.stuck_s > 1


@pytest.mark.parametrize("code", [MOVES, STARTS_ONE_THAT_MOVES], ids=["it", "its child"])
def test_one_that_moves_goes_on(tmp_path: Path, code: str) -> None:
    with kernel(code, tmp_path) as (client, process):
        assert process.wait(60) == 0
        assert client.stuck_s == 0


@pytest.mark.parametrize("known", [{"idle_s": 0.0}, {"heard": False}], ids=["idle", "starting"])
def test_one_that_has_no_cell_to_run_is_left(tmp_path: Path, known: dict[str, Any]) -> None:
    with kernel(NEVER, tmp_path, **known) as (client, process):
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(3)
        assert client.stuck_s == 0
