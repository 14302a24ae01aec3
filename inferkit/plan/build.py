"""From parameters to points: what will be measured, checked before anything runs."""

from math import prod

from inferkit.dataset.tensors import Dataset
from inferkit.errors import InferkitError, ParameterError
from inferkit.machine.facts import facts
from inferkit.machine.watched import watched
from inferkit.pipeline.batch_log import check_batch_log
from inferkit.plan.assumed import Assumed
from inferkit.plan.context import context_of
from inferkit.plan.copies import copy_points
from inferkit.plan.groups import placements
from inferkit.plan.memory import memory_of_host, memory_point
from inferkit.plan.pipelines import pipeline_points
from inferkit.plan.points import Plan
from inferkit.plan.reading import read_points
from inferkit.plan.reuse import with_earlier
from inferkit.plan.settings import of_one_process, of_ranks
from inferkit.records.bounds import COMBINATIONS, STARTS
from inferkit.records.groups import Parameters, Windows
from inferkit.records.params import Cluster, HostToDevice, MultiProcess, SingleProcess, StorageToHost
from inferkit.records.project import resolve
from inferkit.records.run import Failure

MULTIPLIED = (
    *("readers", "threads", "batch_sizes", "engines", "models", "precisions", "gpu_counts", "ranks"),
    *("transfer_bytes", "directions", "memories"),
)
"""Lists of which every combination is a point."""


def prepare(params: Parameters) -> Plan:
    """Plan a notebook's points; what cannot be planned is kept as the plan's failure, and becomes a record."""
    facts()  # once for the plan, which is made in a copy of this process, and for the records
    try:
        return watched(lambda _: plan(params))
    except InferkitError as error:
        return Plan(params, [], failure=Failure(kind=type(error).__name__, message=str(error)))


def plan(params: Parameters, *, pending: Dataset | None = None, assumed: Assumed | None = None) -> Plan:
    """Plan a notebook's points.

    Parameters
    ----------
    params
        The notebook's parameters.
    pending
        The data set that an earlier stage of the same run has yet to make: only its dtype and shape count.
    assumed
        Where this is a dry run: what is not here is assumed, and told there. None: it is refused.

    Raises
    ------
    InferkitError
        If it cannot run here, with the reason and the fix.
    """
    _refuse_too_many(params)
    if isinstance(params, Windows) and params.batch_log:
        check_batch_log(resolve(params.batch_log), elsewhere=assumed is not None)
    match params:
        case HostToDevice():
            return with_earlier(_copies(params, assumed))
        case StorageToHost():
            return with_earlier(_reads(params, pending, assumed))
        case Cluster():
            return Plan(params, [], pending)  # its nodes plan, once they have come
        case SingleProcess():
            return with_earlier(_pipelines(params, pending, assumed))
        case _:
            return Plan(params, [], pending)


def _refuse_too_many(params: Parameters) -> None:
    """Refuse lists whose product nobody would wait for, before anything is multiplied."""
    lists = {name: own for name in MULTIPLIED if len(own := getattr(params, name, ())) > 1}
    points = prod(map(len, lists.values()))
    ranks = getattr(params, "ranks", None) or [1]
    starts = points // len(ranks) * sum(ranks)
    if points > COMBINATIONS or starts > STARTS:
        told = " × ".join(f"{len(own)} {name}" for name, own in lists.items())
        message = (
            f"{', '.join(lists)}: {told} are {points:,} points, which start {starts:,} processes; at most "
            f"{COMBINATIONS:,} points and {STARTS:,} processes are planned: shorten a list"
        )
        raise ParameterError(message)


def _copies(params: HostToDevice, assumed: Assumed | None) -> Plan:
    points, remarks = copy_points(params, assumed)
    return Plan(params, [*points, memory_point(params)], remarks=remarks)


def _reads(params: StorageToHost, pending: Dataset | None, assumed: Assumed | None) -> Plan:
    context = context_of(params, pending, assumed)
    return Plan(params, list(read_points(context)), context.dataset)


def _pipelines(params: SingleProcess, pending: Dataset | None, assumed: Assumed | None) -> Plan:
    context = context_of(params, pending, assumed)
    plans = placements(params, context.dataset, assumed) if isinstance(params, MultiProcess) else []
    settings = of_ranks(params, plans) if isinstance(params, MultiProcess) else of_one_process(params, assumed)
    points, remarks = pipeline_points(context, settings)
    memory = memory_of_host(params)
    return Plan(params, points, context.dataset, placements=plans, remarks=remarks, memory=memory)
