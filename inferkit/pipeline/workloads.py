"""What a rank can measure: a stage alone (its ceiling), or the whole pipeline."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from inferkit.batch import Piece
from inferkit.dataset.format import Dataset
from inferkit.devices import open_device
from inferkit.devices.base import Device, Slot
from inferkit.engines import engine_class
from inferkit.engines.base import Engine, Options
from inferkit.errors import RankError
from inferkit.pipeline.batch_log import write_batch_log
from inferkit.pipeline.copies import copies
from inferkit.pipeline.loop import Loop, infer_resident, read_only
from inferkit.pipeline.reader_stats import reader_facts
from inferkit.pipeline.resident_source import ResidentSource
from inferkit.pipeline.ring import Ring
from inferkit.pipeline.timeline import Timeline
from inferkit.readers import READERS
from inferkit.readers.base import Reader
from inferkit.readers.memory import in_memory
from inferkit.readers.split import split
from inferkit.records.job import Job, Outcome
from inferkit.records.place import Place
from inferkit.records.run import Json
from inferkit.validity.checksums import Verifier
from inferkit.validity.io_accounting import IoAccounting

Begin = Callable[[tuple[str, ...]], Timeline]
"""Says that everything is prepared, waits for the agreed instant and starts the clock over the named stages."""


def dataset_of(job: Job) -> Dataset:
    """Open the job's data set; images in memory where it names no folder."""
    if job.reader == "memory" or not job.folder:
        return in_memory(job.shape, job.dtype)
    return READERS[job.reader].find(Path(job.folder), job.dtype, job.shape, resize=job.resize, fast=job.fast)


def open_ring(job: Job, reader: Reader, device: Device, stack: ExitStack) -> Ring:
    """Start the job's reader threads."""
    in_flight = job.slots * job.contexts * len(job.devices)
    buffers = job.host_batches or job.threads + in_flight + 1
    return stack.enter_context(Ring(reader, device, shares_of(job, reader), job.batch_size, buffers=buffers))


def shares_of(job: Job, reader: Reader) -> list[list[Piece]]:
    """Share out what lies in files among threads, and among ranks that measure together."""
    place = job.place if job.place and job.folder else Place()
    images = [file.images for file in reader.dataset.files]
    return split(images, job.threads * place.ranks, job.split, seed=job.seed)[place.rank :: place.ranks]


class DeviceWorker(NamedTuple):
    """One device, the engine on it, and the places of its batches."""

    device: Device
    engine: Engine
    slots: list[Slot]


def open_stations(job: Job, devices: Sequence[Device], dataset: Dataset, stack: ExitStack) -> list[DeviceWorker]:
    """Build the job's engine on each device, for the data set's images."""
    options = Options(threads=job.engine_threads, contexts=job.contexts, cuda_graph=job.cuda_graph)
    cls = engine_class(job.engine)
    nbytes = job.batch_size * dataset.image_bytes
    stations = []
    for device in devices:
        engine = cls.build(device, job.model, job.batch_size, dataset.dtype, dataset.shape, options)
        stack.enter_context(engine)
        stations.append(DeviceWorker(device, engine, [device.slot(nbytes) for _ in range(job.slots * job.contexts)]))
    return stations


def open_devices(job: Job, stack: ExitStack) -> list[Device]:
    """Open the job's devices; the first allocates and registers memory for all."""
    return [stack.enter_context(open_device(job.device, number)) for number in job.devices]


def at_once(stations: Sequence[DeviceWorker], work: Callable[[DeviceWorker], None]) -> None:
    """Do the same at every station, each in a thread of its own; raise what the first to fail raised."""

    def attached(station: DeviceWorker) -> None:
        with station.device.attached():
            work(station)

    with ThreadPoolExecutor(len(stations), "station") as pool:
        for done in as_completed([pool.submit(attached, station) for station in stations]):
            done.result()


def read(job: Job, begin: Begin) -> Outcome:
    """Measure reading alone."""
    with ExitStack() as stack:
        device = stack.enter_context(open_device("cpu"))
        dataset = dataset_of(job)
        reader = stack.enter_context(READERS[job.reader](dataset, device, evict=job.evict))
        verifier = Verifier(dataset, job.verify_batches)
        proof = _proof(job, dataset)
        ring = open_ring(job, reader, device, stack)
        timeline = begin(reader.stages)
        read_only(ring, timeline, verifier)
        workers = dict.fromkeys(reader.stages, job.threads)
        outcome = _outcome(job, timeline, workers, verifier=verifier, proof=proof, reader=reader, ring=ring)
        return outcome if reader.has_ceiling else _times_alone(outcome)


def _times_alone(outcome: Outcome) -> Outcome:
    """Leave out rates: what reads nothing has a time per batch, and no bandwidth."""
    none = {"images_per_s": None, "bytes_per_s": None}
    stages = {name: stage.model_copy(update=none) for name, stage in outcome.stages.items()}
    return outcome.model_copy(update={"stages": stages, "series": {}})


