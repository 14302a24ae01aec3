"""Ctrl-C while points are measured: the first asks, the second insists."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self


class Interrupts:
    """Lets a first interrupt wait until the point under way is finished; a second one is KeyboardInterrupt at once.

    Used as a context manager. Outside the main thread, which alone gets signals, it changes nothing.

    Attributes
    ----------
    asked
        Whether there was an interrupt.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._interrupted)
        return self

    def _interrupted(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            self._restore()  # whoever holds a traceback may keep this open for long
            raise KeyboardInterrupt
        self.asked = True

    def _restore(self) -> None:
        if self._before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self._before)
            self._before = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()
