"""Progress where people look: a line in a notebook, a bar in a terminal.

In a notebook the line is a display that is updated in place. Its text is under our own MIME type as well, so that
whoever executes the notebook (``inferkit run``) can show it elsewhere; the executed notebook keeps the last one.
"""

import sys
from collections.abc import Mapping
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from inferkit.text import COLUMNS
from inferkit.units import bandwidth, duration, gigabytes, rate

if TYPE_CHECKING:
    from inferkit.measure.watch import Status  # the commands that make and verify data sets infer nothing

Live = Mapping[str, Any]
"""What a point under way does: its place among all, seconds left, and a :class:`~inferkit.records.outcome.Latest`."""
MIME = "application/vnd.inferkit.progress+json"
BAR = 20
PERIOD_S = 10.0
"""Seconds between lines in a file."""


class Sink(Protocol):
    """Where progress is shown."""

    def show(self, fraction: float, text: str, live: Live | None = None) -> None:
        """Show how much is done (0 … 1), what is under way, and, where there is room, what it does at the moment."""

    def close(self) -> None:
        """Show no more."""


class Progress:
    """Shows the progress of measuring, and of making data sets.

    Parameters
    ----------
    sink
        Where; None finds out whether this is a notebook.
    """

    def __init__(self, sink: Sink | None = None) -> None:
        self._sink = sink if sink is not None else _sink()

    def measuring(self, status: "Status") -> None:
        """Show how far a plan is."""
        axes = " · ".join(str(value) for value in status.point.axes.values() if value != "")
        speed = rate(status.images_per_s) if status.images_per_s else bandwidth(status.bytes_per_s)
        what = f"{status.index + 1}/{status.total} {status.point.measure} {axes}"
        left = f"{duration(round(status.seconds_left))} left"
        if status.stopping:
            left = "the last point: interrupt again to stop at once"
        self._sink.show(
            (status.index + status.fraction) / status.total,
            " · ".join([what, speed if status.bytes_per_s else _waiting(status), left]),
            _live(status),
        )

    def making(self, done: int, total: int) -> None:
        """Show how many images of a data set are made."""
        self._sink.show(done / total if total else 1.0, f"{done:,} of {total:,} images")

    def staging(self, done: int, total: int) -> None:
        """Show how many bytes are staged."""
        self._sink.show(done / total if total else 1.0, f"{gigabytes(done)} of {gigabytes(total)}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sink.close()


def _live(status: "Status") -> Live:
    return {
        "index": status.index,
        "total": status.total,
        "measure": status.point.measure,
        "axes": status.point.axes,
        "point_fraction": status.fraction,
        "seconds_left": status.seconds_left,
        "stopping": status.stopping,
        "note": "" if status.bytes_per_s else _waiting(status),
        "latest": status.latest.model_dump(),
    }


def _waiting(status: "Status") -> str:
    return "measuring" if 0 < status.fraction < 1 else status.note or "starting"


class TerminalSink:
    """A line of tqdm on standard error, where that is a terminal."""

    def __init__(self, name: str = "") -> None:
        from tqdm import tqdm  # a notebook needs no tqdm

        self._name = f"{name} " if name else ""
        # Some terminals (of containers, of CI) tell no size, and tqdm would show nothing in them.
        self._bar = tqdm(total=100, bar_format="{desc}", leave=False, disable=None, nrows=2)
        told = getattr(self._bar, "ncols", None) or 0
        self._columns = self._bar.ncols = told if told > 0 else COLUMNS

    def show(self, fraction: float, text: str, live: Live | None = None) -> None:
        """Show how much is done, and what is under way."""
        self._bar.set_description_str(fitted(self._name, fraction, text, self._columns))

    def write(self, text: str) -> None:
        """Print a line above the bar."""
        self._bar.write(text)

    def close(self) -> None:
        """Take the bar away."""
        self._bar.close()


class LogSink:
    """A line every ten seconds on standard error, where that is a file or a pipe.

    Parameters
    ----------
    name
        What the progress is of; begins each line.
    """

    def __init__(self, name: str = "") -> None:
        self._name = f"{name} " if name else ""
        self._next = 0.0

    def show(self, fraction: float, text: str, live: Live | None = None) -> None:
        """Print a line if the last one is old enough."""
        if monotonic() >= self._next:
            self._next = monotonic() + PERIOD_S
            self.write(f"{self._name}{fraction:4.0%} {text}")

    def write(self, text: str) -> None:
        """Print a line at once."""
        sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def close(self) -> None:
        """Nothing is left to take away."""


class NotebookSink:
    """One line under the cell, or in a display of the notebook's own.

    Parameters
    ----------
    handle
        IPython's handle of that display, which is empty afterwards; None makes one, which keeps "done".
    """

    def __init__(self, handle: Any = None) -> None:
        self._handle, self._last = handle, "done" if handle is None else ""
        self._shown: tuple[str, Live | None] = "", None
        self._again = 0.0

    def show(self, fraction: float, text: str, live: Live | None = None) -> None:
        """Update the line."""
        from IPython.display import display  # a terminal needs no IPython

        line = f"{drawn(fraction)} {text}"
        if (line, live) == self._shown and monotonic() < self._again:
            return
        # What takes long without a change is told again, so that whoever reads a file sees that it goes on.
        self._shown, self._again = (line, live), monotonic() + PERIOD_S
        bundle = {"text/plain": line, MIME: {"fraction": fraction, "text": text, "live": live}}
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)

    def close(self) -> None:
        """Say that it is done."""
        if self._handle is not None:
            done = {"fraction": 1.0, "text": "done", "live": None}
            self._handle.update({"text/plain": self._last, MIME: done}, raw=True)


def drawn(fraction: float) -> str:
    """Draw a share (0 … 1) as a bar with its percentage."""
    full = round(fraction * BAR)
    return f"{'█' * full}{'░' * (BAR - full)} {fraction:4.0%} "


def fitted(name: str, fraction: float, text: str, columns: int) -> str:
    """Return a line of so many columns at most: without the bar, then without its middle; speed and time stand last."""
    line = f"{name}{drawn(fraction)} {text}"
    if len(line) > columns:
        line = f"{name}{fraction:4.0%} {text}"
    end = columns // 2
    return line if len(line) <= columns else f"{line[: columns - end - 1]}…{line[-end:]}"


def in_notebook() -> bool:
    """Tell whether this process is a notebook's kernel."""
    from IPython.core.getipython import get_ipython  # a terminal needs no IPython

    return getattr(get_ipython(), "kernel", None) is not None


def terminal_sink(name: str = "") -> TerminalSink | LogSink:
    """Return a bar where standard error is a terminal, else lines."""
    return TerminalSink(name) if sys.stderr.isatty() else LogSink(name)


def _sink() -> Sink:
    return NotebookSink() if in_notebook() else terminal_sink()
