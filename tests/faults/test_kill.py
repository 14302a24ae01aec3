"""A few trials of `make kill`, so that the script is known to work."""

import subprocess
import sys

import pytest


@pytest.mark.slow
def test_a_few_kills_leave_nothing() -> None:
    command = [
        sys.executable,
        "-m",
        "tests.faults.kill",
        "--trials=6",
        "--workers=2",
        "--only",
        "stage,random,photographs",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "result kills_wrong 0 trials" in done.stdout
