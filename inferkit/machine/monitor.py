"""What the host does during a run, sampled by a thread of its own."""

import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from math import ceil
from time import monotonic
from types import TracebackType
from typing import Self

from inferkit.linux.procfs import cpu_ticks
from inferkit.machine.samples import Merge, Rows, Samples, either, highest, mean, total
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


MERGES: Mapping[str, Merge] = {"bits": either, "°C": highest, "lanes": highest, "": highest}
"""How samples of a unit merge; others by their mean."""


class Monitor:
    """Samples every source five times a second inside its ``with`` block; the record gets means over one second.

    Samples of a run of hours merge, so that they take no more memory than those of half an hour; the means are then
    over some seconds.
    """

    def __init__(self, sources: Sources | None = None) -> None:
        self._sources = SOURCES if sources is None else sources
        self.samples = {name: Samples(2, MERGES.get(unit, mean)) for name, (unit, _) in self._sources.items()}
        self.stops = Samples(2, total)
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
                self.stops.add(due + late_s, late_s)
            for name, (_, sample) in self._sources.items():
                value = sample()
                if value is not None:
                    self.samples[name].add(monotonic(), value)
            due = monotonic() + PERIOD_S

    def latest(self) -> dict[str, float]:
        """Return the last sample of each source that has one."""
        return {name: samples.last[1] for name, samples in self.samples.items() if samples.last}

    def stopped_s(self, start_s: float, end_s: float) -> float:
        """Return for how many seconds between two instants (``CLOCK_MONOTONIC``) the process was held up, at least."""
        return float(self.stops.between(start_s, end_s)[:, 1].sum())

    def series(self, start_s: float, end_s: float) -> dict[str, Series]:
        """Return the means over each second between two instants (``CLOCK_MONOTONIC``), without what lies outside.

        What comes after a run, such as closing files and comparing outputs, is not what the machine did under it.
        """
        found = {}
        for name, samples in self.samples.items():
            inside, step_s = samples.between(start_s, end_s), float(ceil(samples.each * PERIOD_S))
            if len(inside):
                values = _means((inside[:, 0] - start_s) / step_s, inside[:, 1])
                found[name] = Series(unit=self._sources[name][0], step_s=step_s, values=values)
        return found


def _means(at: Rows, samples: Rows) -> list[float | None]:
    bins: defaultdict[int, list[float]] = defaultdict(list)
    for number, value in zip(at.astype(int).tolist(), samples.tolist(), strict=True):
        bins[number].append(value)
    return [sum(bins[k]) / len(bins[k]) if bins[k] else None for k in range(max(bins) + 1)]
