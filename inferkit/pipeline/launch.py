"""Start a rank and keep a handle on it: poll, stop, result."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from time import monotonic, monotonic_ns
from types import TracebackType
from typing import IO, Any, Self

from inferkit.errors import RankError
from inferkit.pipeline.job import Job, Outcome, Progress

STDERR_KEPT = 4000
"""Characters of a rank's last words that go into the record."""


class Handle:
    """One rank.

    Used as a context manager, nothing is left of the rank afterwards. The rank runs in a session of its own, so that a
    Ctrl-C in a terminal does not reach it: whoever holds the handle stops it.

    Parameters
    ----------
    job
        What it is to measure.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.progress: Progress | None = None
        self._answer: dict[str, Any] | None = None
        self._stopped = False
        self._ready = threading.Event()
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the handle; it has no name
        self._process = subprocess.Popen(
            [sys.executable, "-m", "inferkit.pipeline.rank"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            start_new_session=True,
            # so that CUDA counts GPUs as NVML does
            env={**os.environ, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"},
        )
        self._listener = threading.Thread(target=self._listen, name="rank events", daemon=True)
        self._listener.start()
        self._say(job.model_dump_json())

    @property
    def pid(self) -> int:
        """The rank's process id."""
        return self._process.pid

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # the rank died; its exit tells why
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if not line.endswith("\n"):
                break  # it died while it spoke
            event = json.loads(line)
            kind = event.pop("event")
            if kind == "ready":
                self._ready.set()
            elif kind == "progress":
                self.progress = Progress(**event)
            else:
                self._answer = {"kind": kind, **event}
        self._ready.set()

    def ready(self) -> bool:
        """Tell whether the rank has prepared everything, or has ended already (its result then tells why)."""
        return self._ready.is_set()

    def answered(self) -> bool:
        """Tell whether :meth:`result` would return or raise at once."""
        return self._answer is not None or self.poll()

    def start(self, at_ns: int | None = None) -> None:
        """Agree on the instant (``CLOCK_MONOTONIC``; None: now) at which the clock starts."""
        self._say(json.dumps({"start_ns": monotonic_ns() if at_ns is None else at_ns}))

    def poll(self) -> bool:
        """Tell whether the rank has ended."""
        return self._process.poll() is not None and not self._listener.is_alive()

    def stop(self) -> None:
        """End the rank at once; its result is then a :class:`RankError`."""
        if self._process.poll() is None:
            self._stopped = True
            os.killpg(self.pid, signal.SIGKILL)  # the rank leads a group: with whatever it started
        self._process.wait()

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
                self.stop()
                msg = f"rank {self.pid} did not finish within {timeout_s:.0f} s and was stopped: storage or GPU hangs"
                raise RankFailure(msg, "RankError", self.last_words())
        if self._answer is None:
            raise self._death()
        if self._answer["kind"] == "failure":
            raise RankFailure(self._answer["message"], self._answer["error"], self._answer["detail"])
        return Outcome.model_validate(self._answer["outcome"])

    def _death(self) -> "RankFailure":
        code = self._process.wait()
        if self._stopped:
            msg = f"rank {self.pid} was stopped"
        elif code < 0:
            name = signal.Signals(-code).name
            hint = {"SIGKILL": "out of memory?", "SIGBUS": "a mapped file was truncated, or its storage failed"}.get(
                name
            )
            msg = f"rank {self.pid} was killed by {name}" + (f" ({hint})" if hint else "")
        else:
            msg = f"rank {self.pid} ended with exit code {code} and no result"
        return RankFailure(msg, "RankError", self.last_words())

    def last_words(self) -> str:
        """Return the end of what the rank wrote to its standard error."""
        descriptor = self._stderr.fileno()  # shared with the rank, which writes where a seek would lead
        start = max(0, os.fstat(descriptor).st_size - STDERR_KEPT)
        return os.pread(descriptor, STDERR_KEPT, start).decode(errors="replace").strip()

    def close(self) -> None:
        """Leave nothing behind: no process, no pipe."""
        self.stop()
        self._listener.join()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        self._stderr.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


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


def launch(job: Job) -> Handle:
    """Start a rank for a job and return at once."""
    return Handle(job)
