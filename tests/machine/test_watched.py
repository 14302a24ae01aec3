"""A watched copy: what it returns, raises and shows arrives, what never answers is given up, nothing is left."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import psutil
import pytest

from inferkit.errors import ParameterError, RankError, ReadError
from inferkit.machine import watchdog
from inferkit.machine.watched import nearest_path, watched
from tests.hindered import group


@pytest.fixture
def silent(tmp_path: Path) -> Path:
    """Return a pipe that nobody writes to: to open it takes for ever."""
    path = tmp_path / "silent"
    os.mkfifo(path)
    return path


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "STILL_S", 1.0)


@pytest.fixture(autouse=True)
def nobody_left() -> Iterator[None]:
    before = {child.pid for child in psutil.Process().children()}  # a worker of the tests may have some of its own
    yield
    assert {child.pid for child in psutil.Process().children()} <= before


def test_what_it_returns_and_shows_arrives() -> None:
    shown: list[tuple[int, int]] = []

    def work(show: Any) -> list[Path]:
        show(1, 2)
        show(2, 2)
        return [Path("/data")]

    assert watched(work, lambda *told: shown.append(told)) == [Path("/data")]
    assert shown == [(1, 2), (2, 2)]


def test_what_it_raises_is_raised_here_with_where_it_came_from() -> None:
    with pytest.raises(ParameterError, match="two") as caught:
        watched(lambda _: fail(ParameterError("two")))
    assert "in fail" in caught.value.__notes__[0]


def test_an_os_error_keeps_errno_and_file() -> None:
    with pytest.raises(FileNotFoundError) as caught:
        watched(lambda _: Path("/not/there").stat())
    assert caught.value.filename == "/not/there"


def test_an_error_that_cannot_be_sent_says_the_same() -> None:
    class TwoWordsError(Exception):
        def __init__(self, one: str, two: str) -> None:
            super().__init__(f"{one} {two}")

    with pytest.raises(RuntimeError, match="TwoWordsError: no way"):
        watched(lambda _: fail(TwoWordsError("no", "way")))


def fail(error: Exception) -> None:
    raise error


def test_nothing_that_is_changed_in_memory_stays() -> None:
    seen: list[int] = []
    watched(lambda _: seen.append(1))
    assert seen == []


def test_a_copy_that_is_killed_is_told() -> None:
    with pytest.raises(RankError, match="was killed by SIGKILL"):
        watched(lambda _: os.kill(os.getpid(), signal.SIGKILL))


@pytest.mark.usefixtures("soon")
def test_what_never_answers_is_given_up_with_path_and_mount(silent: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), pytest.raises(ReadError) as caught:
        watched(lambda _: silent.read_bytes())
    assert f"{silent} on /" in str(caught.value)
    assert "gave no answer for 1 s and was given up" in str(caught.value)
    assert f"no answer from {silent} on /" in caplog.text


@pytest.mark.usefixtures("soon")
def test_what_is_slow_and_goes_on_is_waited_for() -> None:
    def slow(_: Any) -> str:
        for _ in range(15):
            time.sleep(0.1)
        return "there"

    assert watched(slow) == "there"


@pytest.mark.usefixtures("soon")
def test_another_program_that_computes_is_waited_for() -> None:
    busy = "import time\nend = time.monotonic() + 1.5\nwhile time.monotonic() < end: pass"
    assert watched(lambda _: subprocess.run([sys.executable, "-c", busy], check=True).returncode) == 0


def test_a_deaf_copy_hears_no_signal_of_the_terminal() -> None:
    heard: list[int] = []
    numbers = (signal.SIGINT, signal.SIGHUP)
    before = {number: signal.signal(number, lambda number, _: heard.append(number)) for number in numbers}

    def work(_: object) -> list[int]:
        for number in numbers:
            os.kill(os.getpid(), number)
        return heard

    try:
        assert watched(work, deaf=True) == []
        os.kill(os.getpid(), signal.SIGHUP)
        assert heard == [signal.SIGHUP]  # here they are heard as ever
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_ctrl_c_is_heard_while_it_waits(silent: Path) -> None:
    code = f"""
import signal
from pathlib import Path
from inferkit.machine.watched import watched
print("waits", flush=True)
watched(lambda _: Path({str(silent)!r}).read_bytes())
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "waits\n"
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to both
    _, said = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGINT
    assert said.strip().endswith("KeyboardInterrupt")
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


@pytest.mark.slow
def test_one_that_hardly_gets_a_cpu_is_not_given_up() -> None:
    """A fiftieth of a CPU: its main thread waits for another, which computes less than a twentieth of the time."""
    code = """
import threading, time
from inferkit.machine import watchdog
from inferkit.machine.watched import watched
def computed():
    while time.thread_time() < 0.15: pass
def work(show):
    thread = threading.Thread(target=computed)
    thread.start()
    thread.join()
    return "done"
watchdog.STILL_S = 2.0
print(watched(work))
"""
    with group("cpu", 2_000) as inside:
        done = subprocess.run([*inside, sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.stdout == "done\n", done.stderr


def test_it_ends_with_whoever_asked(silent: Path) -> None:
    code = f"""
from pathlib import Path
from inferkit.machine.watched import watched
watched(lambda show: (show(), Path({str(silent)!r}).read_bytes()), lambda: print("waits", flush=True))
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == b"waits\n"
    process.kill()
    assert process.stdout.read() == b""  # the copy has the other end of this pipe
    process.wait()
    process.stdout.close()


def frame_of(path: object, deeper: int = 0) -> FrameType:
    return sys._getframe() if not deeper else frame_of(path, deeper - 1)


@pytest.mark.parametrize(
    ("path", "found"),
    [(Path("data/x"), "data/x"), ("/mnt/x", "/mnt/x"), ("no path", ""), (3, "")],
)
def test_the_nearest_path_on_the_stack(path: object, found: str) -> None:
    nearest = nearest_path(frame_of(path))
    assert nearest == found if found else nearest != "no path"
