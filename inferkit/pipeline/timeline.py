"""When each batch was read, copied, inferred and done, summed up as it comes; and the windows cut out of that.

However long a run is, what it takes in memory stays the same: batches are held one by one until there are
:data:`MOST_HELD`, or until progress is told; then they go into histograms, a course and a sample.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from struct import Struct
from time import monotonic_ns, process_time

import numpy as np
from numpy.typing import NDArray

from inferkit.pipeline.at_work import AtWork
from inferkit.pipeline.batch_sample import BatchSample
from inferkit.pipeline.course import Course
from inferkit.pipeline.durations import Durations
from inferkit.pipeline.pauses import Pauses
from inferkit.pipeline.steadiness import LEAST_DRIFT, drifted, figure_with_error
from inferkit.records.figures import Figure, Repeat, Series, Stage
from inferkit.records.outcome import Latest, RankProgress
from inferkit.records.windows import Window
from inferkit.stats import Floats, drift

PROGRESS_NS = 200_000_000
MOST_WARMUP = 4
"""A warm-up ends when the rate has stopped drifting, but after so many times its length at the latest."""
MOST_HELD = 4096
"""Batches that are held one by one: so many that summing them up costs each next to nothing."""
UNDER_WAY = 4
"""At least so many batches may be completed at one instant: those in a device's slots, and copies that are queued."""
DONE, IMAGES, NBYTES, DEVICE, TIMES = range(5)
"""Columns of the batches that are held; from TIMES on, each stage's start and end."""

Log = Callable[[int, int, NDArray[np.int64]], None]
"""Takes the number of a window (0 is the warm-up), when the clock started, and batches of it, a row each."""


