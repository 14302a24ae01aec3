"""How images are read: the product of readers, threads and batch sizes, and the points that only read."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import NamedTuple

from inferkit.errors import ParameterError
from inferkit.linux.page_cache import resident_share
from inferkit.machine.direct_storage import why_no_direct_storage
from inferkit.machine.facts import facts
from inferkit.plan.context import Context, P
from inferkit.plan.points import Point
from inferkit.plan.settings import Setting
from inferkit.readers import reader_class
from inferkit.readers.buffered import BufferedReader
from inferkit.readers.memory import MemoryReader
from inferkit.records.groups import Reading
from inferkit.records.job import DeviceOptions, ReadJob, ReadOptions
from inferkit.records.params import StorageToHost

COLD = 0.01
"""Up to this share of a data set's pages in memory, dropping them for a measurement takes nothing from anybody."""
ALONE = Setting(DeviceOptions())
"""One process that is not bound; it only reads."""
FIRST_GPU = Setting(DeviceOptions(kind="cuda"))
"""Such a one whose reader delivers to a GPU: the first that CUDA shows."""


class ReadChoice(NamedTuple):
    """One way to read."""

    reader: str
    threads: int
    batch_size: int


def read_choices(params: Reading) -> list[ReadChoice]:
    """Return every way to read that is asked for.

    Raises
    ------
    ParameterError
        If a reader cannot do what is declared of it.
    """
    capabilities = {reader: reader_class(reader).capabilities for reader in params.readers}
    without = [reader for reader, own in capabilities.items() if not own.has_files]
    if params.source == "storage" and without:
        message = (
            f"readers: {', '.join(without)} reads no storage, but source is storage: "
            "leave it out, or set source: memory"
        )
        raise ParameterError(message)
    if params.evict and not any(own.can_evict for own in capabilities.values()):
        message = f"evict: {', '.join(params.readers)} leave nothing in the page cache to drop: set evict: false"
        raise ParameterError(message)
    # One thread hands over addresses as fast as a device takes them; more would only wait for one another.
    threads = {reader: params.threads if own.has_ceiling else [1] for reader, own in capabilities.items()}
    return [
        ReadChoice(*choice)
        for reader in params.readers
        for choice in product([reader], threads[reader], params.batch_sizes)
    ]


def read_options(context: Context[P], choice: ReadChoice, gpus: int = 1) -> ReadOptions:
    """Return what a process is told of reading; it has as many threads for each of its GPUs as for a single one."""
    params, dataset = context.params, context.dataset
    reads = reader_class(choice.reader).capabilities.has_ceiling
    return ReadOptions(
        reader=choice.reader,
        folder=context.folder(choice.reader),
        store=params.store,
        dtype=dataset.dtype,
        shape=dataset.shape,
        batch_size=choice.batch_size,
        threads=choice.threads * (gpus if reads else 1),
        split=params.split,
        evict=params.evict,
        resize=params.resize,
        fast=params.fast,
        host_batches=params.host_batches,
        verify_batches=params.verify_batches,
        seed=params.seed,
    )


def resident(context: Context[P], batch_size: int) -> ReadOptions:
    """Return options that read nothing: images that lie in host memory, for what is measured without a reader."""
    return read_options(context, ReadChoice(MemoryReader.name, 1, batch_size))


def check_delivery(context: Context[P], settings: Sequence[Setting]) -> None:
    """Refuse readers that deliver to a device's own memory where there is none, or more than one for a process.

    Raises
    ------
    ParameterError
        With the reason.
    """
    names = [name for name in context.params.readers if reader_class(name).capabilities.to_device]
    for setting in settings if names else ():
        why = why_no_direct_storage(setting.device.kind, assumed=context.assumed is not None)
        if not why and context.assumed is None and not facts().gpus:
            why = "this machine has no NVIDIA GPU that its driver shows (`inferkit doctor`): leave it out"
        if setting.gpus > 1:
            why = (
                f"here a process feeds {setting.gpus}: set gpus: [0] or gpu_counts: [1], or use notebook 03c, where "
                "each GPU has a process of its own"
            )
        if why:
            message = f"readers: {', '.join(names)} delivers to the memory of one GPU, but {why}"
            raise ParameterError(message)


def read_point(context: Context[P], choice: ReadChoice, setting: Setting = ALONE) -> Point:
    """Return the point that measures reading alone."""
    reading = read_options(context, choice, setting.gpus)
    window = context.window
    own = reader_class(choice.reader).capabilities
    if not own.has_ceiling:
        window = window.changed(target=0.0)  # it has times per batch, but no figure that could become steady
    device = setting.device if own.to_device else None
    job = ReadJob(window=window, batch_log=context.batch_log, reading=reading, device=device)
    where = setting.axes if own.to_device else setting.reading_axes
    axes = {**where, **choice._asdict(), "threads": _named(reading, setting, choice)}
    return Point("read", axes, setting.jobs(job))


def are_cold(context: Context[P]) -> bool:
    """Tell whether files whose pages are used where they lie must all come from the storage first.

    Of those that are in memory in part, no ceiling is measured: it would leave them in another state.
    """
    own = [reader_class(reader).capabilities for reader in context.params.readers]
    if not any(reader.has_files and not reader.has_ceiling for reader in own):
        return False
    dataset = context.dataset
    share = resident_share(dataset.path(k) for k in range(len(dataset.files)))
    return share is not None and share <= COLD


def cold_point(context: Context[P], choice: ReadChoice, setting: Setting) -> Point:
    """Return the point that measures what page faults can read at the most: the storage, through the page cache.

    It leaves the files as cold as it found them (see :func:`are_cold`).
    """
    point = read_point(context, choice._replace(reader=BufferedReader.name), setting)
    jobs = tuple(job.changed(reading=job.reading.changed(evict=True)) for job in point.jobs if isinstance(job, ReadJob))
    return replace(point, jobs=jobs, axes={**point.axes, "cold": True})


def _named(reading: ReadOptions, setting: Setting, choice: ReadChoice) -> int:
    """Return the threads that the axis tells: of one process all, so that equal points are one; of ranks per GPU."""
    return choice.threads if setting.places else reading.threads


def read_points(context: Context[StorageToHost]) -> Iterator[Point]:
    """Yield the points of notebook 03a."""
    for choice in read_choices(context.params):
        to_device = reader_class(choice.reader).capabilities.to_device
        if to_device:
            check_delivery(context, [FIRST_GPU])
        yield read_point(context, choice, FIRST_GPU if to_device else ALONE)
