"""From parameters to points: what will be measured, checked before anything runs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import NamedTuple

from inferkit.dataset.format import Dataset
from inferkit.dataset.sources import decoded_shape, photographs_folder
from inferkit.engines import engine_class
from inferkit.errors import InferkitError, ParameterError
from inferkit.pipeline.batch_log import check_batch_log
from inferkit.plan.copies import copy_points
from inferkit.plan.data import dataset_for
from inferkit.plan.devices import batch_log_of, chosen_gpus, device_axes, with_readers_for
from inferkit.plan.grid import ruled
from inferkit.plan.groups import placements, several
from inferkit.plan.networks import stem, with_networks
from inferkit.plan.points import Plan, Point
from inferkit.plan.reuse import data_digest, find, fingerprint, reusable
from inferkit.readers import READERS, reader_class
from inferkit.records.job import Job, window_of
from inferkit.records.notebooks import Stored
from inferkit.records.params import (
    HostToDevice,
    MultiProcess,
    Parameters,
    Reading,
    SingleProcess,
    StorageToHost,
    Windows,
    resolve,
)
from inferkit.records.place import Placement
from inferkit.records.run import Failure, Scalar

__all__ = ["Plan", "Point", "plan", "prepare"]


def prepare(params: Parameters) -> Plan:
    """Plan a notebook's points; what cannot be planned is kept as the plan's failure, and becomes a record."""
    try:
        return plan(params)
    except InferkitError as error:
        return Plan(params, [], failure=Failure(kind=type(error).__name__, message=str(error)))


def plan(params: Parameters, *, pending: Dataset | None = None) -> Plan:
    """Plan a notebook's points.

    Parameters
    ----------
    params
        The notebook's parameters.
    pending
        The data set that an earlier stage of the same run has yet to make: its dtype and shape count, its files do not.

    Raises
    ------
    InferkitError
        If it cannot run here, with the reason and the fix.
    """
    if isinstance(params, Windows) and params.batch_log:
        check_batch_log()
    return _known(_planned(params, pending))


def _known(planned: Plan) -> Plan:
    """Give each point its fingerprint, and find the Runs that stand in place of measuring it again."""
    params = planned.params
    if not isinstance(params, Windows):
        return planned
    data = data_digest(planned.dataset)
    marked = [replace(point, fingerprint=fingerprint(params, point, data)) for point in planned.points]
    earlier: dict[str, Stored] = {}
    if params.rerun != "always":
        found = find(resolve(params.earlier), {point.fingerprint for point in marked})
        earlier = {mark: one for mark, one in found.items() if reusable(one.run, params.rerun)}
    return replace(planned, points=marked, earlier=earlier)


def _planned(params: Parameters, pending: Dataset | None) -> Plan:
    if isinstance(params, HostToDevice):
        points, remarks = copy_points(params)
        return Plan(params, points, remarks=remarks)
    if isinstance(params, StorageToHost):
        dataset = dataset_for(params, pending)
        return Plan(params, [_read_point(params, dataset, reading) for reading in _reading_axes(params)], dataset)
    if isinstance(params, SingleProcess):
        dataset = dataset_for(params, pending)
        points = _pipeline_points(params, dataset)
        plans: list[Placement] = []
        if isinstance(params, MultiProcess):
            plans = placements(params, dataset, chosen_gpus(params.device, params.gpus))
            points = several(points, plans, cores=params.cores)
        points, remarks = ruled(points, params.grid)
        return Plan(params, with_networks(points, params, dataset), dataset, placements=plans, remarks=remarks)
    return Plan(params, [])


_Streaming = StorageToHost | SingleProcess


class _Reading(NamedTuple):
    reader: str
    threads: int
    batch_size: int


class _Inference(NamedTuple):
    engine: str
    model: str
    precision: str


def _reading_axes(params: Reading) -> Iterator[_Reading]:
    if params.source == "storage" and "memory" in params.readers:
        message = "readers: memory reads no storage, but source is storage: leave it out, or set source: memory"
        raise ParameterError(message)
    if params.evict and not any(reader_class(reader).can_evict for reader in params.readers):
        message = f"evict: {', '.join(params.readers)} leave nothing in the page cache to drop: set evict: false"
        raise ParameterError(message)
    for reader in params.readers:
        # One thread hands over addresses as fast as a device takes them; more would only wait for one another.
        threads = params.threads if reader_class(reader).has_ceiling else [1]
        yield from map(_Reading._make, product([reader], threads, params.batch_sizes))


def _reading_job(params: _Streaming, dataset: Dataset, reading: _Reading, changes: Mapping[str, object]) -> Job:
    """Return a job that reads; ``changes`` are what it does with the batches."""
    values = {
        "folder": "" if reading.reader == "memory" else str(_folder(params, dataset, reading.reader)),
        "dtype": dataset.dtype,
        "shape": dataset.shape,
        **reading._asdict(),
        "split": params.split,
        "evict": params.evict,
        "resize": params.resize,
        "fast": params.fast,
        "host_batches": params.host_batches,
        "verify_batches": params.verify_batches,
        "seed": params.seed,
        "window": window_of(params),
        "batch_log": batch_log_of(params),
    }
    return Job.model_validate({**values, **changes})


def _folder(params: Reading, dataset: Dataset, reader: str) -> Path:
    """Return where a reader's files lie; what it decodes on the fly must look like the data set's images."""
    if not reader_class(reader).decodes:
        return dataset.folder
    if dataset.shape != decoded_shape(params):
        message = (
            f"size is {params.size}, so reader {reader} decodes to {decoded_shape(params)}, but {dataset.folder} holds "
            f"images of {dataset.shape}: set size, or compare them in two runs"
        )
        raise ParameterError(message)
    return photographs_folder(params)


def _read_point(params: _Streaming, dataset: Dataset, reading: _Reading, gpus: int = 1) -> Point:
    job = with_readers_for(gpus, _reading_job(params, dataset, reading, {"work": "read"}))
    return Point("read", {**reading._asdict(), "threads": job.threads}, job)


def _inference_axes(params: SingleProcess) -> Iterator[_Inference]:
    for engine in params.engines:
        if not engine_class(engine).has_ceiling:
            yield _Inference(engine, "", "")
        else:
            yield from map(_Inference._make, product([engine], params.models, params.precisions))


def _gpu_sets(params: SingleProcess) -> list[list[int]]:
    """Return the GPUs that one process uses at once, for each number of them; 03c shares them out by itself."""
    gpus = chosen_gpus(params.device, params.gpus)
    if isinstance(params, MultiProcess) or not params.gpu_counts:
        return [gpus]
    if params.device == "cpu" or max(params.gpu_counts) > len(gpus):
        there = "device is cpu" if params.device == "cpu" else f"there are {len(gpus)} GPUs to use"
        message = f"gpu_counts is {params.gpu_counts}, but {there}: lower it, or leave it empty"
        raise ParameterError(message)
    return [gpus[:count] for count in params.gpu_counts]


def _pipeline_points(params: SingleProcess, dataset: Dataset) -> list[Point]:
    ceilings: dict[str, Point] = {}
    pipelines: list[Point] = []
    for gpus, inference, reading in product(_gpu_sets(params), _inference_axes(params), _reading_axes(params)):
        point = _pipeline_point(params, dataset, gpus, reading, inference)
        own = {stage: ceilings.setdefault(ceiling.key, ceiling) for stage, ceiling in point.ceilings.items()}
        pipelines.append(Point(point.measure, point.axes, point.job, own))
    return [*ceilings.values(), *pipelines]


def _pipeline_point(
    params: SingleProcess,
    dataset: Dataset,
    gpus: Sequence[int],
    reading: _Reading,
    inference: _Inference,
) -> Point:
    where = {**device_axes(params.device, gpus), "batch_size": reading.batch_size}
    names: dict[str, Scalar] = {**inference._asdict(), "model": stem(inference.model)}
    how: dict[str, object] = {
        "device": params.device,
        "gpus": tuple(gpus),
        "slots": params.slots,
        "overlap": params.overlap,
    }
    network: dict[str, object] = {
        "engine": inference.engine,
        "model": inference.model,  # a name until with_networks
        "engine_threads": params.engine_threads,
        "contexts": params.contexts if params.device == "cuda" else 1,
        "cuda_graph": params.cuda_graph,
        "layer_profile": params.layer_profile,
    }
    in_place = _Reading("memory", 1, reading.batch_size)
    # 03c knows only later how many GPUs a process has.
    fed = 1 if isinstance(params, MultiProcess) else len(gpus)
    ceilings = {"read": _read_point(params, dataset, reading, fed)} if READERS[reading.reader].has_ceiling else {}
    ceilings["copy"] = Point("copy", where, _reading_job(params, dataset, in_place, {"work": "pipeline", **how}))
    if inference.model:
        job = _reading_job(params, dataset, in_place, {"work": "infer", **how, **network})
        ceilings["infer"] = Point("infer", where | names, job)
    job = with_readers_for(fed, _reading_job(params, dataset, reading, {"work": "pipeline", **how, **network}))
    return Point("pipeline", {**where, **names, "reader": reading.reader, "threads": reading.threads}, job, ceilings)
