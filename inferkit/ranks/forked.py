"""Start a rank as a copy of a process that has imported everything already, which costs a hundredth of a start.

That process, the fork server, is started with the first rank and ends with this process. Variables and CPUs go to each
rank. Where other things that a process inherits (limits, control group …) have changed since, a new server is started:
a rank finds what it would have found.
"""

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from time import monotonic
from typing import IO, Literal, TextIO

from inferkit.closing import Closing
from inferkit.errors import RankError
from inferkit.linux.procfs import ROOT, fields, text
from inferkit.machine import watchdog

SLICE_S = 0.2
"""Between two looks at what is waited for."""
AT_START = ("GLIBC_", "LANG", "LC_", "LD_", "MALLOC_", "NPY_", "OMP_", "OPENBLAS_", "PYDANTIC_", "PYTHON")
"""How variables begin that are read as the interpreter and the libraries start: a copy would not heed them."""
_STATUS = ("Umask", "Uid", "Gid", "Groups", "CapEff", "NoNewPrivs", "Seccomp", "Mems_allowed")


class Forked:
    """A rank that was forked, to be used as :class:`subprocess.Popen` is.

    Attributes
    ----------
    pid
        Its process id; the server's if that ended before it could fork.
    stdin, stdout
        The pipes to it.
    returncode
        How it ended, negative for a signal; None until that was asked for by :meth:`poll` or :meth:`wait`.
    """

    def __init__(self, server: "_Server", pid: int, stdin: TextIO, stdout: TextIO, status: TextIO) -> None:
        self._server, self._status = server, status
        self._lock = threading.Lock()
        self.pid, self.stdin, self.stdout = pid, stdin, stdout
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return how it ended, or None."""
        return self._look(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended, and return how.

        Raises
        ------
        subprocess.TimeoutExpired
            If it has not after so many seconds.
        """
        end = None if timeout is None else monotonic() + timeout
        while (code := self._look(SLICE_S if end is None else min(SLICE_S, max(0.0, end - monotonic())))) is None:
            if end is not None and monotonic() >= end:
                raise subprocess.TimeoutExpired([sys.executable], timeout or 0.0)
        return code

    def kill(self) -> None:
        """End it."""
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it ended at this instant
                os.kill(self.pid, signal.SIGKILL)

    def _look(self, timeout_s: float) -> int | None:
        with self._lock:  # several threads may wait for it
            if self.returncode is None and _readable(self._status, timeout_s):
                with self._status:
                    told = self._status.read()
                self.returncode = int(told) if told else self._server.ended()  # and the rank with it
            return self.returncode


def _readable(file: TextIO | socket.socket, timeout_s: float) -> bool:
    waiting = select.poll()
    waiting.register(file, select.POLLIN)
    return bool(waiting.poll(timeout_s * 1000))


def _pipe(mode: Literal["r", "w"], ours: ExitStack, theirs: ExitStack) -> tuple[TextIO, int]:
    """Return this process's end of a pipe, and the other."""
    ends = os.pipe()
    mine, other = ends if mode == "r" else ends[::-1]
    theirs.callback(os.close, other)
    return ours.enter_context(os.fdopen(mine, mode)), other


class _Server(Closing):
    """The fork server, seen from here."""

    def __init__(self, stderr: IO[bytes]) -> None:
        self.inherited = _inherited()
        self._environment = dict(os.environ)
        self._asking = False
        self._ranks: list[Forked] = []
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ExitStack() as undo, theirs:
            undo.callback(self._socket.close)
            self._process = subprocess.Popen(
                [sys.executable, "-m", "inferkit.ranks.forkserver"],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                start_new_session=True,
                env=self._environment,
            )
            undo.pop_all()

    def usable(self) -> bool:
        return not self._asking and self.inherited == _inherited() and self._process.poll() is None

    def idle(self) -> bool:
        """Tell whether its ranks have ended; a copy of this process has no say."""
        if self.inherited[0] != os.getpid():
            return False
        self._ranks = [rank for rank in self._ranks if rank.poll() is None]
        return not self._ranks

    def fork(self, stderr: IO[bytes], environment: Mapping[str, str], cpus: Sequence[int]) -> Forked:
        with ExitStack() as ours, ExitStack() as theirs:
            (stdin, hears), (stdout, tells), (status, ends) = (_pipe(mode, ours, theirs) for mode in ("w", "r", "r"))
            request = json.dumps({"environment": _changes(self._environment, environment), "cpus": list(cpus)})
            pid = self._asked(request.encode(), [hears, tells, stderr.fileno(), ends])
            rank = Forked(self, pid, stdin, stdout, status)
            ours.pop_all()
        self._ranks.append(rank)
        return rank

    def _asked(self, request: bytes, files: list[int]) -> int:
        self._asking = True  # and for ever, where this is interrupted: the next answer would be to this request
        try:
            socket.send_fds(self._socket, [request], files)
            answer = json.loads(self._heard() or "{}")
        except ConnectionError:
            answer = {}  # it ended as it started: its exit code and its last words tell why
        self._asking = False
        if "errno" in answer:
            raise OSError(answer["errno"], os.strerror(answer["errno"]))
        pid: int = answer.get("pid", self._process.pid)
        return pid

    def _heard(self) -> bytes:
        """Return the answer; on slow storage it takes a minute to import what a rank needs."""
        watch = watchdog.Watchdog(partial(watchdog.signs, self._process.pid))
        while not _readable(self._socket, SLICE_S):
            if (still_s := watch.seconds("")) > watchdog.STILL_S:
                why = watch.starved() or watchdog.state(self._process.pid)
                message = f"no rank could be started: {still_s:.0f} s nothing moved: {why}"
                raise RankError(message)
        return self._socket.recv(1024)

    def ended(self) -> int:
        return self._process.wait()

    def close(self) -> None:
        self._socket.close()
        if self._asking:
            self._process.kill()  # it may never have got so far as to hear
        self._process.wait()


_servers: list[_Server] = []
_lock = threading.Lock()


def fork(stderr: IO[bytes], environment: Mapping[str, str], cpus: Sequence[int]) -> Forked:
    """Start a rank in a session of its own.

    Parameters
    ----------
    stderr
        Where its standard error goes.
    environment, cpus
        Its variables, and the CPUs it may use.

    Raises
    ------
    OSError
        If the system has no process, memory or open file for it.
    """
    with _lock:
        server = next((one for one in _servers if one.usable()), None)
        if server is None:
            end_idle()
            server = _Server(stderr)
            _servers.append(server)
        return server.fork(stderr, environment, cpus)


@atexit.register
def end_idle() -> None:
    """End the servers whose ranks have ended."""
    for server in [one for one in _servers if one.idle()]:
        _servers.remove(server)
        server.close()


def _inherited() -> tuple[object, ...]:
    """Return what a process takes over from the one that starts it, as far as a copy of another cannot."""
    status = fields(text(ROOT / "proc/self/status"))
    spaces = sorted((space.name, space.readlink()) for space in Path("/proc/self/ns").glob("*"))
    return (
        os.getpid(),  # a copy of this process has a server of its own
        sys.executable,
        {name: value for name, value in os.environ.items() if name.startswith(AT_START)},
        Path("/proc/self/cwd").readlink(),
        text(ROOT / "proc/self/cgroup"),
        os.getpriority(os.PRIO_PROCESS, 0),
        text(ROOT / "proc/self/limits"),
        [status.get(name) for name in _STATUS],
        spaces,
    )


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, str | None]:
    """Return the variables that are to be others; None: not to be there."""
    return {name: after.get(name) for name in {*before, *after} if before.get(name) != after.get(name)}
