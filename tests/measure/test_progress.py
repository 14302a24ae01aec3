"""Progress where nobody looks at a terminal: a line now and then; and in a display of a notebook's own."""

import os
import re
import subprocess
import sys
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferkit.measure import progress
from inferkit.measure.progress import MIME, PERIOD_S, LogSink, NotebookSink, TerminalSink, terminal_sink
from tests.clock import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock[float]:
    clock = Clock(1e6)
    monkeypatch.setattr(progress, "monotonic", clock)
    return clock


def test_a_log_has_a_line_each_ten_seconds_at_most(clock: Clock[float], capsys: pytest.CaptureFixture[str]) -> None:
    sink = LogSink("nvme")
    for second in range(35):
        sink.show(second / 35, f"point {second}")
        clock.now += 1.0
    sink.close()
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[-1] for line in lines] == ["0", "10", "20", "30"]
    assert lines[1].split()[:2] == ["nvme", "29%"]


@given(gaps=st.lists(st.floats(0, 25), max_size=50))
def test_lines_are_never_nearer_than_the_period(gaps: list[float]) -> None:
    clock, written = Clock(1e6), list[float]()

    class Written(LogSink):
        def write(self, text: str) -> None:
            written.append(clock.now)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(progress, "monotonic", clock)
        sink = Written()
        for gap in gaps:
            clock.now += gap
            sink.show(0.5, "x")
    assert all(later - before >= PERIOD_S for before, later in pairwise(written))
    assert bool(written) == bool(gaps)


def test_what_is_written_is_never_held_back(clock: Clock[float], capsys: pytest.CaptureFixture[str]) -> None:
    sink = LogSink()
    for text in ("a", "b"):
        sink.write(text)
    assert capsys.readouterr().err == "a\nb\n"


def test_a_bar_is_for_terminals_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(terminal_sink("x"), LogSink)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    sink = terminal_sink("x")
    assert isinstance(sink, TerminalSink)
    sink.close()


def test_what_does_not_change_is_told_again_now_and_then(clock: Clock[float]) -> None:
    """A log of the executed notebook has a line each ten seconds also while a huge batch is read."""
    handle = Handle()
    sink = NotebookSink(handle)
    for _ in range(350):
        sink.show(0.5, "a batch of minutes")
        clock.now += 0.1
    assert len(handle.shown) == 4


class Handle:
    """Stands in for a display: keeps what it shows."""

    def __init__(self) -> None:
        self.shown: list[dict[str, Any]] = []

    def update(self, bundle: dict[str, Any], raw: bool) -> None:
        assert raw
        self.shown.append(bundle)


def test_a_display_of_the_notebooks_own_is_empty_afterwards() -> None:
    handle = Handle()
    sink = NotebookSink(handle)
    sink.show(0.5, "half")
    sink.show(0.5, "half")
    sink.close()
    first, last = handle.shown
    assert (first[MIME]["fraction"], first[MIME]["text"]) == (0.5, "half")
    assert "50%" in first["text/plain"]
    assert last["text/plain"] == ""
    assert last[MIME]["fraction"] == 1.0


IN_TERMINAL = """
import fcntl, struct, sys, termios
fcntl.ioctl(2, termios.TIOCSWINSZ, struct.pack("HHHH", int(sys.argv[1]), int(sys.argv[2]), 0, 0))
from inferkit.measure.progress import terminal_sink
terminal_sink("nvme").show(0.25, "1/60 pipeline " + "n" * 60 + " · 45,527 images/s · 12 min 30 s left")
"""


@pytest.mark.parametrize(("rows", "columns"), [(24, 80), (0, 0)])
def test_a_terminal_shows_how_long_it_takes_whatever_is_measured(rows: int, columns: int) -> None:
    """Also one that tells no size, as in a container."""
    ours, theirs = os.openpty()
    subprocess.run([sys.executable, "-c", IN_TERMINAL, str(rows), str(columns)], stderr=theirs, check=True)
    os.close(theirs)
    told = os.read(ours, 4096).decode()
    os.close(ours)
    assert "nvme  25% 1/60 pipeline" in told
    assert "45,527 images/s · 12 min 30 s left" in told
    assert max(map(len, re.split("[\r\n]", told))) <= 80
