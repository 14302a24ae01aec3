"""When each batch was read, copied, inferred and done; and the windows cut out of that."""

import threading
from array import array
from collections.abc import Callable, Iterable
from time import monotonic_ns, process_time

import numpy as np
from numpy.typing import NDArray

from inferkit.pipeline.steadiness import LEAST_DRIFT, drifted, figure_with_error
from inferkit.records.figures import Figure, Histogram, Quantiles, Repeat, Series, Stage
from inferkit.records.job import Latest, RankProgress, Window
from inferkit.stats import bin_length, binned_rate, drift, histogram, quantiles, rates_of

PROGRESS_NS = 200_000_000
PAUSES = 10.0
"""A pause so many times longer than usual is none of the batches' own: of completions that come at random, as from a
queue, gaps over 10 × the median hold 0.8 % of the time, gaps over 3 × it 38 %."""
PAUSE_S = 0.025
"""Nor is a pause shorter than this anybody's stop: Linux lets a thread wait so long when several want its CPU."""
LEAST_WINDOW_S = 1.0
"""Of a shorter window the share that a pause has says little: it counts as if the window were so long."""
SAMPLE = 20
"""Batches whose times are kept one by one: enough to see whether stages overlap."""
MOST_WARMUP = 4
"""A warm-up ends when the rate has stopped drifting, but after so many times its length at the latest."""


