"""Start and Stop: a run like any other, and nothing left of it whenever it is stopped."""

import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
import pytest

from inferkit.cockpit.parameter_file import as_yaml
from inferkit.cockpit.process import TWICE_S, Event, Running
from inferkit.machine.watched import descendants
from inferkit.records.notebooks import load_runs
from tests.cli.conftest import TINY, write_data
from tests.processes import alive, ranks_below, wait_for

pytestmark = pytest.mark.usefixtures("undrawn")

TELLS = f"""#!{sys.executable}
import os, sys
sys.stdin.read()
print("planned")
os.write(int(sys.argv[sys.argv.index("--feed") + 1]), b'{{"event": "planned"}}\\n')
"""
"""Stands in for a run: it tells of one event, and ends."""


class Heard:
    """What a run told."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.end: tuple[int, str] | None = None

    def kinds(self) -> list[str]:
        return [event["event"] for event in self.events]

    def ended(self, code: int, words: str) -> None:
        self.end = code, words


def start(tmp_path: Path, heard: Heard, only: list[str], **values: Any) -> Running:
    small = {"engines": ["null"], "threads": [1], "batch_sizes": [8], **TINY}
    parameters = {"storage": "tiny", "data": write_data(tmp_path), **small, **values}
    return Running(as_yaml(parameters), only, tmp_path / "runs", heard.events.append, heard.ended)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the folder in which all that runs keeps its temporary files."""
    folder = tmp_path / "t"
    folder.mkdir()
    for name in ("TMPDIR", "XDG_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(folder))
    return folder


def test_a_run_is_like_one_from_the_terminal_and_tells_of_itself(tmp_path: Path) -> None:
    heard = Heard()
    with start(tmp_path, heard, ["03a"]) as running:
        running.wait(120)
    assert heard.end is not None
    assert heard.end[0] == 0, heard.end[1]
    assert "tiny" in heard.end[1]
    (stored,) = load_runs(tmp_path / "runs")
    assert heard.events[-1]["path"] == str(stored.notebook)
    assert nbformat.read(stored.notebook, as_version=4).metadata["papermill"]["exception"] is None


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_listener_that_fails_is_told_of_the_end_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = Heard()
    command = tmp_path / "python"
    command.write_text(TELLS)
    command.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(command))

    def fail(event: Event) -> None:
        raise ValueError(event["event"])

    with Running("storage: tiny", ["03a"], tmp_path / "runs", fail, heard.ended) as running:
        running.wait(120)
    assert heard.end == (0, "planned\n")


def test_a_run_that_is_killed_is_told_of(tmp_path: Path) -> None:
    heard = Heard()
    with start(tmp_path, heard, ["03a"], duration_s=60.0) as running:
        wait_for(lambda: ranks_below(running.pid), 60)
        family = descendants(running.pid)
        os.kill(running.pid, signal.SIGKILL)
        running.wait(30)
    assert heard.end is not None
    assert heard.end[0] == -signal.SIGKILL
    wait_for(lambda: not [pid for pid in family if alive(pid)], 30)


def test_what_is_refused_is_told_in_words(tmp_path: Path) -> None:
    heard = Heard()
    with start(tmp_path, heard, ["03a"], threads=[0]) as running:
        running.wait(60)
    assert heard.end is not None
    assert (heard.end[0], "threads.0 is 0" in heard.end[1], heard.events) == (2, True, [])


def test_stop_once_finishes_the_point_and_twice_ends_at_once(tmp_path: Path) -> None:
    once, twice = Heard(), Heard()
    with start(tmp_path, once, ["03a"], threads=[1, 2], duration_s=0.3) as running:
        wait_for(lambda: ranks_below(running.pid), 60)
        running.stop()
        running.wait(90)
    assert once.kinds().count("record") == 2
    assert once.events[-1]["stopped"] is True
    measured, left = [stored.run for stored in load_runs(tmp_path / "runs")]
    assert measured.measured is not None
    assert left.failure is not None
    assert "1 points were not measured" in left.failure.message
    with start(tmp_path, twice, ["03a"], storage="again", duration_s=60.0) as running:
        wait_for(lambda: ranks_below(running.pid), 60)
        for _ in range(2):
            running.stop()
            time.sleep(2 * TWICE_S)
        running.wait(60)
    (stored,) = load_runs(tmp_path / "runs" / "again")
    assert stored.run.failure is not None
    assert stored.run.failure.message == "stopped at once by the user"


@pytest.mark.parametrize("seed", [3, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(12) if seed != 3)])
def test_stopped_at_a_random_moment_nothing_is_left_behind(seed: int, tmp_path: Path, temporary: Path) -> None:
    chance = random.Random(seed)
    heard = Heard()
    with start(tmp_path, heard, ["02", "03a"], transfer_bytes=[4096]) as running:
        time.sleep(chance.uniform(0, 12))
        family = [running.pid, *descendants(running.pid)]
        for _ in range(chance.choice([1, 2, 2, 3])):
            family += descendants(running.pid)
            running.stop()
            time.sleep(chance.uniform(0, 3 * TWICE_S))
        running.wait(90)
        assert running.over()
    wait_for(lambda: not [pid for pid in family if alive(pid)], 30)
    assert not list(temporary.iterdir())
    for path in (tmp_path / "runs").rglob("*"):
        assert path.is_dir() or path.suffix == ".ipynb", path
        if path.is_file():
            nbformat.validate(nbformat.read(path, as_version=4))
