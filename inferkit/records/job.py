"""What a rank is told to do and what it answers; both travel as JSON."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from inferkit.records.params import Windows
from inferkit.records.place import Place
from inferkit.records.run import Figure, Json, Record, Repeat, Series, Stage


class Window(BaseModel):
    """How long to measure.

    Parameters
    ----------
    warmup_s
        Seconds before the first window.
    duration_s, images
        Each window lasts at least so many seconds and so many images.
    repeats
        Windows, one right after the other.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    warmup_s: float = 0.5
    duration_s: float = 1.0
    repeats: int = 3
    images: int = 0

    @property
    def seconds(self) -> float:
        """The least that warm-up and windows take together."""
        return self.warmup_s + self.duration_s * self.repeats


PROFILES: dict[str, Window] = {
    "demo": Window(warmup_s=0.5, duration_s=1.0, repeats=3),
    "quick": Window(warmup_s=5.0, duration_s=30.0, repeats=3),
    # MLPerf Inference rules, Offline scenario: at least 600 s and 24,576 samples.
    "mlperf": Window(warmup_s=10.0, duration_s=600.0, repeats=5, images=24_576),
}


def window_of(params: Windows) -> Window:
    """Return the profile's window with what the parameters set themselves."""
    profile = PROFILES[params.profile]
    return Window(
        warmup_s=params.warmup_s or profile.warmup_s,
        duration_s=params.duration_s or profile.duration_s,
        repeats=params.repeats or profile.repeats,
        images=profile.images,
    )


class Job(BaseModel):
    """One rank's work at one point.

    Parameters
    ----------
    work
        ``read`` (ring to nowhere), ``copy`` (a transfer of ``transfer_bytes``), ``infer`` (images that stay on the
        device) or ``pipeline`` (read, copy and infer).
    folder
        The data set; empty for images in memory of the given dtype and shape.
    resize, fast
        How a reader that decodes does it.
    model
        An ONNX file that takes the data set's dtype and shape.
    gpus
        Several GPUs, all fed by this one process; empty: ``gpu`` alone.
    batch_log
        Folder for a parquet file with every batch's times; empty: none.
    place
        Of a rank that measures together with others: it keeps its load up until it is told to stop.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    work: Literal["read", "copy", "infer", "pipeline"]
    window: Window
    device: str = "cpu"
    gpu: int = 0
    gpus: tuple[int, ...] = ()
    folder: str = ""
    dtype: str = ""
    shape: tuple[int, ...] = ()
    reader: str = "memory"
    threads: int = 1
    batch_size: int = 1
    split: str = "uniform"
    evict: bool = False
    resize: str = "stretch"
    fast: bool = False
    host_batches: int = 0
    verify_batches: int = 0
    seed: int = 0
    engine: str = "null"
    model: str = ""
    engine_threads: int = 0
    contexts: int = 1
    cuda_graph: bool = False
    layer_profile: bool = False
    slots: int = 3
    overlap: bool = True
    transfer_bytes: int = 0
    batch_log: str = ""
    place: Place | None = None

    @property
    def devices(self) -> tuple[int, ...]:
        """The devices' numbers."""
        return self.gpus or (self.gpu,)

    memory: str = ""
    direction: str = "in"


class Progress(BaseModel):
    """How far a rank is."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    fraction: float
    images_per_s: float
    bytes_per_s: float


class ProgressTrace(Record):
    """How far a rank was at each instant, by which the rates of several ranks are added up.

    Parameters
    ----------
    start_ns, step_s
        The agreed start (``CLOCK_MONOTONIC``) and the time between values.
    images, nbytes, batches
        Completed at ``start_ns + k * step_s``; between two completions, the share of the batch that the time suggests.
    began_s, ended_s
        When its own clock started and when its last batch was completed, since the agreed start.
    longest_gap_s
        Longest time between two completions inside the agreed window.
    """

    start_ns: int
    step_s: float
    images: list[float]
    nbytes: list[float]
    batches: list[float]
    began_s: float
    ended_s: float
    longest_gap_s: float


class Outcome(Record):
    """What a rank measured, or several together: the raw part of a Run.

    Parameters
    ----------
    measured
        The throughput where it is more than the median of the repeats: the sum of several ranks.
    reasons
        Why it is INVALID already.
    course
        Of a rank that measures together with others.
    """

    repeats: list[Repeat]
    stages: dict[str, Stage]
    series: dict[str, Series] = Field(default_factory=dict)
    facts: dict[str, Json] = Field(default_factory=dict)
    warnings: list[str] = Field(default_factory=list)
    unverified: list[str] = Field(default_factory=list)
    reasons: list[str] = Field(default_factory=list)
    measured: Figure | None = None
    course: ProgressTrace | None = None
