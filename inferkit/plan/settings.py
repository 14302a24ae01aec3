"""Settings: which processes and devices do a point's work. Notebook 03b has one process, 03c has plans of ranks."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from inferkit.errors import ParameterError
from inferkit.plan.assumed import Assumed
from inferkit.plan.devices import chosen_gpus, device_axes, place_of_instance
from inferkit.readers import reader_class
from inferkit.records.figures import Scalar
from inferkit.records.job import DeviceOptions, Job, PipelineJob, ReadJob, ReadOptions
from inferkit.records.params import MultiProcess, SingleProcess
from inferkit.records.place import Place, Placement


@dataclass(frozen=True)
class Setting:
    """The processes that do a point's work, and the devices that they feed.

    Parameters
    ----------
    device
        The devices of one process.
    axes
        How points tell the setting.
    places
        Of the ranks that work together; empty: one process that is not bound.
    """

    device: DeviceOptions
    axes: dict[str, Scalar] = field(default_factory=dict)
    places: tuple[Place, ...] = ()

    @property
    def gpus(self) -> int:
        """GPUs that one process feeds: of ranks, those of the one with most, so that each reads its share."""
        most = max((len(place.gpus) for place in self.places), default=len(self.device.numbers))
        return max(1, most)

    @property
    def reading_axes(self) -> dict[str, Scalar]:
        """How points that only read tell the setting: devices make no difference to them, ranks do."""
        return {name: value for name, value in self.axes.items() if name not in {"device", "gpu"}}

    def jobs(self, job: Job) -> tuple[Job, ...]:
        """Return what each process is told to do."""
        return tuple(job_at(job, place) for place in self.places) or (job,)


def job_at(job: Job, place: Place) -> Job:
    """Return one rank's job: it sees its own GPUs alone, counted from 0, and reads its own copy of the tensors."""
    changes: dict[str, object] = {"place": place}
    if job.device is not None and place.gpus:
        changes["device"] = job.device.changed(numbers=tuple(range(len(place.gpus))))
    if isinstance(job, ReadJob | PipelineJob) and place.folder and _reads_tensors(job.reading):
        changes["reading"] = job.reading.changed(folder=place.folder)
    return job.changed(**changes)


def _reads_tensors(reading: ReadOptions) -> bool:
    capabilities = reader_class(reading.reader).capabilities
    return capabilities.has_files and not capabilities.decodes


def of_one_process(params: SingleProcess, assumed: Assumed | None = None) -> list[Setting]:
    """Return a setting for each number of GPUs that one process is to use at once.

    Raises
    ------
    ParameterError
        If there are not so many.
    """
    gpus = chosen_gpus(params.device, params.gpus, assumed)
    if params.gpu_counts and (params.device == "cpu" or max(params.gpu_counts) > len(gpus)):
        there = "device is cpu" if params.device == "cpu" else f"there are {len(gpus)} GPUs to use"
        message = f"gpu_counts is {params.gpu_counts}, but {there}: lower it, or leave it empty"
        raise ParameterError(message)
    sets = [gpus[:count] for count in params.gpu_counts] or [gpus]
    return [_of_devices(params.device, own) for own in sets]


def _of_devices(kind: str, gpus: Sequence[int | str]) -> Setting:
    axes = device_axes(kind, gpus)
    numbers = tuple(gpu for gpu in gpus if isinstance(gpu, int))
    if len(numbers) == len(gpus):
        return Setting(DeviceOptions(kind=kind, numbers=numbers), axes)
    return Setting(DeviceOptions(kind=kind), axes, (place_of_instance(gpus),))


def of_ranks(params: MultiProcess, placements: Sequence[Placement]) -> list[Setting]:
    """Return a setting for each plan of ranks, from :func:`inferkit.plan.groups.placements`."""
    device = DeviceOptions(kind=params.device)
    return [Setting(device, _axes(params.device, plan, params.cores), plan.places) for plan in placements]


def _axes(kind: str, plan: Placement, cores: int) -> dict[str, Scalar]:
    gpus = len({gpu for place in plan.places for gpu in place.gpus})
    axes: dict[str, Scalar] = {"device": kind}
    axes |= {"gpus": gpus} if gpus else {}
    axes |= {"ranks": len(plan.places)}
    return axes | ({"cores": cores * len(plan.places)} if cores else {})
