"""A process of ours that sleeps, computes or tells something."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from time import sleep

import pytest

from inferkit.ranks.watchdog import Watchdog, state

IDLE = "import time; time.sleep(600)"
BUSY = "while True: pass"
WAITING = "import time\nwhile True: time.sleep(0.05)"


@pytest.fixture
def process(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-S", "-c", request.param]) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("process", [IDLE], indirect=True)
def test_one_that_sleeps_is_still_until_it_tells_something_else(process: subprocess.Popen[bytes]) -> None:
    watch = Watchdog(process.pid)
    sleep(0.5)  # it starts
    watch.seconds("building")
    sleep(0.3)
    assert watch.seconds("building") >= 0.3
    sleep(0.3)
    assert watch.seconds("built") == 0.0
    assert watch.seconds("built") < 0.2


@pytest.mark.parametrize("process", [BUSY, WAITING], indirect=True)
def test_one_that_computes_or_waits_for_one_thing_after_the_other_is_not(process: subprocess.Popen[bytes]) -> None:
    watch = Watchdog(process.pid)
    sleep(0.5)
    watch.seconds("")
    for _ in range(5):
        sleep(0.5)
        assert watch.seconds("") < 0.6


@pytest.mark.parametrize("process", [IDLE], indirect=True)
def test_what_it_waits_for_is_named(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGSTOP)
    sleep(0.2)
    assert state(process.pid) == "it was stopped by a signal"
