"""What a rank is told, what it tells while it works, and what it answers."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from inferkit.objects.place import Folder, Store, is_url, object_path
from inferkit.records.figures import Figure, Json, Record, Repeat, Series, Stage
from inferkit.records.place import Place

if TYPE_CHECKING:  # no rank needs the models of parameters: a twentieth of its start
    from inferkit.records.params import Windows


class _Part(BaseModel):
    """Base of a job and of its parts: immutable, no unknown fields."""

    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True)

    def changed(self, **values: Any) -> Self:
        """Return a copy in which some fields have other values."""
        return self.model_copy(update=values)


class Window(_Part):
    """How long to measure.

    Parameters
    ----------
    warmup_s
        Seconds before the first window.
    duration_s, images
        Each window lasts at least so many seconds and so many images.
    repeats
        Windows, at the least: each in a process of its own, but those of bare copies, which follow one another in one.
    target
        Half-width of the 95 % interval ÷ the mean at which a figure is steady: processes are added until then, and in
        each the warm-up is prolonged until the rate no longer drifts. 0: neither.
    longest_s
        All processes together, their starts included, take no longer than this because of ``target``.
    """

    warmup_s: float = 0.5
    duration_s: float = 1.0
    repeats: int = 3
    images: int = 0
    target: float = 0.0
    longest_s: float = 0.0

    def wants_another(self, half_width: float | None, needed_s: float) -> bool:
        """Tell whether one more process is needed, and allowed where all with it need so much time."""
        unsteady = half_width is None or half_width > self.target
        return self.target > 0 and unsteady and needed_s <= self.longest_s

    @property
    def seconds(self) -> float:
        """The least that warm-up and windows take together."""
        return self.warmup_s + self.duration_s * self.repeats


PROFILES: dict[str, Window] = {
    "demo": Window(warmup_s=0.5, duration_s=1.0, repeats=3, target=0.1, longest_s=15.0),
    "quick": Window(warmup_s=5.0, duration_s=30.0, repeats=3, target=0.025, longest_s=600.0),
    # MLPerf Inference rules, Offline scenario: at least 600 s and 24,576 samples.
    "mlperf": Window(warmup_s=10.0, duration_s=600.0, repeats=5, images=24_576, target=0.01, longest_s=7200.0),
}


def window_of(params: "Windows") -> Window:
    """Return the profile's window with what the parameters set themselves; the longest time grows with the windows."""
    profile = PROFILES[params.profile]
    duration_s, repeats = params.duration_s or profile.duration_s, params.repeats or profile.repeats
    share = duration_s * repeats / (profile.duration_s * profile.repeats)
    return profile.changed(
        warmup_s=params.warmup_s or profile.warmup_s,
        duration_s=duration_s,
        repeats=repeats,
        longest_s=profile.longest_s * share,
    )


class Images(_Part):
    """What a batch holds: images of one dtype and shape."""

    dtype: str = ""
    shape: tuple[int, ...] = ()
    batch_size: int = 1


class ReadOptions(Images):
    """What to read, and how.

    Parameters
    ----------
    reader
        Its name in ``READERS``.
    folder
        The data set, or the JPEG files; empty for a reader whose images lie in memory.
    store
        Whose objects they are, where the folder is ``s3://bucket/prefix``.
    threads
        Reader threads of the process.
    split
        ``uniform`` or ``all``, see :func:`inferkit.readers.split.split`.
    evict
        Drop the pages of what was read from the page cache.
    cold
        Drop the files' pages from it before the clock starts, since another process found them so.
    resize, fast
        How a reader that decodes does it.
    decoders
        Batches that a device decodes side by side, of a reader that leaves decoding to it.
    held
        Batches that are read before measuring and then delivered again and again; 0: reading goes on.
    host_batches
        Batch buffers in host memory; 0: enough for the threads and slots.
    verify_batches
        Batches whose images are hashed before measuring.
    seed
        Of the order in which files are read.
    """

    reader: str = "memory"
    folder: str = ""
    store: Store = Store()
    threads: int = 1
    split: str = "uniform"
    evict: bool = False
    cold: bool = False
    resize: str = "stretch"
    fast: bool = False
    decoders: int = 1
    held: int = 0
    host_batches: int = 0
    verify_batches: int = 0
    seed: int = 0

    @property
    def place(self) -> Folder:
        """Where it is read."""
        return object_path(self.folder, self.store) if is_url(self.folder) else Path(self.folder)


