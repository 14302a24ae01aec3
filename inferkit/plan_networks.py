"""From the names of networks in a plan's jobs to their files, made for the images of the data set."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from inferkit.dataset.tensors import Dataset
from inferkit.engines import engine_class
from inferkit.errors import ParameterError
from inferkit.models.chosen import Network, network
from inferkit.params import SingleProcess

if TYPE_CHECKING:
    from inferkit.points import Point


def with_networks(points: "Sequence[Point]", params: SingleProcess, dataset: Dataset) -> "list[Point]":
    """Make the networks that points name, and tell their jobs the files.

    Parameters
    ----------
    points
        Ceilings before the points that refer to them; their jobs hold names as the parameters do.

    Raises
    ------
    InferkitError
        If a network does not fit the images, or an engine has no such precision.
    """
    made: dict[tuple[str, str], Network] = {}
    finished: dict[str, Point] = {}
    for point in points:
        ceilings = {stage: finished[ceiling.key] for stage, ceiling in point.ceilings.items()}
        finished[point.key] = replace(_with_network(point, params, dataset, made), ceilings=ceilings)
    return list(finished.values())


def _with_network(
    point: "Point", params: SingleProcess, dataset: Dataset, made: dict[tuple[str, str], Network]
) -> "Point":
    if not point.job.model:
        return point
    name, precision = point.job.model, str(point.axes["precision"])
    lacking = engine_class(point.job.engine).lacks
    if precision in lacking:
        msg = f"precisions: engine {point.job.engine} computes no {precision}: {lacking[precision]}"
        raise ParameterError(msg)
    if (name, precision) not in made:
        made[name, precision] = network(params, dataset, name, precision)
    found = made[name, precision]
    file = {"model": str(found.file.path)}
    jobs = tuple(job.model_copy(update=file) for job in point.jobs)
    return replace(point, job=point.job.model_copy(update=file), jobs=jobs, network=found)
