"""What a rank can measure: a stage alone (its ceiling), or the whole pipeline."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from inferkit.dataset.tensors import image_bytes
from inferkit.devices import open_device
from inferkit.devices.base import Device, JpegDecoder, Slot
from inferkit.engines import engine_class
from inferkit.engines.base import Engine, Options
from inferkit.engines.plan_file import PLAN
from inferkit.errors import RankError
from inferkit.pipeline.batch_log import BatchLog, batch_log
from inferkit.pipeline.copies import copies
from inferkit.pipeline.loop import Loop, infer_resident, read_only
from inferkit.pipeline.source import Source
from inferkit.pipeline.timeline import UNDER_WAY, Timeline
from inferkit.readers.base import EncodedReader, Reader
from inferkit.readers.memory import MemoryReader, in_memory
from inferkit.readers.split import split
from inferkit.records.figures import Json
from inferkit.records.job import (
    CopyJob,
    DeviceOptions,
    Images,
    InferJob,
    InferOptions,
    Job,
    PipelineJob,
    ReadJob,
    ReadOptions,
)
from inferkit.records.outcome import Outcome
from inferkit.validity.outputs import look_at_outputs
from inferkit.validity.pixels import compare_pixels

Begin = Callable[[tuple[str, ...]], Timeline]
"""Says that everything is prepared, waits for the agreed instant and starts the clock over the named stages."""
BUFFERS_ALONE = 3
"""Batches that lie between reader and consumer where nothing is copied: as many as a pipeline has slots."""


class DeviceWorker(NamedTuple):
    """One device, the engine on it, and the places of its batches."""

    device: Device
    engine: Engine
    slots: list[Slot]


def read(job: ReadJob, begin: Begin) -> Outcome:
    """Measure reading alone."""
    with ExitStack() as stack:
        device = open_devices(job.device or DeviceOptions(), stack)[0]
        source = Source(job.reading, device, stack)
        source.start(job.place, in_flight=BUFFERS_ALONE, threads=True)
        clock = _Clock(job, begin, source.workers, stack)
        timeline = clock.begin(source.stages)
        source.reader.begin()
        read_only(source.batches, device, timeline, source.verifier)
        outcome = clock.outcome(timeline, source.facts)
        return outcome if source.reader.capabilities.has_ceiling else _times_alone(outcome)


def _times_alone(outcome: Outcome) -> Outcome:
    """Leave out rates: what reads nothing has a time per batch, and no bandwidth."""
    none = {"images_per_s": None, "bytes_per_s": None}
    stages = {name: stage.model_copy(update=none) for name, stage in outcome.stages.items()}
    return outcome.model_copy(update={"stages": stages, "series": {}, "measured": None, "warnings": []})


def copy(job: CopyJob, begin: Begin) -> Outcome:
    """Measure transfers of one size between host and device."""
    with ExitStack() as stack:
        devices = open_devices(job.device, stack)
        clock = _Clock(job, begin, {"copy": len(devices)}, stack)
        return clock.outcome(copies(job, devices, clock.begin))


def infer(job: InferJob, begin: Begin) -> Outcome:
    """Measure inference alone, of random images that lie on the device."""
    with ExitStack() as stack:
        devices = open_devices(job.device, stack)
        workers = open_workers(job.inference, job.images, devices, stack)
        nbytes = _fill_slots(job.images, workers)
        engine, slots = workers[0].engine, workers[0].slots
        layers = _layers(engine, slots[0]) if job.inference.layer_profile else {}
        clock = _Clock(job, begin, {"infer": len(workers) * job.inference.contexts}, stack)
        timeline = clock.begin(("infer",))
        at_once(workers, lambda at: infer_resident(at.engine, at.slots, job.images.batch_size, nbytes, timeline))
        return clock.outcome(timeline, lambda _: layers, lambda _: _engine(engine))


def pipeline(job: PipelineJob, begin: Begin) -> Outcome:
    """Measure reading, copying (or decoding on the device) and inferring at the same time."""
    with ExitStack() as stack:
        devices = open_devices(job.device, stack)
        source = Source(job.reading, devices[0], stack)
        decoders = open_decoders(job.reading, devices, source.reader)
        workers = open_workers(job.inference, source.images, devices, stack)
        outputs, doubts = _outputs(job, workers, source.reader)
        pixels = _pixels(job.reading, workers[0], source.reader)
        in_flight = sum(len(worker.slots) for worker in workers)
        source.start(job.place, in_flight=in_flight, threads=source.reader.capabilities.has_ceiling)
        arrives, feeders = ("decode", job.reading.decoders) if decoders else ("copy", 1)
        lanes = source.workers | _lanes(workers, {arrives: feeders, "infer": job.inference.contexts})
        clock = _Clock(job, begin, lanes, stack)
        timeline = clock.begin((*source.stages, arrives, "infer", "out"))
        source.reader.begin()

        def stream(at: DeviceWorker) -> None:
            loop = Loop(source.batches, *at, overlap=job.overlap, feeders=feeders)
            loop.run(timeline, source.verifier)

        at_once(workers, stream)
        tellers = [lambda _: outputs | pixels | _decoding(decoders), lambda _: _engine(workers[0].engine)]
        outcome = clock.outcome(timeline, source.facts, *tellers)
        return outcome.model_copy(update={"warnings": [*outcome.warnings, *doubts]})


def open_devices(options: DeviceOptions, stack: ExitStack) -> list[Device]:
    """Open a job's devices; the first allocates and registers memory for all."""
    return [stack.enter_context(open_device(options.kind, number)) for number in options.numbers]


