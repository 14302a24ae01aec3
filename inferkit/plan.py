"""From parameters to points: what will be measured, checked before anything runs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from inferkit.dataset.format import Dataset, open_dataset
from inferkit.dataset.synthetic import make_default, synthetic_folder
from inferkit.devices import MEMORIES
from inferkit.engines import engine_class
from inferkit.errors import InferkitError, ParameterError
from inferkit.host import facts
from inferkit.models.cache import ModelFile, model_path
from inferkit.params import HostToDevice, Parameters, Reading, SingleProcess, StorageToHost, Windows, resolve
from inferkit.pipeline.batch_log import check_batch_log
from inferkit.pipeline.job import Job, window_of
from inferkit.readers import READERS
from inferkit.readers.memory import in_memory
from inferkit.run import Failure, Scalar
from inferkit.units import duration, gigabytes

DEFAULT_SHAPE = (3, 224, 224)
START_S = 1.5
"""What starting a rank takes, for the estimate."""


@dataclass(frozen=True)
class Point:
    """One thing to measure.

    Parameters
    ----------
    measure
        ``read``, ``copy``, ``infer`` (ceilings) or ``pipeline``.
    axes
        What distinguishes the point from others, for the record.
    job
        What a rank is told to do.
    ceilings
        The points that measure this one's stages alone, by stage.
    """

    measure: str
    axes: dict[str, Scalar]
    job: Job
    ceilings: dict[str, "Point"] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """What makes two points the same measurement."""
        return f"{self.measure} {sorted(self.axes.items())}"


@dataclass(frozen=True)
class Plan:
    """All points of a notebook, ceilings before the points that refer to them."""

    params: Parameters
    points: list[Point]
    dataset: Dataset | None = None
    failure: Failure | None = None

    @property
    def seconds(self) -> float:
        """The least time that it takes."""
        return sum(point.job.window.seconds + START_S for point in self.points)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Show the table in a notebook."""
        printer.text(str(self))

    def __str__(self) -> str:
        """Return the points as a plain table, with the bytes and the time that they take."""
        if self.failure is not None:
            return f"cannot run: {self.failure.message}"
        names = list(dict.fromkeys(name for point in self.points for name in point.axes))
        rows = [["measure", *names]]
        rows += [[point.measure, *(str(point.axes.get(name, "")) for name in names)] for point in self.points]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        reading = sum(point.job.window.seconds for point in self.points if point.job.folder)
        if self.dataset is not None and self.dataset.files and reading:
            lines.append(
                f"data set: {self.dataset.images} images, {gigabytes(self.dataset.nbytes)}, "
                f"read again and again for {duration(reading)}"
            )
        return "\n".join([*lines, f"{len(self.points)} points, at least {duration(self.seconds)}"])


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
    if isinstance(params, HostToDevice):
        return Plan(params, _copy_points(params))
    if isinstance(params, StorageToHost):
        dataset = dataset_for(params, pending)
        return Plan(params, [_read_point(params, dataset, reading) for reading in _reading_axes(params)], dataset)
    if isinstance(params, SingleProcess):
        dataset = dataset_for(params, pending)
        return Plan(params, list(_pipeline_points(params, dataset)), dataset)
    return Plan(params, [])


def dataset_for(params: Reading, pending: Dataset | None = None) -> Dataset:
    """Open the data set that parameters name, or make the small synthetic one.

    Raises
    ------
    DatasetError
        If the folder is missing or is no data set.
    """
    dtype, shape = params.dtype, tuple(params.shape)
    if set(params.readers) == {"memory"}:
        return in_memory(shape or DEFAULT_SHAPE, dtype or "uint8")
    if not params.data:
        folder = synthetic_folder(dtype or "uint8", shape or DEFAULT_SHAPE)
        if pending is not None and pending.folder == folder:
            return pending
        return make_default(dtype or "uint8", shape or DEFAULT_SHAPE)
    if pending is not None and pending.folder == resolve(params.data):
        return pending
    return open_dataset(resolve(params.data), dtype=dtype or None, shape=shape or None)


def chosen_gpus(device: str, gpus: list[int]) -> list[int]:
    """Return the ids to use; the CPU counts as one device, 0.

    Raises
    ------
    ParameterError
        If there is no such GPU here.
    """
    if device == "cpu":
        if gpus not in ([], [0]):
            msg = f"gpus is {gpus}, but device is cpu: set device: cuda, or leave gpus empty"
            raise ParameterError(msg)
        return [0]
    found = [gpu.index for gpu in facts().gpus]
    missing = sorted(set(gpus) - set(found))
    if not found or missing:
        what = f"no GPU {missing}, only {found}" if found else "no NVIDIA GPU that its driver shows"
        msg = f"device is cuda, but this machine has {what}: `inferkit doctor` tells why; device: cpu needs none"
        raise ParameterError(msg)
    return gpus or found


def _place(device: str, gpu: int) -> dict[str, Scalar]:
    """Return the axes that say where; the CPU has no number."""
    return {"device": device} if device == "cpu" else {"device": device, "gpu": gpu}


