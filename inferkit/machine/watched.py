"""Work on storage that may never answer, done where it can be given up.

A mount whose server is gone holds whoever asks it: the thread hears no Ctrl-C, and often not even SIGKILL ends it. So a
copy of this process (fork: nothing is loaded again, and whatever was changed holds there too) does the work, and this
one keeps to the clock. A copy that cannot be ended is left to the kernel.
"""

import gc
import logging
import os
import pickle
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from time import monotonic, sleep
from types import FrameType
from typing import Any, NoReturn, TypeVar

from inferkit.errors import RankError, ReadError
from inferkit.linux.mounts import told
from inferkit.linux.parent import end_with_parent
from inferkit.linux.procfs import ROOT, states, text
from inferkit.machine import watchdog
from inferkit.machine.contention import process_s
from inferkit.os_errors import explained

SAID = 6
"""Part of the longest wait after which it is said what is waited for."""
ENDED_S = 5.0
"""Seconds that work has to end when it is interrupted, and again when it is killed."""
PERIOD_S = 0.1

Tell = Callable[..., None]
T = TypeVar("T")


class Unwanted(Exception):
    """Nobody wants to know any more: the work was given up."""


def watched(
    work: Callable[[Tell], T],
    show: Callable[..., object] = lambda *_: None,
    wanted: Callable[[], bool] = lambda: True,
    *,
    deaf: bool = False,
) -> T:
    """Do work in a copy of this process, and return what it returns or raise what it raises; both are pickled.

    What it changes in memory is lost. It is given up when it has shown no sign of life for
    :data:`inferkit.machine.watchdog.STILL_S`: storage that is merely slow makes it move. It ends with this thread.

    Parameters
    ----------
    work
        Is given a function whose arguments reach ``show`` in this process.
    show
        Is told how far the work is.
    wanted
        Tells whether the work is to go on; asked several times a second.
    deaf
        Do it also after a Ctrl-C, or when the terminal is closed: this process handles both, and its copy, which has
        the same handlers, would do so again.

    Raises
    ------
    ReadError
        If it was given up, naming the path, its mount, and what stays behind.
    RankError
        If the copy cannot be started, or was ended by somebody else.
    Unwanted
        If it is not to go on.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.flush()  # or the copy would write it as well
    ours, theirs = Pipe()
    try:
        pid = _fork(deaf=deaf)
    except OSError as error:
        message = f"no process can be started that looks at the storage: {explained(error)}"
        raise RankError(message) from error
    if pid == 0:
        ours.close()
        _copy(theirs, work)
    theirs.close()
    copy = _Copy(pid, ours, wanted)
    try:
        answer: T = copy.answer(show)
        return answer
    finally:
        copy.end()


def _fork(*, deaf: bool) -> int:
    with warnings.catch_warnings():
        # Python 3.12 warns of the locks of other threads: the work takes none of theirs.
        warnings.simplefilter("ignore", DeprecationWarning)
        # What is raised while others look after their locks at a fork is ignored: a Ctrl-C would be lost there.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGHUP])
        pid = -1
        try:
            pid = os.fork()
        finally:
            if pid or not deaf:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return pid


class _Copy:
    """The copy, as it is seen from here."""

    def __init__(self, pid: int, pipe: Connection, wanted: Callable[[], bool]) -> None:
        self._pid, self._pipe, self._wanted = pid, pipe, wanted
        self._status: int | None = None
        self._left = False
        self._heard = 0
        self._watchdog = watchdog.Watchdog(partial(_signs, pid))
        self._asked = False
        self._place = "the storage"

    def answer(self, show: Callable[..., object]) -> Any:
        """Wait for what the work returns, or raises."""
        while True:
            kind, content = self._hear()
            if kind == "returned":
                return content
            if kind == "raised":
                raise content
            if kind == "shown":
                show(*content)
            elif kind == "at":
                self._say(content)
            elif not self._wanted():
                raise Unwanted
            elif (still_s := self._watchdog.seconds(str(self._heard))) > watchdog.STILL_S:
                raise self._given_up(still_s)
            elif still_s > watchdog.STILL_S / SAID and not self._asked:
                self._ask()

    def _hear(self) -> tuple[str, Any]:
        """Return what the copy says next, nothing if it says nothing for a moment."""
        if not self._pipe.poll(PERIOD_S):
            return "", None
        try:
            kind, content = self._pipe.recv()
        except (EOFError, ConnectionResetError) as error:
            raise self._died() from error
        self._heard += kind == "shown"
        return kind, content

    def _ask(self) -> None:
        """Ask what the copy is at; it may have no thread left to say so."""
        self._asked = True
        with suppress(BrokenPipeError):
            self._pipe.send_bytes(b"?")

    def _say(self, path: str) -> None:
        self._place = told(Path(path)) if path else self._place
        message = "no answer from %s yet: it is given up after %.0f s without one"
        logging.getLogger("inferkit").warning(message, self._place, watchdog.STILL_S)

    def _given_up(self, still_s: float) -> ReadError:
        starved = self._watchdog.starved()
        left = "" if self.end() else f"; process {self._pid}, which waits for it, stays until the kernel lets it go"
        if starved:
            return ReadError(f"looking at {self._place} was given up: {starved}{left}")
        return ReadError(
            f"{self._place} gave no answer for {still_s:.0f} s and was given up: does its server "
            f"answer? See dmesg; umount -f or -l frees whoever waits{left}"
        )

    def _died(self) -> RankError:
        self.end()
        number = -os.waitstatus_to_exitcode(self._status or 0)
        how = f"was killed by {signal.Signals(number).name}" if number > 0 else "ended without an answer"
        return RankError(f"the process that looked at the storage {how}: is memory short?")

    def end(self) -> bool:
        """End the copy, if it has not ended; tell whether it is gone."""
        self._pipe.close()
        if self._left:
            return False
        for number in (signal.SIGINT, signal.SIGKILL):
            try:
                if self._gone(0):
                    return True
                os.kill(self._pid, number)
                if self._gone(ENDED_S):
                    return True
            except KeyboardInterrupt:  # the user insists
                continue
        self._left = True
        threading.Thread(target=os.waitpid, args=(self._pid, 0), name="reaper", daemon=True).start()
        return False

    def _gone(self, timeout_s: float) -> bool:
        end = monotonic() + timeout_s
        while self._status is None:
            try:
                pid, status = os.waitpid(self._pid, os.WNOHANG)
            except ChildProcessError:  # somebody else has reaped it
                pid, status = self._pid, 0
            if pid:
                self._status = status
            elif monotonic() >= end:
                return False
            else:
                sleep(0.01)
        return True


def _signs(pid: int) -> watchdog.Signs:
    """Return the signs of life of a process and of all that it has started."""
    own, others = watchdog.signs(pid), descendants(pid)
    ready = own.ready or any("R" in states(other) for other in others)
    return own._replace(cpu_s=own.cpu_s + sum(map(process_s, others)), ready=ready)


def descendants(pid: int) -> list[int]:
    """Return the processes that a process has started, and those that these have."""
    tasks = (ROOT / f"proc/{pid}/task").glob("*/children")  # proc_tid_children(5)
    children = [int(child) for task in tasks for child in (text(task) or "").split()]
    return children + [own for child in children for own in descendants(child)]


def _copy(pipe: Connection, work: Callable[[Tell], object]) -> NoReturn:
    """Do the work and say what came of it; nothing of what this process was a copy of is ended or cleaned up here."""
    try:
        gc.freeze()  # a collection would write to, and so copy, every page of what there was before
        end_with_parent()
        signal.set_wakeup_fd(-1)  # of the other's event loop
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, _interrupted)
        lock = threading.Lock()
        place = threading.get_ident()
        with suppress(RuntimeError):  # no more threads are allowed
            threading.Thread(target=_say_where, args=(pipe, lock, place), name="where", daemon=True).start()
        answer: tuple[str, object]
        try:
            answer = "returned", work(lambda *told: _send(pipe, lock, ("shown", told)))
        except BaseException as error:  # noqa: BLE001 - it is raised in the other process
            answer = "raised", _portable(error)
        _send(pipe, lock, answer)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    finally:
        os._exit(0)


def _interrupted(number: int, frame: FrameType | None) -> None:
    """Take the first Ctrl-C, whether the terminal sends it or the other process passes it on."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def _send(pipe: Connection, lock: threading.Lock, message: object) -> None:
    with lock, suppress(BrokenPipeError):  # nobody waits any more
        pipe.send(message)


def _portable(error: BaseException) -> BaseException:
    """Return an error with its traceback as a note, or one that says the same if it cannot be pickled."""
    error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except (TypeError, AttributeError, pickle.PicklingError):
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _say_where(pipe: Connection, lock: threading.Lock, thread: int) -> None:
    """Answer, whenever asked, at which path the work is."""
    with suppress(EOFError, OSError):
        while pipe.recv_bytes():
            _send(pipe, lock, ("at", nearest_path(sys._current_frames().get(thread))))


def nearest_path(frame: FrameType | None) -> str:
    """Return the path that the innermost of the functions under way has at hand; empty if none has any."""
    while frame is not None:
        for value in reversed(frame.f_locals.values()):
            if isinstance(value, Path) or (isinstance(value, str) and value.startswith("/")):
                return str(value)
        frame = frame.f_back
    return ""
