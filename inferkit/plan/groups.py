"""From the points of one process to those of several: the same work, shared out among pinned ranks."""

from collections.abc import Sequence
from dataclasses import replace

from inferkit.dataset.format import Dataset
from inferkit.dataset.staging_record import copy_for, read_record
from inferkit.errors import ParameterError
from inferkit.linux.cgroups import affinity
from inferkit.machine.placement import place_ranks, spread
from inferkit.machine.placement_overrides import overridden
from inferkit.machine.topology import allowed_cores, topology
from inferkit.plan.devices import with_readers_for
from inferkit.plan.points import Point
from inferkit.records.job import Job
from inferkit.records.params import MultiProcess
from inferkit.records.place import Place, Placement
from inferkit.records.run import Scalar

MOST_RANKS = 8
"""Ranks that ``auto`` goes up to where there is no GPU."""


def placements(params: MultiProcess, dataset: Dataset, gpus: Sequence[int]) -> list[Placement]:
    """Plan the ranks for each number of GPUs and of processes that is asked for.

    Parameters
    ----------
    gpus
        The GPUs to use; the CPU has none.

    Raises
    ------
    ParameterError
        If it cannot be done on this machine, or the data set is too small to be shared out.
    """
    machine, allowed = topology(), affinity()
    apart = spread(machine, gpus) if params.device == "cuda" else []
    plans = []
    for count in _gpu_counts(params, len(apart)):
        for ranks in params.ranks or _auto(count or min(MOST_RANKS, len(allowed_cores(machine, allowed)))):
            plan = place_ranks(machine, ranks, gpus=apart[:count], cpus=allowed, cores=params.cores)
            plan = overridden(plan, params.placement, machine, set(allowed))
            plans.append(_with_data(plan, dataset))
            _refuse_small(dataset, ranks, max(params.threads) * max(1, _most_gpus(plan)))
    return plans


def _gpu_counts(params: MultiProcess, there: int) -> list[int]:
    if not there:
        if params.gpu_counts:
            message = f"gpu_counts is {params.gpu_counts}, but device is cpu: leave it empty, or set device: cuda"
            raise ParameterError(message)
        return [0]
    if max(params.gpu_counts, default=0) > there:
        message = (
            f"gpu_counts is {params.gpu_counts}, but there are {there} GPUs to use: lower it, or name more in gpus"
        )
        raise ParameterError(message)
    return params.gpu_counts or _auto(there)


def _auto(most: int) -> list[int]:
    """Return 1, 2, 4 … and the most there can be."""
    powers = [1 << k for k in range(most.bit_length()) if 1 << k < most]
    return [*powers, most]


def _refuse_small(dataset: Dataset, ranks: int, threads: int) -> None:
    if dataset.described and dataset.files and dataset.images < ranks * threads:
        message = (
            f"{dataset.folder} has {dataset.images} images, which {ranks} ranks with {threads} reader threads each "
            "cannot share out: use fewer of them, or a larger data set"
        )
        raise ParameterError(message)


def _with_data(plan: Placement, dataset: Dataset) -> Placement:
    """Give each rank the staged copy on its node, where the data set is one."""
    folder = dataset.folder.parent
    record = read_record(folder)
    if record is None:
        return plan
    places = (
        place if place.folder else place.model_copy(update={"folder": copy_for(folder, record, place.node, place.gpus)})
        for place in plan.places
    )
    return plan.model_copy(update={"places": tuple(places)})


def several(points: Sequence[Point], plans: Sequence[Placement], *, cores: int) -> list[Point]:
    """Share out the points of one process among the ranks of each plan, their ceilings likewise.

    Parameters
    ----------
    points
        Ceilings before the points that refer to them.
    plans
        From :func:`placements`.
    cores
        Physical cores per rank; 0 where they are shared out.
    """
    found: list[Point] = []
    for plan in plans:
        made: dict[str, Point] = {}
        for point in points:
            ceilings = {stage: made[ceiling.key] for stage, ceiling in point.ceilings.items()}
            shared = with_readers_for(_most_gpus(plan), point.job)
            jobs = tuple(job_at(shared, place) for place in plan.places)
            axes = _axes(point.axes, plan, cores)
            made[point.key] = replace(point, axes=axes, job=jobs[0], jobs=jobs, ceilings=ceilings)
        found += made.values()
    return found


def _most_gpus(plan: Placement) -> int:
    """Return the GPUs of the rank that has most; all have readers for as many, so that each reads its share."""
    return max(len(place.gpus) for place in plan.places)


def _axes(axes: dict[str, Scalar], plan: Placement, cores: int) -> dict[str, Scalar]:
    gpus = len({gpu for place in plan.places for gpu in place.gpus})
    where: dict[str, Scalar] = {"device": axes["device"]} if "device" in axes else {}
    where |= {"gpus": gpus} if gpus else {}
    where |= {"ranks": len(plan.places)}
    where |= {"cores": cores * len(plan.places)} if cores else {}
    return where | {name: value for name, value in axes.items() if name not in {"device", "gpu"}}


def job_at(job: Job, place: Place) -> Job:
    """Return one rank's job; the rank sees its own GPUs alone, counted from 0."""
    numbers = tuple(range(len(place.gpus))) if place.gpus else job.gpus
    folder = place.folder if job.folder and place.folder else job.folder
    return job.model_copy(update={"place": place, "gpus": numbers, "folder": folder})