def _copy_points(params: HostToDevice) -> list[Point]:
    memories = params.memories or MEMORIES[params.device]
    for memory in memories:
        if memory not in MEMORIES[params.device]:
            msg = f"memories: device {params.device} has no {memory} memory: use {', '.join(MEMORIES[params.device])}"
            raise ParameterError(msg)
    return [
        Point(
            "copy",
            {**_place(params.device, gpu), "memory": memory, "transfer_bytes": nbytes},
            Job(
                work="copy",
                window=window_of(params),
                batch_log=_batch_log(params),
                device=params.device,
                gpu=gpu,
                memory=memory,
                transfer_bytes=nbytes,
            ),
        )
        for gpu in chosen_gpus(params.device, params.gpus)
        for memory in memories
        for nbytes in params.transfer_bytes
    ]


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
        msg = "readers: memory reads no storage, but source is storage: leave it out, or set source: memory"
        raise ParameterError(msg)
    if params.evict and "buffered" not in params.readers:
        msg = f"evict: {', '.join(params.readers)} leave nothing in the page cache to drop: set evict: false"
        raise ParameterError(msg)
    for reader in params.readers:
        if reader not in READERS:
            msg = f"readers: {reader!r} is none: use {', '.join(READERS)}"
            raise ParameterError(msg)
    return map(_Reading._make, product(params.readers, params.threads, params.batch_sizes))


def _batch_log(params: Windows) -> str:
    return str(resolve(params.batch_log)) if params.batch_log else ""


def _reading_job(params: _Streaming, dataset: Dataset, reading: _Reading, changes: Mapping[str, object]) -> Job:
    """Return a job that reads; ``changes`` are what it does with the batches."""
    values = {
        "folder": "" if reading.reader == "memory" else str(dataset.folder),
        "dtype": dataset.dtype,
        "shape": dataset.shape,
        **reading._asdict(),
        "split": params.split,
        "evict": params.evict,
        "host_batches": params.host_batches,
        "verify_batches": params.verify_batches,
        "seed": params.seed,
        "window": window_of(params),
        "batch_log": _batch_log(params),
    }
    return Job.model_validate({**values, **changes})


def _read_point(params: _Streaming, dataset: Dataset, reading: _Reading) -> Point:
    job = _reading_job(params, dataset, reading, {"work": "read"})
    return Point("read", dict(reading._asdict()), job)


def _inference_axes(params: SingleProcess) -> Iterator[_Inference]:
    for engine in params.engines:
        if not engine_class(engine).has_ceiling:
            yield _Inference(engine, "", "")
        else:
            yield from map(_Inference._make, product([engine], params.models, params.precisions))


def _model(params: SingleProcess, dataset: Dataset, inference: _Inference) -> ModelFile | None:
    model = inference.model
    if not model:
        return None
    if not model.endswith(".onnx"):
        return model_path(model, precision=inference.precision, dtype=dataset.dtype, shape=dataset.shape)
    return model_path(
        str(resolve(model)),
        precision=inference.precision,
        dtype=dataset.dtype,
        shape=dataset.shape,
        mean=params.mean or None,
        std=params.std or None,
        scale=params.scale,
    )


def _pipeline_points(params: SingleProcess, dataset: Dataset) -> list[Point]:
    ceilings: dict[str, Point] = {}
    pipelines: list[Point] = []
    for gpu in chosen_gpus(params.device, params.gpus):
        for inference in _inference_axes(params):
            file = _model(params, dataset, inference)
            for reading in _reading_axes(params):
                point = _pipeline_point(params, dataset, gpu, reading, inference, file)
                own = {stage: ceilings.setdefault(ceiling.key, ceiling) for stage, ceiling in point.ceilings.items()}
                pipelines.append(Point(point.measure, point.axes, point.job, own))
    return [*ceilings.values(), *pipelines]


def _pipeline_point(
    params: SingleProcess,
    dataset: Dataset,
    gpu: int,
    reading: _Reading,
    inference: _Inference,
    file: ModelFile | None,
) -> Point:
    where = {**_place(params.device, gpu), "batch_size": reading.batch_size}
    names: dict[str, Scalar] = {**inference._asdict(), "model": Path(inference.model).stem}
    how: dict[str, object] = {
        "device": params.device,
        "gpu": gpu,
        "slots": params.slots,
        "overlap": params.overlap,
    }
    network: dict[str, object] = {
        "engine": inference.engine,
        "model": str(file.path) if file else "",
        "engine_threads": params.engine_threads,
    }
    in_place = _Reading("memory", 1, reading.batch_size)
    ceilings = {"read": _read_point(params, dataset, reading)} if READERS[reading.reader].has_ceiling else {}
    ceilings["copy"] = Point("copy", where, _reading_job(params, dataset, in_place, {"work": "pipeline", **how}))
    if file is not None:
        job = _reading_job(params, dataset, in_place, {"work": "infer", **how, **network})
        ceilings["infer"] = Point("infer", where | names, job)
    job = _reading_job(params, dataset, reading, {"work": "pipeline", **how, **network})
    return Point("pipeline", {**where, **names, "reader": reading.reader, "threads": reading.threads}, job, ceilings)
