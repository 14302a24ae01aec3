"""What a task was at is known although its process is gone."""

import os
import signal
import subprocess
import sys

from inferkit.dataset.workers import BEGUN, Places, noting, run_alone


def work(path: str, images: int) -> None:
    with noting(path, 5) as note:
        for place in range(1, images + 1):
            note(place)
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_task_that_ended_well_is_at_nothing() -> None:
    with Places() as places:
        assert places[5] == 0
        with noting(places.path, 5) as note:
            assert places[5] == BEGUN
            note(7)
            assert [places[4], places[5], places[6]] == [0, 7, 0]
        assert places[5] == 0


def test_one_whose_process_was_killed_had_begun_or_was_at_an_image() -> None:
    with Places() as places:
        for images, at in ((0, BEGUN), (3, 3)):
            assert run_alone(work, places.path, images) == -signal.SIGKILL
            assert places[5] == at
            places.clear()
            assert places[5] == 0


TRACKED = """
import signal
from multiprocessing import resource_tracker
from pathlib import Path
from inferkit.dataset.workers import processes
with processes(1) as pool:
    pool.submit(int).result()
    status = Path(f"/proc/{resource_tracker._resource_tracker._pid}/status").read_text()
blocked = int(next(line for line in status.splitlines() if line.startswith("SigBlk")).split()[1], 16)
assert blocked & 1 << signal.SIGHUP - 1
assert signal.SIGHUP not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
"""


def test_a_terminal_that_is_closed_leaves_no_semaphores() -> None:
    """What removes them once this process has ended would else be ended by the terminal as well."""
    subprocess.run([sys.executable, "-c", TRACKED], check=True)
