"""Start a rank and keep a handle on it: poll, stop, result."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from time import monotonic, monotonic_ns
from typing import IO, Any

from inferkit.closing import Closing
from inferkit.errors import InferkitError, RankError
from inferkit.linux.cgroups import affinity
from inferkit.linux.mounts import told
from inferkit.machine import watchdog
from inferkit.machine.affinity import environment, rank_binding
from inferkit.machine.watched import watched
from inferkit.objects.place import is_url
from inferkit.os_errors import hinted, system_refusal
from inferkit.ranks.forked import Forked, fork
from inferkit.readers import find_dataset
from inferkit.records.job import Job, reading_of
from inferkit.records.outcome import Outcome, RankProgress
from inferkit.records.place import Place

STUCK_S = 5.0
"""How long to wait for a killed rank to end: one that waits for storage ends with the storage's answer."""
WHERE_S = 1.0
"""How long a rank has to say which file it is at: one whose page fault waits cannot."""
STDERR_KEPT = 4000
"""Characters of a rank's last words that go into the record."""


class Handle(Closing):
    """One rank.

    Used as a context manager, nothing is left of the rank afterwards. The rank runs in a session of its own, so that a
    Ctrl-C in a terminal does not reach it: whoever holds the handle stops it. It ends with this process, at the latest.

    Parameters
    ----------
    job
        What it is to measure.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.progress: RankProgress | None = None
        self.note = ""
        self._answer: dict[str, Any] | None = None
        self._stopped = False
        self._ready = threading.Event()
        self._passed = False
        self._paths: list[str] = []
        self._told_where = threading.Event()
        self.binding = rank_binding(job.place or Place())
        self._stderr: IO[bytes] = os.fdopen(os.memfd_create("last words"), "r+b")  # needs no disk that has room
        with ExitStack() as undo:
            undo.callback(self._stderr.close)
            self._process = self._started()
            undo.callback(self._process.kill)
            self._listener = threading.Thread(target=self._listen, name="rank events", daemon=True)
            self._listener.start()
            undo.pop_all()
        self._watchdog = watchdog.Watchdog(partial(watchdog.signs, self.pid))
        self._say(job.model_dump_json())

    def _started(self) -> "subprocess.Popen[str] | Forked":
        variables = environment(self.job.place or Place())
        if not self.binding.prefix:
            return fork(self._stderr, variables, self.binding.cpus or sorted(affinity()))
        return subprocess.Popen(  # its memory is bound from the first page on, so that it shares none with others
            [*self.binding.prefix, sys.executable, "-m", "inferkit.ranks.rank"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            start_new_session=True,
            env=variables,
        )

    @property
    def pid(self) -> int:
        """The rank's process id."""
        return self._process.pid

    @property
    def lacking(self) -> Sequence[str]:
        """What could not be bound, and why."""
        return self.binding.lacking

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # the rank died; its exit tells why
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as events:  # nobody else can close it while it is read
            for line in events:
                if not line.endswith("\n"):
                    break  # it died while it spoke
                self._hear(json.loads(line))
        self._ready.set()

    def _hear(self, event: dict[str, Any]) -> None:
        kind = event.pop("event")
        if kind == "ready":
            self._ready.set()
        elif kind == "passed":
            self._passed = True
        elif kind == "note":
            self.note = str(event["text"])
        elif kind == "at":
            self._paths = event["paths"]
            self._told_where.set()
        elif kind == "progress":
            self.progress = RankProgress(**event)
        else:
            self._answer = {"kind": kind, **event}

    def ready(self) -> bool:
        """Tell whether the rank has prepared everything, or has ended already (its result then tells why).

        One that hangs while it prepares is stopped.
        """
        if not self._ready.is_set() and (still_s := self._watchdog.seconds(self.note)) > watchdog.STILL_S:
            why = self._watchdog.starved() or watchdog.state(self.pid)
            self._give_up(f"it prepared nothing for {still_s:.0f} s: {why}")
        return self._ready.is_set()

    def at(self) -> str:
        """Say at which file of its data set the rank is, as far as it can tell, and on which mount; empty if at none.

        For one that does not go on.
        """
        reading = reading_of(self.job)
        if reading is None or not reading.folder or is_url(reading.folder):
            return ""
        self._say(json.dumps({"where": True}))
        self._told_where.wait(WHERE_S)
        files = [path for path in self._paths if Path(path).is_relative_to(reading.folder)]
        return f", at {told(Path(max(files, key=len, default=reading.folder)))}"

    def left(self) -> str:
        """Say whether the rank, which was stopped, cannot be ended."""
        alive = self._process.poll() is None
        return f"; process {self.pid} waits in the kernel and stays until that lets it go" if alive else ""

    def _give_up(self, why: str) -> None:
        """Answer in the rank's place, and stop it: what waits for storage may not even end when it is killed."""
        where, words = self.at(), self.last_words()
        self.stop()
        message = f"rank {self.pid} was stopped: {why}{where}{self.left()}"
        self._answer = {"kind": "failure", "error": "RankError", "message": message, "detail": words}
        self._ready.set()

    def wait(self, timeout_s: float) -> None:
        """Wait until the rank is ready, at most so long."""
        self._ready.wait(timeout_s)

    def passed(self) -> bool:
        """Tell whether the rank, one of several, has passed the agreed end."""
        return self._passed

    def finish(self) -> None:
        """Tell the rank, one of several, that it need not keep its load up any longer."""
        self._say(json.dumps({"finish": True}))

    def answered(self) -> bool:
        """Tell whether :meth:`result` would return or raise at once."""
        return self._answer is not None or self.poll()

    def start(self, at_ns: int | None = None, beside: Sequence[int] = ()) -> None:
        """Agree on the instant (``CLOCK_MONOTONIC``; None: now) at which the clock starts.

        Parameters
        ----------
        beside
            Processes of the ranks that measure together.
        """
        self._say(json.dumps({"start_ns": monotonic_ns() if at_ns is None else at_ns, "beside": list(beside)}))

    def poll(self) -> bool:
        """Tell whether the rank has ended."""
        return self._process.poll() is not None and not self._listener.is_alive()

    def stop(self) -> None:
        """End the rank at once; its result is then a :class:`RankError`."""
        if self._process.poll() is None:
            self._stopped = True
            with suppress(ProcessLookupError):  # it ended at this instant
                os.killpg(self.pid, signal.SIGKILL)  # the rank leads a group: with whatever it started
        with suppress(subprocess.TimeoutExpired):  # storage that never answers holds even a killed reader
            self._process.wait(STUCK_S)

    def result(self, timeout_s: float | None = None) -> Outcome:
        """Wait for the rank's outcome.

        Raises
        ------
        RankError
            If the rank failed, died, was stopped, or took longer than ``timeout_s``. ``kind`` and ``detail`` of what
            it said are kept as attributes.
        """
        end = None if timeout_s is None else monotonic() + timeout_s
        while not self.answered():
            self._listener.join(0.05)
            if end is not None and monotonic() > end:
                where = self.at()
                self.stop()
                message = (
                    f"rank {self.pid} did not finish within {timeout_s:.0f} s and was stopped: storage or GPU hangs"
                    f"{where}{self.left()}"
                )
                raise RankFailure(message, "RankError", self.last_words())
        if self._answer is None:
            raise self._death()
        if self._answer["kind"] == "failure":
            raise RankFailure(self._answer["message"], self._answer["error"], self._answer["detail"])
        return Outcome.model_validate(self._answer["outcome"])

    def _death(self) -> "RankFailure":
        code = self._process.wait()
        if self._stopped:
            message = f"rank {self.pid} was stopped"
        elif code < 0:
            name = signal.Signals(-code).name
            hint = {"SIGKILL": "out of memory?", "SIGBUS": self._damage()}.get(name)
            message = f"rank {self.pid} was killed by {name}" + (f" ({hint})" if hint else self._said())
        else:
            message = f"rank {self.pid} ended with exit code {code} and no result{self._said()}"
        return RankFailure(message, "RankError", self.last_words())

    def _said(self) -> str:
        words = self.last_words().splitlines()
        return f": {hinted(words[-1])}" if words else ""

    def _damage(self) -> str:
        """Say which file is not what it was when its pages were mapped."""
        reading = reading_of(self.job)
        try:
            if reading is not None:
                watched(lambda _: find_dataset(reading))
        except InferkitError as error:
            return f"a mapped file was truncated: {error}"
        return "the storage of a mapped file failed, or memory ran out on tmpfs"

    def last_words(self) -> str:
        """Return the end of what the rank wrote to its standard error."""
        descriptor = self._stderr.fileno()  # shared with the rank, which writes where a seek would lead
        start = max(0, os.fstat(descriptor).st_size - STDERR_KEPT)
        return os.pread(descriptor, STDERR_KEPT, start).decode(errors="replace").strip()

    def close(self) -> None:
        """Leave nothing behind: no process, no pipe."""
        self.stop()
        self._listener.join(STUCK_S)
        if self._process.poll() is None:  # one that storage holds is reaped when it lets go
            threading.Thread(target=self._process.wait, name="reaper", daemon=True).start()
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._stderr.close()


class RankFailure(RankError):
    """What a rank told, or what became of it.

    Attributes
    ----------
    kind
        The name of the exception in the rank.
    detail
        Its traceback, or the end of the rank's standard error.
    """

    def __init__(self, message: str, kind: str, detail: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.detail = detail

    def __reduce__(self) -> tuple[type["RankFailure"], tuple[str, str, str]]:
        """Travel whole from another machine."""
        return type(self), (str(self), self.kind, self.detail)


def launch(job: Job) -> Handle:
    """Start a rank for a job and return at once.

    Raises
    ------
    RankFailure
        If the system has no process, thread, memory or open file for it.
    """
    try:
        return Handle(job)
    except (OSError, RuntimeError, MemoryError) as error:
        if (why := system_refusal(error)) is None:
            raise
        message = f"{job.place or 'the rank'} cannot start: {why}"
        raise RankFailure(message, type(error).__name__, "") from error