class Timeline:
    """What became of all batches, and the windows between completions.

    A window begins and ends with a completion, so that its rate holds whole batches and whole time.

    Parameters
    ----------
    window
        How long to measure.
    stages
        Names of the stages whose start and end are noted.
    report
        Is told five times a second how far it is.

    Attributes
    ----------
    lanes
        Batches that may be completed at one instant, since so many are worked on side by side; set before the first.
    log
        Is given every batch, if it is set before the first.
    """

    def __init__(self, window: Window, stages: tuple[str, ...], report: Callable[[RankProgress], None]) -> None:
        self.window = window
        self.stages = stages
        self.start_ns = self._zero_ns = monotonic_ns()
        self.repeats: list[Repeat] = []
        self.course = Course()
        self.lanes = UNDER_WAY
        self.log: Log | None = None
        self._report = report
        self._lock = threading.Lock()
        row = Struct(f"={TIMES + 2 * len(stages)}q")
        self._pack, self._row_bytes, self._held = row.pack_into, row.size, 0
        self._buffer = bytearray(MOST_HELD * row.size)
        self._rows = np.frombuffer(self._buffer, np.int64).reshape(MOST_HELD, -1)
        self._completed, self._last_ns = 0, self.start_ns
        self._gaps = Durations()
        self._measure(self.start_ns)
        self._untold: Counter[str] = Counter()
        self._reported_ns = self.start_ns
        self._open(self.start_ns)

    def _measure(self, now: int) -> None:
        """Begin with what leaves out the warm-up."""
        self._took = {name: Durations() for name in self.stages}
        self._took_inside = {name: Durations() for name in self.stages}
        self._inferring, self._inferred_s = AtWork(), 0.0
        self._pauses = Pauses(now, self.lanes)
        self._sample = BatchSample(self._rows.shape[1])

    def add(self, images: int, nbytes: int, *times: int, device: int = 0) -> bool:
        """Note a completed batch; several loops may share a timeline.

        Parameters
        ----------
        images, nbytes
            The batch.
        *times
            Start and end of each stage, in nanoseconds, in the order of ``stages``.
        device
            A number of the device that inferred it: no other device has the same.

        Returns
        -------
        finished
            True once the last window has ended.
        """
        with self._lock:
            return self._add(images, nbytes, device, times)

    def _add(self, images: int, nbytes: int, device: int, times: tuple[int, ...]) -> bool:
        now = monotonic_ns()
        self._pack(self._buffer, self._held * self._row_bytes, now, images, nbytes, device, *times)
        self._held += 1
        self._window_images += images
        self._window_nbytes += nbytes
        # Bare copies complete no images, and the warm-up needs none.
        enough = not images or not self.repeats or self._window_images >= self.window.images
        if enough and now >= self._end_ns and not self._still_warming(now):
            self._close(now)
        if now - self._reported_ns > PROGRESS_NS:
            self._tell(now)
        elif self._held == MOST_HELD:
            self._sum_up()
        return len(self.repeats) > self.window.repeats

    def sum_up(self) -> None:
        """Put the last batches, too, into what is told of the whole run; the loops have ended, or may be told of so."""
        with self._lock:
            self._sum_up()

    def _sum_up(self) -> None:
        """Put the batches that are held one by one into what does not grow."""
        if not self._held:
            return
        rows = self._rows[: self._held]
        self._held = 0
        done, images, nbytes = rows[:, DONE], rows[:, IMAGES], rows[:, NBYTES]
        self._completed += len(rows)
        self.course.add((done - self._zero_ns) / 1e9, images, nbytes)
        self._gaps.add(np.diff(done, prepend=self._last_ns))
        self._last_ns = int(done[-1])
        self._untold.update({"images": int(images.sum()), "nbytes": int(nbytes.sum()), **self._spent_ns(rows)})
        if self.repeats:
            for name, took in self._took.items():
                starts, ends = self._stage(rows, name)
                took.add(ends - starts)
            if "infer" in self.stages:
                self._inferring.add(rows[:, DEVICE], *self._stage(rows, "infer"))
            self._pauses.add(done)
            self._sample.add(rows)
        if self.log is not None:
            self.log(len(self.repeats), self.start_ns, rows)

    def _stage(self, rows: NDArray[np.int64], name: str) -> NDArray[np.int64]:
        """Return the starts and the ends of a stage."""
        column = TIMES + 2 * self.stages.index(name)
        return rows[:, column : column + 2].T

    def _since(self, now: int) -> float:
        """Return when something was on the course's clock, in seconds."""
        return (now - self._zero_ns) / 1e9

    def _still_warming(self, now: int) -> bool:
        """Prolong the warm-up by half its length while the rate drifts in the second half of what passed of it."""
        least_ns = int(self.window.warmup_s * 1e9)
        if self.repeats or not self.window.target or now - self.start_ns >= MOST_WARMUP * least_ns:
            return False
        self._sum_up()
        middle = (self.start_ns + now) // 2
        if abs(drift(self.course.rates(self._since(middle), self._since(now)))) <= LEAST_DRIFT:
            return False
        self._end_ns = now + least_ns // 2
        return True

    def _measured_rates(self) -> Floats:
        began_s = self._since(self.start_ns)
        first, last = self.repeats[1], self.repeats[-1]
        return self.course.rates(began_s + first.start_s, began_s + last.start_s + last.seconds)

    def figure(self) -> Figure | None:
        """Return the mean over the measured windows with its error; None while there is no such window."""
        return figure_with_error(self._measured_rates(), self.repeats) if self.repeats[1:] else None

    def warnings(self) -> list[str]:
        """Return what is to be said of the course of the measured windows."""
        return list(drifted(self._measured_rates())) if self.repeats[1:] else []

    def _open(self, now: int) -> None:
        seconds = self.window.duration_s if self.repeats else self.window.warmup_s
        self._opened_ns, self._end_ns = now, now + int(seconds * 1e9)
        self._first_batch = self._completed
        self._window_images = self._window_nbytes = 0
        self._cpu_s = process_time()

    def _close(self, now: int) -> None:
        self._sum_up()
        seconds = max(now - self._opened_ns, 1) / 1e9
        if self.repeats:
            for name, took in self._took.items():
                self._took_inside[name].take(took)
            self._inferred_s = self._inferring.mean_s
            self._pauses.close(seconds)
        else:
            self._measure(now)
        self.repeats.append(
            Repeat(
                start_s=(self._opened_ns - self.start_ns) / 1e9,
                seconds=seconds,
                images=self._window_images,
                nbytes=self._window_nbytes,
                batches=self._completed - self._first_batch,
                warmup=not self.repeats,
                cpu_s=process_time() - self._cpu_s,
            )
        )
        self._open(now)

    def _tell(self, now: int) -> None:
        self._sum_up()
        seconds = max(now - self._opened_ns, 1) / 1e9
        self._report(
            RankProgress(
                fraction=min(1.0, (now - self.start_ns) / 1e9 / max(self.window.seconds, 1e-9)),
                images_per_s=self._window_images / seconds,
                bytes_per_s=self._window_nbytes / seconds,
                latest=self._latest(now - self._reported_ns),
            )
        )
        self._reported_ns = now

    def _latest(self, elapsed_ns: int) -> Latest:
        """Return the rates between the completions that were told of, and where the batches spent their time."""
        images, nbytes = (self._untold.pop(name) * 1e9 / elapsed_ns for name in ("images", "nbytes"))
        spent = {name: ns / elapsed_ns for name, ns in self._untold.items()}
        self._untold.clear()
        return Latest(batches=spent, images_per_s=images, bytes_per_s=nbytes)

    def _spent_ns(self, rows: NDArray[np.int64]) -> dict[str, int]:
        """Return how long batches were in each stage, and under ``wait`` in none; what has passed counts once.

        An engine that infers nothing has the spans of the copy: its stages begin when that ends.
        """
        spent: dict[str, int] = {}
        passed = began = None
        for name in self.stages:
            start, end = self._stage(rows, name)
            passed, began = (start, start) if passed is None else (passed, began)
            spent[name] = int(np.maximum(0, end - np.maximum(start, passed)).sum())
            passed = np.maximum(passed, end)
        if began is not None:
            spent["wait"] = max(0, int((rows[:, DONE] - began).sum()) - sum(spent.values()))
        return spent

    def summarise(self, workers: Mapping[str, int]) -> dict[str, Stage]:
        """Return what each stage did in the measured windows.

        Parameters
        ----------
        workers
            The stages to summarise, and the threads or streams of each.
        """
        kept = self.repeats[1:]
        if not kept:
            return {}
        images, nbytes = sum(repeat.images for repeat in kept), sum(repeat.nbytes for repeat in kept)
        seconds = sum(repeat.seconds for repeat in kept)
        stages = {}
        for name, count in workers.items():
            carried = 0 if name == "out" else nbytes  # a batch's bytes are its images', not its results'
            took = self._took_inside[name]
            # One batch may fill a GPU: contexts are no workers that idle while another one works.
            busy_s = self._inferred_s if name == "infer" else took.seconds / count
            stages[name] = _stage(took, images, carried, seconds, count, busy_s)
        return stages

    def sample(self, stages: Iterable[str]) -> dict[str, str]:
        """Return when each stage had some tens of neighbouring batches, from the middle of the measured windows.

        Returns
        -------
        dict
            By stage, a batch's start and length as ``start+length`` in microseconds since the first of all starts,
            in the order in which the batches were completed: a text, since a notebook writes each number of a list on
            a line of its own.
        """
        rows = self._sample.middle(sum(repeat.batches for repeat in self.repeats[1:]))
        spans = {name: self._stage(rows, name) // 1000 for name in stages}
        zero = min((int(starts.min()) for starts, _ in spans.values()), default=0)
        return {
            name: " ".join(f"{start - zero}+{end - start}" for start, end in zip(starts, ends, strict=True))
            for name, (starts, ends) in spans.items()
        }

    def pauses(self) -> dict[str, float]:
        """Tell for how long nothing was completed in the measured windows though it was due: see :class:`Pauses`."""
        return self._pauses.facts()

    def series(self) -> dict[str, Series]:
        """Return throughput over time, the warm-up included, in bins of a second or of a batch that takes longer.

        Images per second; bytes where there are no images. A bin is no shorter than the gaps that fill half of the
        time, in whole seconds.
        """
        return self.course.series(float(max(1.0, np.ceil(self._gaps.usual_s()))))


def _stage(took: Durations, images: int, nbytes: int, window_s: float, workers: int, busy_s: float) -> Stage:
    return Stage(
        images_per_s=images / busy_s if images and busy_s else None,
        bytes_per_s=nbytes / busy_s if nbytes and busy_s else None,
        busy=min(1.0, busy_s / window_s),
        workers=workers,
        quantiles=took.quantiles(),
        histogram=took.histogram(),
    )
