"""What a watchdog makes of what it sees, by a clock that the test moves; and what it sees of real processes."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from time import sleep

import pytest

from inferkit.machine.watchdog import LEAST_CPU, LOOK_S, PATIENCE, STILL_S, Hunger, Signs, Watchdog, signs, state

IDLE = "import time; print(flush=True); time.sleep(600)"
BUSY = "print(flush=True)\nwhile True: pass"
WAITING = "import time; print(flush=True)\nwhile True: time.sleep(0.01)"


class Seen:
    """A process as the test says it is, and a clock that only the test moves."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.signs = Signs("1 1", 0.0)
        self.looks = 0
        self.watchdog = Watchdog(self._look, lambda: self.now_s)

    def _look(self) -> Signs:
        self.looks += 1
        return self.signs

    def after(
        self, seconds: float, told: str = "", *, waits: str = "1 1", cpu_s: float = 0.0, ready: bool = False
    ) -> float:
        self.now_s += seconds
        self.signs = Signs(waits, cpu_s, ready)
        return self.watchdog.seconds(told)


@pytest.fixture
def seen() -> Seen:
    found = Seen()
    found.after(1.0)
    return found


def test_one_that_does_nothing_is_still_for_longer_and_longer(seen: Seen) -> None:
    assert [seen.after(10.0) for _ in range(3)] == [10.0, 20.0, 30.0]


@pytest.mark.parametrize("change", [{"told": "built"}, {"waits": "2 1"}, {"waits": "1 2"}, {"cpu_s": 1.1}])
def test_one_that_tells_moves_or_computes_has_gone_on(seen: Seen, change: dict[str, object]) -> None:
    seen.after(10.0)
    assert seen.after(10.0, **change) == 0.0  # type: ignore[arg-type]
    assert seen.after(5.0, **change) == 5.0  # type: ignore[arg-type]


def test_threads_that_take_hardly_any_cpu_do_not_count_as_computing(seen: Seen) -> None:
    assert seen.after(10.0, cpu_s=10.0 * LEAST_CPU) == 10.0
    assert seen.after(10.0, cpu_s=30.0 * LEAST_CPU) == 0.0


def test_time_in_which_it_gets_no_cpu_does_not_count(seen: Seen) -> None:
    assert [seen.after(10.0, ready=ready) for ready in (False, True, True, False)] == [10.0, 10.0, 10.0, 20.0]
    assert seen.after(1.0, waits="2 1") == 0.0
    assert [seen.after(10.0, waits="2 1", ready=ready) for ready in (False, True)] == [10.0, 10.0]


def test_one_that_never_gets_a_cpu_is_given_up_in_the_end_and_the_storage_is_not_blamed(seen: Seen) -> None:
    looks = 0
    while seen.after(1.0, ready=True) <= STILL_S:
        looks += 1
    assert looks == pytest.approx(PATIENCE * STILL_S, abs=2)
    assert re.match(
        r"in 60. of 60. s it could have gone on and got no CPU: end other programs", seen.watchdog.starved()
    )


def test_one_that_hangs_on_a_machine_under_load_is_given_up_for_its_storage(seen: Seen) -> None:
    """Threads that watch want a CPU now and then, whatever the others wait for."""
    looks = 0
    while seen.after(1.0, ready=looks % 3 == 0) <= STILL_S:
        looks += 1
    assert looks < 2 * STILL_S
    assert seen.watchdog.starved() == ""


def test_one_that_only_tells_is_still_however_much_it_computes(seen: Seen) -> None:
    """A GPU that hangs is asked in a circle."""
    seen.watchdog = Watchdog(Hunger(seen._look, lambda: seen.now_s), lambda: seen.now_s)
    seen.after(1.0, "1")
    assert [seen.after(10.0, "1", cpu_s=10.0 * k, waits=f"{k}", ready=True) for k in (1, 2)] == [10.0, 20.0]
    assert seen.after(10.0, "1", cpu_s=20.1, ready=True) == 20.0  # it wanted a CPU, and got hardly any
    assert seen.after(10.0, "2", cpu_s=20.1, ready=True) == 0.0


def test_whoever_asks_often_does_not_make_it_look_often(seen: Seen) -> None:
    before = seen.looks
    assert [seen.after(LOOK_S / 10) for _ in range(5)] == pytest.approx([LOOK_S / 10 * k for k in range(1, 6)])
    assert seen.looks == before


@pytest.fixture
def process(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-S", "-c", request.param], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()  # it has started
        yield process
        process.kill()


@pytest.mark.parametrize("process", [IDLE], indirect=True)
def test_a_process_that_sleeps_shows_no_new_signs(process: subprocess.Popen[bytes]) -> None:
    before = None
    while before != (before := signs(process.pid)):  # it may still be on its way into sleep
        sleep(0.2)
    assert not before.ready


@pytest.mark.parametrize("process", [BUSY, WAITING], indirect=True)
def test_a_process_that_computes_or_waits_for_one_thing_after_the_other_does(process: subprocess.Popen[bytes]) -> None:
    first = signs(process.pid)
    while signs(process.pid) == first:  # however long it takes to get a CPU
        sleep(0.05)


@pytest.mark.parametrize("process", [BUSY], indirect=True)
def test_a_process_that_computes_wants_a_cpu(process: subprocess.Popen[bytes]) -> None:
    assert signs(process.pid).ready


@pytest.mark.parametrize("process", [IDLE], indirect=True)
def test_what_it_waits_for_is_named(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGSTOP)
    while state(process.pid) != "it was stopped by a signal":
        sleep(0.01)


def test_a_process_that_is_gone_shows_nothing_and_hangs_somewhere() -> None:
    with subprocess.Popen([sys.executable, "-S", "-c", ""]) as process:
        process.wait()
    assert signs(process.pid).cpu_s == 0.0
    assert state(process.pid) == "storage, GPU or engine hangs"