def open_decoders(options: ReadOptions, devices: Sequence[Device], reader: Reader) -> list[JpegDecoder]:
    """Open every device's decoder, for a reader that leaves decoding to it; else none."""
    if not isinstance(reader, EncodedReader):
        return []
    return [device.open_decoder(reader.decoding(options.decoders)) for device in devices]


def _decoding(decoders: Sequence[JpegDecoder]) -> dict[str, Json]:
    return {"decoders": [decoder.facts for decoder in decoders]} if decoders else {}


def open_workers(
    inference: InferOptions, images: Images, devices: Sequence[Device], stack: ExitStack
) -> list[DeviceWorker]:
    """Build a job's engine on each device, for the images of a batch."""
    options = Options(threads=inference.threads, contexts=inference.contexts, cuda_graph=inference.cuda_graph)
    cls = engine_class(inference.engine)
    nbytes = image_bytes(images.dtype, images.shape) * images.batch_size
    workers = []
    for device in devices:
        engine = cls.build(device, inference.model, images.batch_size, images.dtype, images.shape, options)
        stack.enter_context(engine)
        slots = [device.slot(nbytes) for _ in range(inference.slots * inference.contexts)]
        workers.append(DeviceWorker(device, engine, slots))
    return workers


def _fill_slots(images: Images, workers: Sequence[DeviceWorker]) -> int:
    """Copy random images to every slot; returns the bytes of a batch."""
    dataset = in_memory(images.shape, images.dtype, images=images.batch_size)
    with MemoryReader(dataset, workers[0].device) as reader:
        segments = reader.read(split([images.batch_size], 1, "uniform")[0], None)
        for worker in workers:
            for slot in worker.slots:
                worker.device.copy_in(segments, slot).wait()
    return dataset.nbytes


def at_once(workers: Sequence[DeviceWorker], work: Callable[[DeviceWorker], None]) -> None:
    """Do the same on every device, each in a thread of its own; raise what the first to fail raised."""

    def attached(worker: DeviceWorker) -> None:
        with worker.device.attached():
            work(worker)

    with ThreadPoolExecutor(len(workers), "device") as pool:
        for done in as_completed([pool.submit(attached, worker) for worker in workers]):
            done.result()


def _lanes(workers: Sequence[DeviceWorker], each: dict[str, int]) -> dict[str, int]:
    """Return what works side by side at each stage behind the reader, from what does on one device."""
    engine = workers[0].engine
    stages = {stage: count for stage, count in each.items() if stage != "infer" or engine.has_ceiling}
    stages |= {"out": 1} if engine.has_out else {}
    return {stage: len(workers) * count for stage, count in stages.items()}


