"""What a rank is told to measure."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from inferkit.objects.place import Folder, Store, is_url, object_path
from inferkit.records.part import Part
from inferkit.records.place import Place
from inferkit.records.windows import Window


class Images(Part):
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
    skip
        Images of each thread's share that processes before this one have read: it begins behind them.
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
    skip: int = 0

    @property
    def place(self) -> Folder:
        """Where it is read."""
        return object_path(self.folder, self.store) if is_url(self.folder) else Path(self.folder)


class DeviceOptions(Part):
    """Which devices one process uses: their kind (``cpu`` or ``cuda``), and their numbers as it counts them."""

    kind: str = "cpu"
    numbers: tuple[int, ...] = (0,)


class InferOptions(Part):
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


class _Job(Part):
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
