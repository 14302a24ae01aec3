"""A run in a process of its own: `inferkit run`, told what to do on standard input, heard through its feed."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import IO, Any

from inferkit.closing import Closing
from inferkit.records.project import project_root

Event = dict[str, Any]
TWICE_S = 0.5
"""Presses that are closer than this are a double click, which asks for one thing. (Signals so close may merge too.)"""


class Running(Closing):
    """A run that goes on beside the kernel, in a session of its own: an interrupt of the kernel is none of it.

    When the kernel ends, the run finishes its point and ends as well.

    Parameters
    ----------
    parameters
        A parameter file's text.
    only
        Notebooks to run; empty: all that apply.
    out
        Folder for executed notebooks.
    hear
        Is given each event of the feed (cli/feed.py), on a thread of this run.
    ended
        Is given the exit code and what the command printed, last of all.

    Attributes
    ----------
    presses
        How often it was asked to stop.
    """

    def __init__(
        self,
        parameters: str,
        only: Sequence[str],
        out: Path,
        hear: Callable[[Event], None],
        ended: Callable[[int, str], None],
    ) -> None:
        self.presses = 0
        self._pressed_s = 0.0
        self._hear, self._ended = hear, ended
        self._printed: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the run has ended; no name
        reading, writing = os.pipe()
        options = ["--out", str(out), "--feed", str(writing)] + (["--only", ",".join(only)] if only else [])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "inferkit.cli.main", "run", "-", *options],
            stdin=subprocess.PIPE,
            stdout=self._printed,
            stderr=subprocess.STDOUT,
            cwd=project_root(),
            pass_fds=[writing],
            start_new_session=True,
        )
        os.close(writing)
        assert self._process.stdin is not None
        with suppress(BrokenPipeError), self._process.stdin as words:
            words.write(parameters.encode())
        self._listener = threading.Thread(target=self._listen, args=(reading,), name="feed of a run", daemon=True)
        self._listener.start()

    @property
    def pid(self) -> int:
        """The command's process id."""
        return self._process.pid

    def _listen(self, descriptor: int) -> None:
        try:
            with os.fdopen(descriptor, encoding="utf-8") as lines:
                for line in lines:
                    if line.endswith("\n"):  # else it was killed while it wrote
                        self._hear(json.loads(line))
        finally:  # whatever goes wrong here, the run ends as nobody reads, and its end is told
            code = self._process.wait()
            with self._printed as printed:
                printed.seek(0)
                words = printed.read().decode(errors="replace")
            self._ended(code, words)

    def stop(self) -> None:
        """Let the point under way be finished; the second time stop at once, the third time kill the notebook."""
        if monotonic() - self._pressed_s < TWICE_S:
            return
        self._pressed_s = monotonic()
        self.presses += 1
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def over(self) -> bool:
        """Tell whether it has ended, and ``ended`` was told."""
        return not self._listener.is_alive()

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait until it is over, at most so long."""
        self._listener.join(timeout_s)

    def close(self) -> None:
        """Stop at once whatever still runs."""
        while not self.over():
            self.stop()
            self.wait(2.0)
