"""What a Run is made of: figures and their errors, windows, stages' times, and series over time."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

OUTPUTS = "outputs: "
"""Begins a warning that a network or engine may not compute what it should."""

FOREIGN_CPU = "foreign_cpu"
"""The series of what other programs had of a rank's CPUs, as a share of all the machine's: those of ranks add up."""
Scalar = str | int | float | bool
Json = Any


class Record(BaseModel):
    """Base of everything inside a Run: immutable, no unknown fields, no NaN and no infinity."""

    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True)


class Figure(Record):
    """A throughput: images and bytes per second, the mean over the measured windows, and its error.

    Parameters
    ----------
    half_width
        Half the width of the 95 % interval ÷ the mean; None where there are too few data.
    block_s
        Length of the blocks whose means gave it: such that neighbours do not correlate, or a whole window's.
    cov
        Of records of schema 1: the coefficient of variation of their windows (standard deviation ÷ mean).
    """

    images_per_s: float | None = Field(default=None, ge=0)
    bytes_per_s: float | None = Field(default=None, ge=0)
    half_width: float | None = Field(default=None, ge=0)
    block_s: float | None = None
    cov: float | None = None


class Repeat(Record):
    """One window: what was completed between two completions, the warm-up included and flagged.

    Parameters
    ----------
    start_s, seconds
        Start (since the first batch was asked for) and length of the window.
    images, nbytes, batches
        What was completed in it.
    cpu_s
        CPU time that the measuring process used in it.
    """

    start_s: float
    seconds: float = Field(gt=0)
    images: int
    nbytes: int
    batches: int
    warmup: bool = False
    cpu_s: float | None = None

    @property
    def images_per_s(self) -> float:
        """Images per second of this window."""
        return self.images / self.seconds

    @property
    def bytes_per_s(self) -> float:
        """Bytes per second of this window."""
        return self.nbytes / self.seconds


class Quantiles(Record):
    """Quantiles of the time that a stage took for one batch, in seconds."""

    p50_s: float
    p90_s: float
    p95_s: float
    p99_s: float
    p999_s: float
    max_s: float


class Histogram(Record):
    """Counts of batches between ``edges_s`` (seconds, logarithmic; one more edge than counts)."""

    edges_s: list[float]
    counts: list[int]


class Stage(Record):
    """What one stage did in the measured windows of a run.

    Parameters
    ----------
    images_per_s, bytes_per_s
        Its speed while at work: images (bytes) ÷ busy time, with all its workers at work.
    busy
        Share of the window in which it was at work, averaged over its workers, and for ``infer`` over the devices: a
        device is at work while it infers one batch or more (0 … 1).
    workers
        Threads or streams that do this stage's work side by side.
    quantiles, histogram
        Time per batch.
    """

    images_per_s: float | None = None
    bytes_per_s: float | None = None
    busy: float | None = None
    workers: int = 1
    quantiles: Quantiles | None = None
    histogram: Histogram | None = None


class Series(Record):
    """A quantity over time in equal bins: ``values[i]`` covers ``start_s + i * step_s``; None: unknown."""

    unit: str
    start_s: float = 0.0
    step_s: float = Field(default=1.0, gt=0)
    values: list[float | None]

    def thinned(self, most: int) -> "Series":
        """Return the series with neighbouring bins averaged until there are at most so many; unknown ones are none."""
        step = -(-len(self.values) // most)
        if step <= 1:
            return self
        groups = [self.values[i : i + step] for i in range(0, len(self.values), step)]
        return self.model_copy(update={"step_s": self.step_s * step, "values": [mean_of(group) for group in groups]})


def mean_of(values: list[float | None]) -> float | None:
    """Return the mean of what is known; None where nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def several(values: list[float | None]) -> bool:
    """Tell whether more than one value is known: one alone makes no line."""
    return sum(value is not None for value in values) > 1


def figure_of(repeats: list[Repeat]) -> Figure | None:
    """Summarise windows: images and bytes ÷ seconds of the measured ones; None where there is none."""
    kept = [repeat for repeat in repeats if not repeat.warmup]
    if not kept:
        return None
    seconds = sum(repeat.seconds for repeat in kept)
    images, nbytes = sum(repeat.images for repeat in kept), sum(repeat.nbytes for repeat in kept)
    return Figure(images_per_s=images / seconds or None, bytes_per_s=nbytes / seconds or None)
