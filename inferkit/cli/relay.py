"""Signals on their way from the command to the kernel that works for it."""

import os
import signal
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import monotonic, sleep
from types import FrameType
from typing import Any, Protocol

LOST_S = 5.0
"""A kernel that was interrupted and then has nothing to do for so long has lost the cell that it was given."""
KILLED_AFTER = 3
"""Interrupts until a kernel that does not answer is killed."""


class Kernel(Protocol):
    """A client of a kernel.

    Attributes
    ----------
    km
        Jupyter's manager of the kernel's process.
    heard
        Whether it has said a word.
    idle_s
        Since when it has nothing to do (``monotonic``); None: it works.
    """

    km: Any
    heard: bool
    idle_s: float | None


class Relay:
    """Sends each Ctrl-C on to the kernel, which lives in a session of its own; a third one kills it.

    While a notebook measures, the first lets the point under way be finished and the second ends it. A terminal that is
    closed is one, however often that is told: shell and kernel both do. Under ``nohup`` it is none. A kernel that has
    not said a word yet is killed at once: interrupted while it starts, it may neither answer nor end.

    Attributes
    ----------
    presses
        How often the user interrupted.
    """

    def __init__(self) -> None:
        self.presses = 0
        self._hung_up = False
        self._client: Kernel | None = None

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Handle this process's signals for a while."""
        numbers = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            numbers.append(signal.SIGHUP)
        before = {number: signal.signal(number, self._send) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def reaching(self, client: Kernel) -> Iterator[None]:
        """Send to a client's kernel for a while; without one, an interrupt is a KeyboardInterrupt here."""
        self._client = client
        try:
            yield
        finally:
            self._client = None

    def _send(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            if self._hung_up:
                return
            self._hung_up = True
            leave_terminal()
        self.presses += 1
        kernel = process_of(self._client)
        if kernel is None:
            raise KeyboardInterrupt
        patient = self._client is not None and self._client.heard and self.presses < KILLED_AFTER
        with suppress(ProcessLookupError):  # it has ended by itself, and is being cleaned up after
            os.kill(kernel, signal.SIGINT if patient else signal.SIGKILL)
        if self.presses == 1:
            threading.Thread(target=self._look_after, args=(self._client, kernel), name="relay", daemon=True).start()

    def _look_after(self, client: Kernel, kernel: int) -> None:
        """Kill a kernel that will not answer: ipykernel drops a cell if it is interrupted just before the cell runs."""
        while self._client is client:
            if client.idle_s is not None and monotonic() - client.idle_s > LOST_S:
                with suppress(ProcessLookupError):
                    os.kill(kernel, signal.SIGKILL)
                return
            sleep(LOST_S / 10)


def process_of(client: Kernel | None) -> int | None:
    """Return the process id of a client's kernel; None if there is none."""
    pid: int | None = getattr(getattr(getattr(client, "km", None), "provisioner", None), "pid", None)
    return pid


def leave_terminal() -> None:
    """Write to the null device from now on what went to a terminal, which is gone: writing there would fail."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        if stat.S_ISCHR(os.fstat(descriptor).st_mode):
            os.dup2(null, descriptor)
    os.close(null)