class DeviceOptions(_Part):
    """Which devices one process uses: their kind (``cpu`` or ``cuda``), and their numbers as it counts them."""

    kind: str = "cpu"
    numbers: tuple[int, ...] = (0,)


class InferOptions(_Part):
    """What infers, and how.

    Parameters
    ----------
    engine
        Its name in ``ENGINES``.
    model
        An ONNX file or a plan that takes the images as they are; empty where the engine infers nothing.
    threads
        CPU threads of the engine; 0: one per core.
    contexts
        Batches that a GPU infers side by side.
    slots
        Batches on the device at a time, per context.
    cuda_graph
        Launch each batch as one CUDA graph.
    layer_profile
        Time each layer of the network.
    """

    engine: str = "null"
    model: str = ""
    threads: int = 0
    contexts: int = 1
    slots: int = 3
    cuda_graph: bool = False
    layer_profile: bool = False


class _Job(_Part):
    """What every job has.

    Parameters
    ----------
    batch_log
        Folder for a parquet file with every batch's times; empty: none.
    place
        Of a rank that measures together with others: it keeps its load up until it is told to stop.
    """

    window: Window
    batch_log: str = ""
    place: Place | None = None


class ReadJob(_Job):
    """Read alone: batches go from the reader to nowhere.

    Parameters
    ----------
    device
        Whose memory is filled, of a reader that delivers there; None: host memory is.
    """

    work: Literal["read"] = "read"
    device: DeviceOptions | None = None
    reading: ReadOptions


class CopyJob(_Job):
    """Copy alone: one transfer of ``nbytes``, again and again.

    Parameters
    ----------
    host_memory
        Kind of memory on the host's side; empty: the device's usual kind.
    direction
        ``in``, ``out`` or ``both``.
    """

    work: Literal["copy"] = "copy"
    device: DeviceOptions
    nbytes: int
    host_memory: str = ""
    direction: str = "in"


class InferJob(_Job):
    """Infer alone: random images that stay on the device."""

    work: Literal["infer"] = "infer"
    device: DeviceOptions
    images: Images
    inference: InferOptions


class PipelineJob(_Job):
    """Read, copy and infer at the same time; ``overlap`` copies the next batch while one is inferred."""

    work: Literal["pipeline"] = "pipeline"
    device: DeviceOptions
    reading: ReadOptions
    inference: InferOptions = InferOptions()
    overlap: bool = True


Job = ReadJob | CopyJob | InferJob | PipelineJob
"""One rank's work at one point."""
JOB: TypeAdapter[Job] = TypeAdapter(Annotated[Job, Field(discriminator="work")])
"""Reads a job from JSON."""


def reading_of(job: Job) -> ReadOptions | None:
    """Return what a job reads; None where it reads nothing."""
    return job.reading if isinstance(job, ReadJob | PipelineJob) else None


def short(job: Job) -> Job:
    """Return a job that measures the same in a single window, with nothing verified or logged besides."""
    return unverified(job).changed(window=job.window.changed(repeats=1, target=0.0), batch_log="")


def unverified(job: Job) -> Job:
    """Return a job that measures the same, with no image looked at before."""
    reading = reading_of(job)
    return job if reading is None else job.changed(reading=reading.changed(verify_batches=0))


def device_of(job: Job) -> DeviceOptions | None:
    """Return the devices that a job uses; None where it only reads to host memory."""
    return job.device


class Latest(_Part):
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


class RankProgress(_Part):
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
