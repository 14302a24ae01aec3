"""A process that has imported what a rank needs, and becomes one at each request: in a hundredth of a start's time.

Standard input is the socket to who started it (:mod:`inferkit.ranks.forked`). In: ``{"environment": …, "cpus": […]}``
with four descriptors: the rank's standard input, output and error, and a pipe for how it ended. Out: ``{"pid": …}`` or
``{"errno": …}``; into the pipe, the exit code, negative for a signal. When the socket closes, whoever asked is gone:
the server ends, and all its ranks with it.
"""

import errno
import gc
import json
import os
import selectors
import signal
import socket
import warnings
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from inferkit.linux.parent import end_with_parent
from inferkit.ranks import rank

MOST_BYTES = 1 << 17
"""Of a request: Linux gives a socket's message no more (net.core.wmem_default)."""
FILES = 4
"""That come with one."""


class _Server:
    """The ranks that were forked, and who asks for them."""

    def __init__(self, owner: socket.socket, opened: ExitStack) -> None:
        self._owner = opened.enter_context(owner)
        self._ended, woken = map(opened.enter_context, socket.socketpair())
        self._ready = opened.enter_context(selectors.DefaultSelector())
        self._statuses: dict[int, int] = {}
        self._gone = -1
        for end in (self._ended, woken):
            end.setblocking(False)
        for end in (self._owner, self._ended):
            self._ready.register(end, selectors.EVENT_READ)
        # A copy of the owner that outlives it may hold the socket open. Linux 5.3, and a Python that was built there.
        with suppress(OSError, AttributeError):
            self._gone = os.pidfd_open(os.getppid())
            opened.callback(os.close, self._gone)
            self._ready.register(self._gone, selectors.EVENT_READ)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(woken.fileno(), warn_on_full_buffer=False)
        opened.callback(self._forget)

    def _forget(self) -> None:
        """In a rank, and at the end: nothing of the server stays."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for status in self._statuses.values():
            os.close(status)

    def serve(self) -> bool:
        """Return True in each rank, and False where nobody asks any more."""
        while True:
            asked = {key.fileobj for key, _ in self._ready.select()}
            if self._gone in asked:
                return self._end_all()
            if self._ended in asked:
                self._ended.recv(MOST_BYTES)
                self._reap()
            if self._owner in asked:
                message, files = self._request()
                if not message:
                    return self._end_all()
                if self._fork(json.loads(message), files):
                    return True

    def _request(self) -> tuple[bytes, list[int]]:
        """Return nothing where whoever asked is gone, which may be before an answer was read."""
        with suppress(ConnectionError):
            message, files, *_ = socket.recv_fds(self._owner, MOST_BYTES, FILES)
            return message, files
        return b"", []

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                with suppress(BrokenPipeError), os.fdopen(self._statuses.pop(ended[0]), "w") as told:
                    told.write(str(os.waitstatus_to_exitcode(ended[1])))

    def _end_all(self) -> bool:
        for pid in self._statuses:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)  # a rank leads a group: with whatever it started
        return False

    def _fork(self, request: dict[str, Any], files: list[int]) -> bool:
        """Tell whether this is the rank."""
        server = os.getpid()
        with ExitStack() as closing:
            for file in files[:3]:
                closing.callback(os.close, file)
            try:
                *standard, status = _all_of(files)
                settled, settling = map(closing.enter_context, socket.socketpair())
                pid = _forked()
            except OSError as error:
                for file in files[3:]:
                    os.close(file)
                self._tell(errno=error.errno)
                return False
            if pid == 0:
                os.close(status)
                _settle(request, standard, server)
                return True
            settling.close()
            settled.recv(1)  # nothing comes: whoever asked may rely on the group that the rank leads by then
        self._statuses[pid] = status
        self._tell(pid=pid)
        return False

    def _tell(self, **answer: int | None) -> None:
        with suppress(BrokenPipeError):  # nobody asks any more
            self._owner.send(json.dumps(answer).encode())


def _all_of(files: list[int]) -> list[int]:
    if len(files) < FILES:  # the kernel drops those that this process may not open
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    return files


def _forked() -> int:
    with warnings.catch_warnings():
        # Python 3.12 warns of the locks of other threads: those of numpy's algebra let go of theirs at a fork.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _settle(request: dict[str, Any], standard: list[int], server: int) -> None:
    """Become what a process is that was started for the request alone."""
    for number, file in enumerate(standard):
        os.dup2(file, number)
    end_with_parent()
    if os.getppid() != server:
        os._exit(1)  # it ended before the kernel was told
    os.setsid()
    with suppress(OSError):  # a container may forbid it: whether a rank is where it should be is checked there
        os.sched_setaffinity(0, request["cpus"])
    for name, value in request["environment"].items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _complete(base: type[BaseModel]) -> None:
    """Build what validates the models below one: each rank would build anew whatever it uses of it."""
    for model in base.__subclasses__():
        model.model_rebuild()
        _complete(model)


def main() -> None:
    """Serve until nobody asks any more; in a rank, measure."""
    owner = socket.socket(fileno=os.dup(0))
    with Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)
    _complete(BaseModel)
    gc.collect()
    gc.freeze()  # a collection in a rank would write to, and so copy, the pages of all that it looks at
    with ExitStack() as opened:
        measures = _Server(owner, opened).serve()
    if measures:
        rank.main()


if __name__ == "__main__":
    main()