class Timeline:
    """Every batch's times, and the windows between completions.

    A window begins and ends with a completion, so that its rate holds whole batches and whole time.

    Parameters
    ----------
    window
        How long to measure.
    stages
        Names of the stages whose start and end are noted.
    report
        Is told five times a second how far it is.
    """

    def __init__(self, window: Window, stages: tuple[str, ...], report: Callable[[RankProgress], None]) -> None:
        self.window = window
        self.stages = stages
        self.start_ns = monotonic_ns()
        self.repeats: list[Repeat] = []
        self._report = report
        self._lock = threading.Lock()
        self._reported_ns, self._reported_batches = self.start_ns, 0
        self._times = {name: (array("q"), array("q")) for name in stages}
        self._done = array("q")
        self._images = array("q")
        self._nbytes = array("q")
        self._open(self.start_ns)

    def add(self, images: int, nbytes: int, *times: int) -> bool:
        """Note a completed batch; several loops may share a timeline.

        Parameters
        ----------
        images, nbytes
            The batch.
        *times
            Start and end of each stage, in nanoseconds, in the order of ``stages``.

        Returns
        -------
        finished
            True once the last window has ended.
        """
        with self._lock:
            return self._add(images, nbytes, times)

    def _add(self, images: int, nbytes: int, times: tuple[int, ...]) -> bool:
        now = monotonic_ns()
        for index, (starts, ends) in enumerate(self._times.values()):
            starts.append(times[2 * index])
            ends.append(times[2 * index + 1])
        self._done.append(now)
        self._images.append(images)
        self._nbytes.append(nbytes)
        self._window_images += images
        self._window_nbytes += nbytes
        # Bare copies complete no images, and the warm-up needs none.
        enough = not images or not self.repeats or self._window_images >= self.window.images
        if enough and now >= self._end_ns and not self._still_warming(now):
            self._close(now)
        if now - self._reported_ns > PROGRESS_NS:
            self._tell(now)
        return len(self.repeats) > self.window.repeats

    def _still_warming(self, now: int) -> bool:
        """Prolong the warm-up by half its length while the rate drifts in the second half of what passed of it."""
        least_ns = int(self.window.warmup_s * 1e9)
        if self.repeats or not self.window.target or now - self.start_ns >= MOST_WARMUP * least_ns:
            return False
        middle = int(np.searchsorted(np.frombuffer(self._done, np.int64), (self.start_ns + now) // 2))
        if abs(drift(self._rates(middle))) <= LEAST_DRIFT:
            return False
        self._end_ns = now + least_ns // 2
        return True

    def _rates(self, first: int, last: int | None = None) -> NDArray[np.float64]:
        """Return the course of the batches from one to another: images per second, bytes where there are no images."""
        amounts = np.frombuffer(self._images, np.int64)[first:last]
        if not amounts.any():
            amounts = np.frombuffer(self._nbytes, np.int64)[first:last]
        times = np.frombuffer(self._done, np.int64)[max(0, first - 1) : last]
        if not first:
            times = np.concatenate([[self.start_ns], times])
        return rates_of(times, amounts) * 1e9

    def _measured_rates(self) -> NDArray[np.float64]:
        first = self.repeats[0].batches  # of the warm-up
        return self._rates(first, first + sum(repeat.batches for repeat in self.repeats[1:]))

    def figure(self) -> Figure | None:
        """Return the mean over the measured windows with its error; None while there is no such window."""
        return figure_with_error(self._measured_rates(), self.repeats) if self.repeats[1:] else None

    def warnings(self) -> list[str]:
        """Return what is to be said of the course of the measured windows."""
        return list(drifted(self._measured_rates())) if self.repeats[1:] else []

    def _extended(self) -> Window:
        """Return the windows as they are, or with one more because the figure is not steady yet."""
        figure = self.figure()
        more = self.window.wants_another(figure.half_width if figure else None)
        return self.window.changed(repeats=self.window.repeats + 1) if more else self.window

    def _open(self, now: int) -> None:
        seconds = self.window.duration_s if self.repeats else self.window.warmup_s
        self._opened_ns, self._end_ns = now, now + int(seconds * 1e9)
        self._first_batch = len(self._done)
        self._window_images = self._window_nbytes = 0
        self._cpu_s = process_time()

    def _close(self, now: int) -> None:
        self.repeats.append(
            Repeat(
                start_s=(self._opened_ns - self.start_ns) / 1e9,
                seconds=max(now - self._opened_ns, 1) / 1e9,
                images=self._window_images,
                nbytes=self._window_nbytes,
                batches=len(self._done) - self._first_batch,
                warmup=not self.repeats,
                cpu_s=process_time() - self._cpu_s,
            )
        )
        if self.window.target and len(self.repeats) == self.window.repeats + 1:
            self.window = self._extended()
        self._open(now)

    def _tell(self, now: int) -> None:
        seconds = max(now - self._opened_ns, 1) / 1e9
        self._report(
            RankProgress(
                fraction=min(1.0, (now - self.start_ns) / 1e9 / max(self.window.seconds, 1e-9)),
                images_per_s=self._window_images / seconds,
                bytes_per_s=self._window_nbytes / seconds,
                latest=self._latest(now),
            )
        )
        self._reported_ns, self._reported_batches = now, len(self._done)

    def _latest(self, now: int) -> Latest:
        """Return the rates between the completions that were told of, and where the batches spent their time."""
        new, elapsed_ns = slice(self._reported_batches, None), now - self._reported_ns
        rates = {
            name: float(np.frombuffer(column, np.int64)[new].sum()) * 1e9 / elapsed_ns
            for name, column in (("images_per_s", self._images), ("bytes_per_s", self._nbytes))
        }
        spent = {name: ns / elapsed_ns for name, ns in self._spent_ns(new).items()}
        return Latest(batches=spent, **rates)

    def _spent_ns(self, batches: slice) -> dict[str, int]:
        """Return how long batches were in each stage, and under ``wait`` in none; what has passed counts once.

        An engine that infers nothing has the spans of the copy: its stages begin when that ends.
        """
        spent: dict[str, int] = {}
        passed = began = None
        for name, (starts, ends) in self._times.items():
            start, end = (np.frombuffer(times, np.int64)[batches] for times in (starts, ends))
            passed, began = (start, start) if passed is None else (passed, began)
            spent[name] = int(np.maximum(0, end - np.maximum(start, passed)).sum())
            passed = np.maximum(passed, end)
        if began is not None:
            there = int((np.frombuffer(self._done, np.int64)[batches] - began).sum())
            spent["wait"] = max(0, there - sum(spent.values()))
        return spent

    def summarise(self, workers: dict[str, int]) -> dict[str, Stage]:
        """Return what each stage did in the measured windows.

        Parameters
        ----------
        workers
            The stages to summarise, and the threads or streams of each.
        """
        kept = [repeat for repeat in self.repeats if not repeat.warmup]
        if not kept:
            return {}
        images, nbytes = sum(repeat.images for repeat in kept), sum(repeat.nbytes for repeat in kept)
        seconds = sum(repeat.seconds for repeat in kept)
        first = self.repeats[0].batches  # of the warm-up
        inside = slice(first, first + sum(repeat.batches for repeat in kept))
        stages = {}
        for name, count in workers.items():
            carried = 0 if name == "out" else nbytes  # a batch's bytes are its images', not its results'
            stages[name] = _stage(self._seconds(name)[inside], images, carried, seconds, count)
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
        first, count = self.repeats[0].batches, sum(repeat.batches for repeat in self.repeats[1:])
        begin = first + max(0, count - SAMPLE) // 2
        kept = slice(begin, begin + min(SAMPLE, count))
        spans = {name: [np.frombuffer(times, np.int64)[kept] // 1000 for times in self._times[name]] for name in stages}
        zero = min((int(starts.min()) for starts, _ in spans.values() if len(starts)), default=0)
        return {
            name: " ".join(f"{start - zero}+{end - start}" for start, end in zip(starts, ends, strict=True))
            for name, (starts, ends) in spans.items()
        }

    def _seconds(self, name: str) -> NDArray[np.float64]:
        starts, ends = (np.frombuffer(times, np.int64) for times in self._times[name])
        return (ends - starts) / 1e9

    def columns(self) -> dict[str, NDArray[np.float64] | NDArray[np.int64]]:
        """Return every batch: its window (0 is the warm-up), images, bytes, each stage's seconds since the start."""
        windows = np.repeat(np.arange(len(self.repeats)), [repeat.batches for repeat in self.repeats])
        rest = np.full(len(self._done) - len(windows), len(self.repeats))
        columns: dict[str, NDArray[np.float64] | NDArray[np.int64]] = {
            "window": np.concatenate([windows, rest]),
            "images": np.array(self._images),
            "nbytes": np.array(self._nbytes),
            "done_s": self._since_start(self._done),
        }
        for name, (starts, ends) in self._times.items():
            columns |= {f"{name}_start_s": self._since_start(starts), f"{name}_end_s": self._since_start(ends)}
        return columns

    def _since_start(self, times: "array[int]") -> NDArray[np.float64]:
        return (np.frombuffer(times, np.int64) - self.start_ns) / 1e9

    def pauses(self, lanes: int) -> dict[str, float]:
        """Tell for how long nothing was completed in the measured windows though it was due.

        Parameters
        ----------
        lanes
            Batches that may be completed at one instant, since so many are worked on side by side.

        Returns
        -------
        dict
            ``usual_s``, the median time in which ``lanes`` batches are completed; ``longest_s``, the longest time
            without a completion; ``stood_s``, the sum of the pauses that are none of the batches' own; and ``stood``,
            their share of the window that has most of them.
        """
        kept = [repeat for repeat in self.repeats if not repeat.warmup]
        first, batches = self.repeats[0].batches, [repeat.batches for repeat in kept]
        done = self._since_start(self._done)[first - 1 : first + sum(batches)]  # from the warm-up's last one
        gaps = np.diff(done)
        usual_s = float(np.median(done[lanes:] - done[:-lanes])) if len(done) > lanes else float(gaps.sum())
        stood = np.where(gaps > max(PAUSE_S, PAUSES * usual_s), gaps, 0.0)
        of_windows = np.add.reduceat(stood, np.cumsum([0, *batches[:-1]]))
        seconds = np.maximum(LEAST_WINDOW_S, [repeat.seconds for repeat in kept])
        longest_s, stood_s = float(gaps.max()), float(stood.sum())
        most = float((of_windows / seconds).max())
        return {"usual_s": usual_s, "longest_s": longest_s, "stood_s": stood_s, "stood": most}

    def series(self) -> dict[str, Series]:
        """Return throughput over time, the warm-up included, in bins of a second or of a batch that takes longer.

        Images per second; bytes where there are no images.
        """
        times = self._since_start(self._done)
        step_s = bin_length(np.diff(times, prepend=0.0))
        columns = {"images_per_s": ("images/s", self._images), "bytes_per_s": ("bytes/s", self._nbytes)}
        name = "images_per_s" if np.frombuffer(self._images, np.int64).any() else "bytes_per_s"
        unit, column = columns[name]
        amounts = np.frombuffer(column, np.int64)
        return {name: Series(unit=unit, step_s=step_s, values=list(binned_rate(times, amounts, step_s=step_s)))}


def _stage(seconds: NDArray[np.float64], images: int, nbytes: int, window_s: float, workers: int) -> Stage:
    busy_s = float(seconds.sum()) / workers
    edges, counts = histogram(seconds)
    return Stage(
        images_per_s=images / busy_s if images and busy_s else None,
        bytes_per_s=nbytes / busy_s if nbytes and busy_s else None,
        busy=min(1.0, busy_s / window_s),
        workers=workers,
        quantiles=Quantiles(**quantiles(seconds)),
        histogram=Histogram(edges_s=edges, counts=counts),
    )
