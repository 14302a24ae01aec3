"""The plans of ranks that notebook 03c compares: one for each number of GPUs and of processes."""

from collections.abc import Sequence
from pathlib import Path

from inferkit.dataset.staging_record import copy_for, read_record
from inferkit.dataset.tensors import Dataset
from inferkit.errors import ParameterError
from inferkit.linux.cgroups import affinity, cpus
from inferkit.machine.placement import place_ranks, spread
from inferkit.machine.placement_overrides import elsewhere, overridden, parsed
from inferkit.machine.topology import allowed_cores, topology
from inferkit.plan.assumed import Assumed
from inferkit.plan.devices import chosen_gpus, parents_of
from inferkit.records.params import MultiProcess
from inferkit.records.place import Placement, cpu_ranges
from inferkit.text import quoted

MOST_RANKS = 8
"""Ranks that ``auto`` goes up to where there is no GPU."""


def placements(params: MultiProcess, dataset: Dataset, assumed: Assumed | None = None) -> list[Placement]:
    """Plan the ranks for each number of GPUs and of processes that is asked for.

    Raises
    ------
    ParameterError
        If it cannot be done on this machine, or the data set is too small to be shared out.
    """
    machine, allowed = topology().with_instances(parents_of(params.gpus)), affinity()
    gpus = chosen_gpus(params.device, params.gpus, assumed)
    named, usable = machine, set(allowed)
    if assumed is not None:
        named, usable, lacking = elsewhere(params.placement, machine, allowed)
        assumed.told.extend(f"{key} {cpu_ranges(numbers)}, as placement names" for key, numbers in lacking.items())
    _refuse_cores(params.cores, len(allowed_cores(machine, allowed)), assumed)
    apart = spread(machine, gpus) if params.device == "cuda" else []
    plans = []
    for count in _gpu_counts(params, len(apart)):
        for ranks in params.ranks or _auto(count or min(MOST_RANKS, len(allowed_cores(machine, allowed)), cpus())):
            plan = place_ranks(machine, ranks, gpus=apart[:count], cpus=allowed, cores=params.cores)
            plan = overridden(plan, params.placement, named, usable)
            plans.append(_with_data(plan, dataset))
            most = max(len(place.gpus) for place in plan.places)
            _refuse_small(dataset, ranks, max(params.threads) * max(1, most))
    if params.ranks or assumed is None:  # else the server may have more GPUs, and so more ranks
        _refuse_strangers(params.placement, [plan.places[0].ranks for plan in plans])
    return plans


def _refuse_cores(cores: int, there: int, assumed: Assumed | None) -> None:
    if cores <= there:
        return
    if assumed is None:
        message = f"cores is {cores}, but there are {there} cores to use: lower it; 0 shares out all"
        raise ParameterError(message)
    assumed.told.append(f"{cores} cores for each process, of which {there} are here")


def _refuse_strangers(lines: Sequence[str], compared: Sequence[int]) -> None:
    """Refuse a line that changes none of the plans, which have so many ranks each: it names a rank of none of them."""
    for line in lines:
        wanted = parsed(line)
        if not any(wanted["rank"] < ranks == wanted.get("ranks", ranks) for ranks in compared):
            counts = ", ".join(map(str, sorted(set(compared))))
            message = (
                f"placement {quoted(line)}: there is no such rank: ranks compares {counts} processes, "
                "and the first is rank 0"
            )
            raise ParameterError(message)


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
            f"ranks, threads: {ranks} ranks with {threads} reader threads each cannot share out the {dataset.images} "
            f"images of {dataset.folder}: use fewer of them, or a larger data set"
        )
        raise ParameterError(message)


def _with_data(plan: Placement, dataset: Dataset) -> Placement:
    """Give each rank the staged copy on its node, where the data set is one."""
    if not isinstance(dataset.folder, Path):
        return plan
    folder = dataset.folder.parent
    record = read_record(folder)
    if record is None or dataset.folder.name not in {copy.name for copy in record.copies}:
        return plan
    places = (
        place if place.folder else place.model_copy(update={"folder": copy_for(folder, record, place.node, place.gpus)})
        for place in plan.places
    )
    return plan.model_copy(update={"places": tuple(places)})
