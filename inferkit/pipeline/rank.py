"""A rank: a process that measures one job and tells its parent, in JSON lines, how it goes.

In: the job, then ``{"start_ns": …}`` (the agreed instant on ``CLOCK_MONOTONIC``). When the pipe closes the parent is
gone or wants no more, and the rank ends at once.
Out: ``{"event": "ready"}``, ``{"event": "progress", …}`` …, then ``result`` or ``failure``.
"""

import gc
import json
import os
import sys
import threading
import traceback
from time import monotonic_ns, sleep
from typing import Any, TextIO

from inferkit.errors import InferkitError
from inferkit.pipeline.job import Job, Progress
from inferkit.pipeline.monitor import Monitor
from inferkit.pipeline.timeline import Timeline
from inferkit.pipeline.works import WORKS


class _Parent:
    """The two pipes to the parent."""

    def __init__(self, commands: TextIO, events: TextIO) -> None:
        self._commands = commands
        self._events = events
        self._lock = threading.Lock()
        self._start = threading.Event()
        self.start_ns = 0
        self.job = Job.model_validate_json(self._commands.readline() or self._gone())
        threading.Thread(target=self._listen, name="commands", daemon=True).start()

    def _gone(self) -> str:
        os._exit(1)

    def _listen(self) -> None:
        for line in self._commands:
            command = json.loads(line)
            if "start_ns" in command:
                self.start_ns = command["start_ns"]
                self._start.set()
        self._gone()

    def tell(self, event: str, **content: Any) -> None:
        with self._lock:
            self._events.write(json.dumps({"event": event, **content}, allow_nan=False) + "\n")
            self._events.flush()

    def begin(self, stages: tuple[str, ...]) -> Timeline:
        self.tell("ready")
        self._start.wait()
        # The collector's pauses would be in the times; nothing here makes cycles.
        gc.collect()
        gc.freeze()
        sleep(max(0.0, (self.start_ns - monotonic_ns()) / 1e9))
        return Timeline(self.job.window, stages, self.progress)

    def progress(self, progress: Progress) -> None:
        self.tell("progress", **progress.model_dump())


def main() -> None:
    """Measure the job that comes on standard input."""
    events = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not get between the events
    parent = _Parent(sys.stdin, events)
    try:
        with Monitor() as monitor:
            outcome = WORKS[parent.job.work](parent.job, parent.begin)
        outcome = outcome.model_copy(update={"series": outcome.series | monitor.series(parent.start_ns / 1e9)})
    except (InferkitError, OSError, MemoryError) as error:
        parent.tell("failure", error=type(error).__name__, message=str(error), detail=traceback.format_exc())
    else:
        parent.tell("result", outcome=outcome.model_dump(mode="json"))


if __name__ == "__main__":
    main()
