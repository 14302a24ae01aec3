"""What a rank can measure: a stage alone (its ceiling), or the whole pipeline."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from inferkit.dataset.format import Dataset, open_dataset
from inferkit.devices import open_device
from inferkit.devices.base import Device
from inferkit.engines import engine_class
from inferkit.engines.base import Engine
from inferkit.errors import RankError
from inferkit.pipeline.batch_log import write_batch_log
from inferkit.pipeline.job import Job, Outcome
from inferkit.pipeline.loop import Loop, infer_resident, read_only
from inferkit.pipeline.proof import StorageProof
from inferkit.pipeline.ring import Ring
from inferkit.pipeline.timeline import Timeline
from inferkit.pipeline.verify import Verifier
from inferkit.probes.h2d import copies
from inferkit.readers import READERS
from inferkit.readers.base import Reader
from inferkit.readers.memory import in_memory
from inferkit.readers.split import split

Begin = Callable[[tuple[str, ...]], Timeline]
"""Says that everything is prepared, waits for the agreed instant and starts the clock over the named stages."""


def dataset_of(job: Job) -> Dataset:
    """Open the job's data set; images in memory where it names no folder."""
    if job.reader == "memory" or not job.folder:
        return in_memory(job.shape, job.dtype)
    return open_dataset(Path(job.folder), dtype=job.dtype or None, shape=job.shape or None)


def open_ring(job: Job, reader: Reader, device: Device, stack: ExitStack) -> Ring:
    """Start the job's reader threads."""
    shares = split([file.images for file in reader.dataset.files], job.threads, job.split, seed=job.seed)
    buffers = job.host_batches or job.threads + job.slots + 1
    return stack.enter_context(Ring(reader, device, shares, job.batch_size, buffers=buffers))


def open_engine(job: Job, device: Device, dataset: Dataset, stack: ExitStack) -> Engine:
    """Build the job's engine for the data set's images."""
    cls = engine_class(job.engine)
    engine = cls.build(device, job.model, job.batch_size, dataset.dtype, dataset.shape, threads=job.engine_threads)
    return stack.enter_context(engine)


def read(job: Job, begin: Begin) -> Outcome:
    """Measure reading alone."""
    with ExitStack() as stack:
        device = stack.enter_context(open_device("cpu"))
        dataset = dataset_of(job)
        reader = stack.enter_context(READERS[job.reader](dataset, device, evict=job.evict))
        verifier = Verifier(dataset, job.verify_batches)
        proof = _proof(job, dataset)
        ring = open_ring(job, reader, device, stack)
        timeline = begin(("read",))
        read_only(ring, timeline, verifier)
        return _outcome(job, timeline, {"read": job.threads}, verifier=verifier, proof=proof, reader=reader)


def infer(job: Job, begin: Begin) -> Outcome:
    """Measure inference alone, of images that lie on the device."""
    with ExitStack() as stack:
        device = stack.enter_context(open_device(job.device, job.gpu))
        dataset = in_memory(job.shape, job.dtype, images=job.batch_size)
        reader = stack.enter_context(READERS["memory"](dataset, device))
        engine = open_engine(job, device, dataset, stack)
        slots = [device.slot(dataset.nbytes) for _ in range(job.slots)]
        pieces = split([job.batch_size], 1, "uniform")[0]
        for slot in slots:
            device.copy_in(reader.read(pieces, None), slot).wait()
        timeline = begin(("infer",))
        infer_resident(engine, slots, job.batch_size, dataset.nbytes, timeline)
        return _outcome(job, timeline, {"infer": 1}, engine=engine)


def pipeline(job: Job, begin: Begin) -> Outcome:
    """Measure reading, copying and inferring at the same time."""
    with ExitStack() as stack:
        device = stack.enter_context(open_device(job.device, job.gpu))
        dataset = dataset_of(job)
        reader = stack.enter_context(READERS[job.reader](dataset, device, evict=job.evict))
        engine = open_engine(job, device, dataset, stack)
        verifier = Verifier(dataset, job.verify_batches)
        slots = [device.slot(job.batch_size * dataset.image_bytes) for _ in range(job.slots)]
        proof = _proof(job, dataset)
        ring = open_ring(job, reader, device, stack)
        timeline = begin(("read", "copy", "infer"))
        Loop(ring, device, engine, slots, overlap=job.overlap).run(timeline, verifier)
        workers = {"read": job.threads} if reader.has_ceiling else {}
        workers |= {"copy": 1} | ({"infer": 1} if engine.has_ceiling else {})
        return _outcome(job, timeline, workers, verifier=verifier, proof=proof, reader=reader, engine=engine)


def copy(job: Job, begin: Begin) -> Outcome:
    """Measure transfers of one size to the device."""
    with open_device(job.device, job.gpu) as device:
        timeline = copies(job, device, begin)
        return _outcome(job, timeline, {"copy": 1})


WORKS: dict[str, Callable[[Job, Begin], Outcome]] = {"read": read, "copy": copy, "infer": infer, "pipeline": pipeline}


def _proof(job: Job, dataset: Dataset) -> StorageProof | None:
    return StorageProof(dataset) if job.reader != "memory" and job.folder else None


def _outcome(
    job: Job,
    timeline: Timeline,
    workers: dict[str, int],
    *,
    verifier: Verifier | None = None,
    proof: StorageProof | None = None,
    reader: Reader | None = None,
    engine: Engine | None = None,
) -> Outcome:
    if len(timeline.repeats) <= job.window.repeats:
        msg = f"reading ended after {len(timeline.repeats)} of {job.window.repeats + 1} windows: it was stopped"
        raise RankError(msg)
    facts: dict[str, Any] = {}
    if verifier is not None:
        facts["verified_images"] = verifier.images
    if proof is not None:
        facts["storage"] = proof.facts(sum(repeat.nbytes for repeat in timeline.repeats))
    if reader is not None and reader.facts:
        facts["reader"] = reader.facts
    if engine is not None and engine.facts:
        facts["engine"] = engine.facts
    if job.batch_log:
        facts["batch_log"] = str(write_batch_log(Path(job.batch_log), timeline))
    return Outcome(repeats=timeline.repeats, stages=timeline.summarise(workers), series=timeline.series(), facts=facts)
