"""A rank: a process that measures one job and tells its parent, in JSON lines, how it goes.

In: the job, then ``{"start_ns": …, "beside": […]}`` (the agreed instant on ``CLOCK_MONOTONIC``, and the processes of
the ranks that measure together). To one of several ranks, which keep their load up until the end:
``{"finish": true}``. When the pipe closes, the parent is gone or wants no more, and the rank ends at once.
``{"where": true}`` asks a rank that does not go on for the paths that its threads are at
(``{"event": "at", "paths": […]}``).
Out: ``{"event": "ready"}``, ``{"event": "progress", …}`` …, ``{"event": "passed"}`` (the agreed end, by one of
several), then ``result`` or ``failure``.
"""

import gc
import json
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable
from time import monotonic_ns, sleep
from typing import Any, TextIO

from inferkit.errors import InferkitError
from inferkit.linux.limits import end_first_without_memory, raise_open_files
from inferkit.linux.parent import end_with_parent
from inferkit.machine.affinity import whereabouts
from inferkit.machine.cpu_monitor import CpuMonitor
from inferkit.machine.gpu_monitor import GpuMonitor
from inferkit.machine.monitor import SOURCES, Monitor
from inferkit.machine.watched import nearest_path
from inferkit.os_errors import system_refusal
from inferkit.pipeline.timeline import Timeline
from inferkit.pipeline.workloads import WORKLOADS
from inferkit.ranks.group_timeline import GroupTimeline
from inferkit.records.job import JOB, device_of
from inferkit.records.outcome import Outcome, RankProgress

SHOWN_UNITS = {"share", "W", "Hz", "°C", "bytes/s"}
"""Units of the samples that become series; counters and bits are summarised."""


NOTE_NS = 200_000_000


class _Parent:
    """The two pipes to the parent."""

    def __init__(self, commands: TextIO, events: TextIO) -> None:
        self._commands = commands
        self._events = events
        self._lock = threading.Lock()
        self._start = threading.Event()
        self._finish = threading.Event()
        self.timeline: GroupTimeline | None = None
        self.found: dict[str, Any] = {}
        self.samples: Callable[[], dict[str, float]] = dict
        self.start_ns = 0
        self.beside: list[int] = []
        self._noted_ns = 0
        self.job = JOB.validate_json(self._commands.readline() or self._gone())
        threading.Thread(target=self._listen, name="commands", daemon=True).start()

    def _gone(self) -> str:
        os._exit(1)

    def _listen(self) -> None:
        for line in self._commands:
            command = json.loads(line)
            if "start_ns" in command:
                self.start_ns, self.beside = command["start_ns"], command["beside"]
                self._start.set()
            if "finish" in command:
                self._finish.set()
            if "where" in command:
                self.tell("at", paths=[nearest_path(frame) for frame in sys._current_frames().values()])
        self._gone()

    def tell(self, event: str, **content: Any) -> None:
        with self._lock:
            self._events.write(json.dumps({"event": event, **content}, allow_nan=False) + "\n")
            self._events.flush()

    def note(self, record: logging.LogRecord) -> bool:
        """Tell what is being prepared (a filter of logging's); only every fifth of a second, or a build would flood."""
        if monotonic_ns() - self._noted_ns > NOTE_NS:
            self._noted_ns = monotonic_ns()
            self.tell("note", text=record.getMessage())
        return False

    def begin(self, stages: tuple[str, ...], count: Callable[[list[int]], None]) -> Timeline:
        if self.job.place is not None:
            self.found = whereabouts(self.job.place)  # now that all memory is there
        # The collector's pauses would be in the times; nothing here makes cycles.
        gc.collect()
        gc.freeze()
        self.tell("ready")
        self._start.wait()
        count(self.beside)
        sleep(max(0.0, (self.start_ns - monotonic_ns()) / 1e9))
        if self.job.place is None:
            return Timeline(self.job.window, stages, self.progress)
        self.timeline = GroupTimeline(self.job.window, stages, self.progress, self.start_ns, self.passed, self._finish)
        return self.timeline

    def passed(self) -> None:
        self.tell("passed")

    def progress(self, progress: RankProgress) -> None:
        latest = progress.latest.changed(machine=self.samples())
        self.tell("progress", **progress.changed(latest=latest).model_dump())


def main() -> None:
    """Measure the job that comes on standard input."""
    end_with_parent()
    end_first_without_memory()
    raise_open_files()
    events = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not get between the events
    parent = _Parent(sys.stdin, events)
    job = parent.job
    progress = logging.getLogger("inferkit.progress")
    progress.setLevel(logging.INFO)
    progress.addFilter(parent.note)
    device = device_of(job)
    cpus, watch = CpuMonitor(), None
    if device is not None and device.kind == "cuda":
        watch = GpuMonitor(job.place.gpus if job.place else device.numbers)
    try:
        with Monitor({**SOURCES, "cpus": ("", cpus.sample), **(watch.sources() if watch else {})}) as monitor:
            parent.samples = monitor.latest
            outcome = WORKLOADS[job.work](job, lambda stages: _looked_at(cpus, watch, parent, stages))
        outcome = _with_samples(outcome, parent.start_ns / 1e9, monitor, cpus, watch)
        if parent.timeline is not None:
            facts = outcome.facts | {"whereabouts": parent.found}
            outcome = outcome.model_copy(update={"traces": [parent.timeline.trace()], "facts": facts})
    except (InferkitError, OSError, MemoryError, RuntimeError) as error:
        first = first_of(error)
        message = system_refusal(first) or str(first)
        parent.tell("failure", error=type(first).__name__, message=message, detail=traceback.format_exc())
    else:
        parent.tell("result", outcome=outcome.model_dump(mode="json"))
    finally:
        if watch is not None:
            watch.close()


def _looked_at(cpus: CpuMonitor, watch: GpuMonitor | None, parent: _Parent, stages: tuple[str, ...]) -> Timeline:
    """Begin, once everything is prepared and it was seen who else is there."""
    cpus.look()
    if watch is not None:
        watch.look()
    return parent.begin(stages, cpus.begin)


def first_of(error: BaseException) -> BaseException:
    """Return what failed first: after it, closing what was open may have failed as well."""
    while isinstance(before := (error.__cause__ or error).__context__, InferkitError):
        error = before
    return error


def _with_samples(
    outcome: Outcome, start_s: float, monitor: Monitor, cpus: CpuMonitor, watch: GpuMonitor | None
) -> Outcome:
    """Add what was sampled: series until the last window ends, and what CPUs and GPUs did in the measured windows."""
    windows = [repeat for repeat in outcome.repeats if not repeat.warmup]
    span = start_s + windows[0].start_s, start_s + windows[-1].start_s + windows[-1].seconds
    series = {name: own for name, own in monitor.series(start_s, span[1]).items() if own.unit in SHOWN_UNITS}
    shares = cpus.facts(*span)
    series |= cpus.series(start_s, span[1], shares["kernel"])
    facts = outcome.facts | {"cpus": shares | {"stopped_s": monitor.stopped_s(*span)}}
    if watch is not None:
        facts["gpus"] = watch.facts(monitor.samples, *span)
    return outcome.model_copy(update={"series": outcome.series | series, "facts": facts})


if __name__ == "__main__":
    main()
