"""What a rank is told to do and what it answers; both travel as JSON."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from inferkit.params import Windows
from inferkit.run import Json, Record, Repeat, Series, Stage


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
    model
        An ONNX file that takes the data set's dtype and shape.
    batch_log
        Folder for a parquet file with every batch's times; empty: none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    work: Literal["read", "copy", "infer", "pipeline"]
    window: Window
    device: str = "cpu"
    gpu: int = 0
    folder: str = ""
    dtype: str = ""
    shape: tuple[int, ...] = ()
    reader: str = "memory"
    threads: int = 1
    batch_size: int = 1
    split: str = "uniform"
    evict: bool = False
    host_batches: int = 0
    verify_batches: int = 0
    seed: int = 0
    engine: str = "null"
    model: str = ""
    engine_threads: int = 0
    slots: int = 3
    overlap: bool = True
    transfer_bytes: int = 0
    batch_log: str = ""
    memory: str = ""


class Progress(BaseModel):
    """How far a rank is."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    fraction: float
    images_per_s: float
    bytes_per_s: float


class Outcome(Record):
    """What a rank measured: the raw part of a Run."""

    repeats: list[Repeat]
    stages: dict[str, Stage]
    series: dict[str, Series] = Field(default_factory=dict)
    facts: dict[str, Json] = Field(default_factory=dict)
    warnings: list[str] = Field(default_factory=list)
    unverified: list[str] = Field(default_factory=list)
