"""What a program that started `inferkit run` is told."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from inferkit.machine.watched import descendants
from inferkit.records.notebooks import load_runs
from inferkit.records.run import Run
from tests.cli.conftest import TINY, WriteConfig, invoke
from tests.processes import alive, ranks_below, wait_for

pytestmark = pytest.mark.usefixtures("undrawn")


def started(parameters: dict[str, Any], out: Path, *options: str) -> tuple[subprocess.Popen[str], int]:
    """Start a run of parameters on standard input; return it and where its feed is read."""
    reading, writing = os.pipe()
    command = [sys.executable, "-m", "inferkit.cli.main", "run", "-", "--out", str(out), "--feed", str(writing)]
    running = subprocess.Popen(
        [*command, *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        pass_fds=[writing],
        start_new_session=True,
    )
    os.close(writing)
    assert running.stdin is not None
    with running.stdin as words:
        words.write(yaml.safe_dump(parameters))
    running.stdin = None
    return running, reading


def test_a_feed_tells_of_plan_progress_records_and_notebooks_in_turn(data: str, tmp_path: Path) -> None:
    values = {
        "storage": "piped",
        "data": data,
        "engines": ["null"],
        "batch_sizes": [8],
        "threads": [1],
        **TINY,
        "duration_s": 0.6,
    }
    running, reading = started(values, tmp_path / "runs", "--only", "03a")
    with running, os.fdopen(reading) as lines:
        events = [json.loads(line) for line in lines]
        out = running.communicate()[0]
    assert running.returncode == 0, out
    kinds = [event["event"] for event in events]
    assert kinds[0] == "planned"
    assert kinds[-1] == "executed"
    assert (events[0]["storage"], events[0]["notebooks"]) == ("piped", ["03a"])
    (stored,) = load_runs(tmp_path / "runs")
    assert [Run.from_dict(event["run"]) for event in events if event["event"] == "record"] == [stored.run]
    assert events[-1] == {"event": "executed", "path": str(stored.notebook), "error": "", "stopped": False}
    lives = [event["live"] for event in events if event["event"] == "progress" and event["live"]]
    latest = [live["latest"] for live in lives if live["latest"]["images_per_s"]]
    assert latest, "it measured for more than a second and told nothing"
    assert {"read", "wait"} == set(latest[-1]["batches"])
    assert latest[-1]["machine"]["host_cpu"] >= 0
    assert lives[0]["axes"] == stored.run.point


def test_a_run_whose_reader_is_gone_finishes_its_point_and_ends(data: str, tmp_path: Path) -> None:
    values = {"storage": "piped", "data": data, "batch_sizes": [8], **TINY, "threads": [1, 2, 3], "duration_s": 0.3}
    running, reading = started(values, tmp_path / "runs", "--only", "03a")
    with running:
        wait_for(lambda: ranks_below(running.pid), 60)
        family = descendants(running.pid)
        os.close(reading)
        running.communicate(timeout=90)
    assert running.returncode == 1
    *measured, left = [stored.run for stored in load_runs(tmp_path / "runs")]
    assert left.failure is not None
    assert left.failure.message.startswith("stopped by the user")
    assert len(measured) < 3
    wait_for(lambda: not [pid for pid in family if alive(pid)], 20)


@pytest.mark.slow
def test_a_reader_that_is_slow_holds_nothing_up(data: str, tmp_path: Path) -> None:
    """Nobody reads while it measures: progress is left out once the pipe is full, records are not."""
    values = {"storage": "piped", "data": data, "batch_sizes": [8], **TINY, "duration_s": 8.0}
    running, reading = started(values, tmp_path / "runs", "--only", "03a")
    with running, os.fdopen(reading) as lines:
        wait_for(lambda: list((tmp_path / "runs").rglob("*.ipynb")), 60)
        time.sleep(1.0)
        events = [json.loads(line) for line in lines]
        running.communicate(timeout=60)
    assert [event["event"] for event in events if event["event"] != "progress"] == ["planned", "record", "executed"]


def test_a_descriptor_that_is_not_there_is_refused(config: WriteConfig) -> None:
    done = invoke("run", config(), "--feed", "98")
    assert done.exit_code == 2
    assert "--feed 98: Bad file descriptor: expected" in done.stderr


@pytest.mark.parametrize(
    ("text", "told"), [("]", "standard input is not YAML"), ("threads: [0]", "standard input: threads.0 is 0")]
)
def test_standard_input_is_refused_by_name(text: str, told: str) -> None:
    done = invoke("run", "-", given=text)
    assert (done.exit_code, told in done.stderr) == (2, True)
