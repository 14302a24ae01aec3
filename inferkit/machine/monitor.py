"""What the host does during a run, sampled by a thread of its own."""

import threading
from collections.abc import Callable, Mapping
from time import monotonic
from types import TracebackType
from typing import Self

from inferkit.linux.procfs import cpu_ticks
from inferkit.records.figures import Series

PERIOD_S = 0.2
LATE_S = 0.025
"""A sample that comes later than this was held up with the whole process: Linux and Python's lock take a few ms."""


class HostCpu:
    """The busy share of all CPUs (0 … 1) since it was last asked for; None where no time has passed."""

    def __init__(self) -> None:
        self._last = (0, 0)

    def __call__(self) -> float | None:
        """Read the kernel's counters."""
        before, self._last = self._last, cpu_ticks().get("cpu", (0, 0))
        busy, ticks = (now - then for now, then in zip(self._last, before, strict=True))
        return busy / ticks if ticks > 0 else None


Sources = Mapping[str, tuple[str, Callable[[], float | None]]]
"""By name: a unit, and a function that takes a sample; it returns None if there is none."""

SOURCES: Sources = {"host_cpu": ("share", HostCpu())}


class Monitor:
    """Samples every source five times a second inside its ``with`` block; the record gets means over one second."""

    def __init__(self, sources: Sources | None = None) -> None:
        self._sources = SOURCES if sources is None else sources
        self.samples: dict[str, list[tuple[float, float]]] = {name: [] for name in self._sources}
        self.stops: list[tuple[float, float]] = []
        """When the process went on after it was held up, and for how many seconds it was at least."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="monitor", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        for _, sample in self._sources.values():
            sample()
        due = monotonic() + PERIOD_S
        while not self._stop.wait(PERIOD_S):
            if (late_s := monotonic() - due) > LATE_S:
                self.stops.append((due + late_s, late_s))
            for name, (_, sample) in self._sources.items():
                value = sample()
                if value is not None:
                    self.samples[name].append((monotonic(), value))
            due = monotonic() + PERIOD_S

    def latest(self) -> dict[str, float]:
        """Return the last sample of each source that has one."""
        return {name: samples[-1][1] for name, samples in self.samples.items() if samples}

    def stopped_s(self, start_s: float, end_s: float) -> float:
        """Return for how many seconds between two instants (``CLOCK_MONOTONIC``) the process was held up, at least."""
        return sum(late_s for at, late_s in self.stops if start_s <= at <= end_s)

    def series(self, start_s: float, end_s: float) -> dict[str, Series]:
        """Return the means over each second between two instants (``CLOCK_MONOTONIC``), without what lies outside.

        What comes after a run, such as closing files and comparing outputs, is not what the machine did under it.
        """
        since = {
            name: [(at - start_s, value) for at, value in samples if start_s <= at <= end_s]
            for name, samples in self.samples.items()
        }
        return {
            name: Series(unit=self._sources[name][0], values=_means(samples))
            for name, samples in since.items()
            if samples
        }


def _means(samples: list[tuple[float, float]]) -> list[float | None]:
    bins: list[list[float]] = [[] for _ in range(int(samples[-1][0]) + 1)]
    for at, value in samples:
        bins[int(at)].append(value)
    return [sum(values) / len(values) if values else None for values in bins]