def infer(job: Job, begin: Begin) -> Outcome:
    """Measure inference alone, of images that lie on the device."""
    with ExitStack() as stack:
        devices = open_devices(job, stack)
        dataset = in_memory(job.shape, job.dtype, images=job.batch_size)
        reader = stack.enter_context(READERS["memory"](dataset, devices[0]))
        stations = open_stations(job, devices, dataset, stack)
        pieces = split([job.batch_size], 1, "uniform")[0]
        for device, _, slots in stations:
            for slot in slots:
                device.copy_in(reader.read(pieces, None), slot).wait()
        engine, slots = stations[0].engine, stations[0].slots
        layers = _layers(engine, slots[0]) if job.layer_profile else None
        timeline = begin(("infer",))
        at_once(stations, lambda at: infer_resident(at.engine, at.slots, job.batch_size, dataset.nbytes, timeline))
        workers = {"infer": len(stations) * job.contexts}
        return _outcome(job, timeline, workers, engine=engine, more=layers)


def _layers(engine: Engine, slot: Slot) -> dict[str, Json]:
    times, description = engine.layers(slot)
    return {"layers_ms": [list(entry) for entry in times], "inspector": description}


def pipeline(job: Job, begin: Begin) -> Outcome:
    """Measure reading, copying and inferring at the same time."""
    with ExitStack() as stack:
        devices = open_devices(job, stack)
        dataset = dataset_of(job)
        reader = stack.enter_context(READERS[job.reader](dataset, devices[0], evict=job.evict))
        stations = open_stations(job, devices, dataset, stack)
        engine = stations[0].engine
        more = _truth(job, stations, reader)
        verifier = Verifier(dataset, job.verify_batches)
        proof = _proof(job, dataset)
        ring = open_ring(job, reader, devices[0], stack) if reader.has_ceiling else None
        source = ring or ResidentSource(reader, shares_of(job, reader), job.batch_size)
        timeline = begin((*reader.stages, "copy", "infer", "out"))
        at_once(stations, lambda at: Loop(source, *at, overlap=job.overlap).run(timeline, verifier))
        workers = dict.fromkeys(reader.stages, job.threads) if reader.has_ceiling else {}
        workers["copy"] = len(stations)
        if engine.has_ceiling:
            workers["infer"] = len(stations) * job.contexts
        if engine.has_out:
            workers["out"] = len(stations)
        return _outcome(
            job, timeline, workers, verifier=verifier, proof=proof, reader=reader, ring=ring, engine=engine, more=more
        )


def _truth(job: Job, stations: Sequence[DeviceWorker], reader: Reader) -> dict[str, Json] | None:
    """Compare each engine's outputs with ONNX Runtime's; the engine onnx is that itself."""
    if not job.verify_batches or not job.model or job.engine == "onnx":
        return None
    from inferkit.validity.reference_check import check_outputs

    found = [check_outputs(at.device, at.engine, reader, at.slots[0], job.model, job.batch_size) for at in stations]
    return {"outputs": max(found, key=lambda facts: facts["largest_difference"])}


def copy(job: Job, begin: Begin) -> Outcome:
    """Measure transfers of one size to the device."""
    with ExitStack() as stack:
        devices = open_devices(job, stack)
        timeline = copies(job, devices, begin)
        return _outcome(job, timeline, {"copy": len(devices)})


WORKS: dict[str, Callable[[Job, Begin], Outcome]] = {"read": read, "copy": copy, "infer": infer, "pipeline": pipeline}


def _proof(job: Job, dataset: Dataset) -> IoAccounting | None:
    return IoAccounting(dataset) if job.reader != "memory" and job.folder else None


def _outcome(
    job: Job,
    timeline: Timeline,
    workers: dict[str, int],
    *,
    verifier: Verifier | None = None,
    proof: IoAccounting | None = None,
    reader: Reader | None = None,
    ring: Ring | None = None,
    engine: Engine | None = None,
    more: dict[str, Json] | None = None,
) -> Outcome:
    if len(timeline.repeats) <= job.window.repeats:
        message = f"reading ended after {len(timeline.repeats)} of {job.window.repeats + 1} windows: it was stopped"
        raise RankError(message)
    facts: dict[str, Json] = dict(more or {})
    if verifier is not None:
        facts["verified_images"] = verifier.images
    if ring is not None:
        ring.close()  # the threads' counts are complete when they have ended
        facts["reading"] = reader_facts(ring.tallies, timeline.repeats, timeline.start_ns)
    if proof is not None:
        read = sum(tally.nbytes for tally in ring.tallies) if ring is not None else None
        facts["storage"] = proof.facts(sum(repeat.nbytes for repeat in timeline.repeats), read)
    if reader is not None:
        reader.check_unchanged()
        facts |= {"reader": reader.facts} if reader.facts else {}
    if engine is not None and engine.facts:
        facts["engine"] = engine.facts
    if job.batch_log:
        facts["batch_log"] = str(write_batch_log(Path(job.batch_log), timeline))
    return Outcome(repeats=timeline.repeats, stages=timeline.summarise(workers), series=timeline.series(), facts=facts)
