"""What a rank tells while it works, and what it answers."""

from pydantic import Field

from inferkit.records.figures import Figure, Json, Record, Repeat, Series, Stage
from inferkit.records.part import Part


class Latest(Part):
    """What became of the batches that were completed since the last time it was told; all are whole.

    Parameters
    ----------
    images_per_s, bytes_per_s
        Completed a second.
    batches
        How many batches there were in each stage at a time, on average; under ``wait``, between stages: the queue.
        (The time that batches spend somewhere, divided by the time that passes: Little's law.)
    machine
        The last sample of each sensor, such as ``host_cpu`` or ``gpu0_busy`` (machine/monitor.py).
    """

    images_per_s: float = 0.0
    bytes_per_s: float = 0.0
    batches: dict[str, float] = Field(default_factory=dict)
    machine: dict[str, float] = Field(default_factory=dict)


class RankProgress(Part):
    """How far a rank is: what it reached in the window so far, and what it does at the moment."""

    fraction: float
    images_per_s: float
    bytes_per_s: float
    latest: Latest = Field(default_factory=Latest)


class ProgressTrace(Record):
    """How far a rank was at each instant. The rates of several ranks are added up from this.

    Parameters
    ----------
    start_ns, step_s
        The agreed start (``CLOCK_MONOTONIC``) and the time between values.
    images, nbytes, batches
        Completed at ``start_ns + k * step_s``; between two completions, the share of the batch that the time suggests.
    began_s, ended_s
        When its own clock started and when its last batch was completed, since the agreed start.
    """

    start_ns: int
    step_s: float
    images: list[float]
    nbytes: list[float]
    batches: list[float]
    began_s: float
    ended_s: float


class Outcome(Record):
    """What a rank measured, or several together: the raw part of a Run.

    Parameters
    ----------
    measured
        The throughput with its error: of one rank, or the sum of several; None where nothing was really read.
    reasons
        Why it is INVALID already.
    traces
        Of a rank that measures together with others, or of several.
    others
        What further processes measured of the same, one after another.
    """

    repeats: list[Repeat]
    stages: dict[str, Stage]
    series: dict[str, Series] = Field(default_factory=dict)
    facts: dict[str, Json] = Field(default_factory=dict)
    warnings: list[str] = Field(default_factory=list)
    unverified: list[str] = Field(default_factory=list)
    reasons: list[str] = Field(default_factory=list)
    measured: Figure | None = None
    traces: list[ProgressTrace] = Field(default_factory=list)
    others: list["Outcome"] = Field(default_factory=list)