def _layers(engine: Engine, slot: Slot) -> dict[str, Json]:
    times, description = engine.layers(slot)
    return {"layers_ms": [list(entry) for entry in times], "inspector": description}


def _outputs(
    job: PipelineJob, workers: Sequence[DeviceWorker], reader: Reader
) -> tuple[dict[str, Json], dict[str, None]]:
    """Look at each engine's outputs, and compare them with ONNX Runtime's unless it is that itself.

    Returns
    -------
    facts, warnings
        Of the device whose outputs differ most; what speaks against the outputs of any.
    """
    model, batch_size = job.inference.model, job.reading.batch_size
    if not job.reading.verify_batches or not model or job.reading.held:  # what is held is held against a pipeline
        return {}, {}
    found = [look_at_outputs(at.device, at.engine, reader, at.slots[0], batch_size) for at in workers]
    doubts = dict.fromkeys(text for _, texts in found for text in texts)
    if workers[0].engine.is_reference or model.endswith(PLAN):  # a plan has no network beside it
        return {"outputs": found[0][0]}, doubts
    from inferkit.validity.reference_check import check_outputs  # needs ONNX Runtime, which not every pipeline does

    compared = [check_outputs(at.device, at.engine, reader, at.slots[0], model, batch_size) for at in workers]
    told = [own | beside for (own, _), beside in zip(found, compared, strict=True)]
    return {"outputs": max(told, key=lambda facts: facts["largest_difference"])}, doubts


def _pixels(options: ReadOptions, worker: DeviceWorker, reader: Reader) -> dict[str, Json]:
    """Compare what the device decodes with stage 01's pixels, where it decodes."""
    if not isinstance(reader, EncodedReader) or not options.verify_batches:
        return {}
    return compare_pixels(worker.device, reader, worker.slots[0], options.verify_batches, options.batch_size)


def _engine(engine: Engine) -> dict[str, Json]:
    return {"engine": engine.facts} if engine.facts else {}


class _Clock:
    """Starts a job's clock, and sums up; ``workers`` are the stages to sum up, and the threads or streams of each."""

    def __init__(self, job: Job, begin: Begin, workers: dict[str, int], stack: ExitStack) -> None:
        self._job, self._begin, self._workers, self._stack = job, begin, workers, stack
        self._log: BatchLog | None = None

    def begin(self, stages: tuple[str, ...]) -> Timeline:
        """Start the clock over the named stages."""
        if self._job.batch_log:
            self._log = self._stack.enter_context(batch_log(Path(self._job.batch_log), stages))
        timeline = self._begin(stages)
        timeline.lanes, timeline.log = max(UNDER_WAY, *self._workers.values()), self._log
        return timeline

    def outcome(self, timeline: Timeline, *tellers: Callable[[Timeline], dict[str, Json]]) -> Outcome:
        """Sum up a run that has ended; each of the tellers adds its facts."""
        wanted = timeline.window.repeats + 1
        if len(timeline.repeats) < wanted:
            message = f"reading ended after {len(timeline.repeats)} of {wanted} windows: it was stopped"
            raise RankError(message)
        timeline.sum_up()
        facts: dict[str, Json] = {"pauses": timeline.pauses()}
        if self._job.work == "pipeline":
            facts["batches"] = timeline.sample(self._workers)
        for tell in tellers:
            facts |= tell(timeline)
        if self._log is not None:
            facts["batch_log"] = [str(self._log.path)]
        return Outcome(
            repeats=timeline.repeats,
            stages=timeline.summarise(self._workers),
            series=timeline.series(),
            facts=facts,
            measured=timeline.figure(),
            warnings=timeline.warnings(),
        )


WORKLOADS: dict[str, Callable[[Any, Begin], Outcome]] = {
    "read": read,
    "copy": copy,
    "infer": infer,
    "pipeline": pipeline,
}
"""By the name of a job's ``work``; each takes a job of that kind."""
