"""The networks that parameters name, made for the images of a data set, and told to the points that infer them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from inferkit.dataset.tensors import Dataset
from inferkit.engines import engine_class
from inferkit.errors import ParameterError
from inferkit.models.agreement import top1_agreement
from inferkit.models.cache import ModelFile, model_path
from inferkit.models.precision import CALIBRATED
from inferkit.models.zoo import MODELS
from inferkit.records.params import SingleProcess, resolve

if TYPE_CHECKING:
    from inferkit.plan.points import Point

DEFAULT_SHAPE = (3, 224, 224)


@dataclass(frozen=True)
class Network:
    """A network of some precision, and the same of float32 that it is held against.

    Parameters
    ----------
    file, reference
        The same file where the precision is float32.
    dataset
        Whose images it takes.
    """

    file: ModelFile
    reference: ModelFile
    dataset: Dataset

    @property
    def top1_agreement(self) -> float | None:
        """Share of images on which both name the same class; None where there is nothing to compare.

        Raises
        ------
        ModelError
            When ONNX Runtime runs one of them not.
        """
        if self.file == self.reference or not self.file.output_shape:
            return None
        return top1_agreement(self.file, self.reference, self.dataset)


def network(params: SingleProcess, dataset: Dataset, model: str, precision: str) -> Network:
    """Make a network for the images of a data set.

    One that is calibrated on images of a data set that has yet to be made is float32 until then.

    Raises
    ------
    ModelError
        If it does not fit the images.
    """
    reference = _file(params, dataset, model, "float32")
    if precision == "float32" or (precision in CALIBRATED and not dataset.files):
        return Network(reference, reference, dataset)
    return Network(_file(params, dataset, model, precision), reference, dataset)


def _file(params: SingleProcess, dataset: Dataset, model: str, precision: str) -> ModelFile:
    if not model.endswith(".onnx"):
        return model_path(model, precision=precision, dtype=dataset.dtype, shape=dataset.shape, calibration=dataset)
    return model_path(
        str(resolve(model)),
        precision=precision,
        dtype=dataset.dtype,
        shape=dataset.shape,
        mean=params.mean or None,
        std=params.std or None,
        scale=params.scale,
        calibration=dataset,
    )


def shape_for(models: Sequence[str]) -> tuple[int, ...]:
    """Return the shape of images that are made for `models`: their own where all have the same, else the usual one."""
    shapes = {MODELS[name].input_shape if name in MODELS else DEFAULT_SHAPE for name in models}
    return shapes.pop() if len(shapes) == 1 else DEFAULT_SHAPE


def stem(model: str) -> str:
    """Return a model's name as points have it: of the zoo, or the file's without folder and suffix."""
    return Path(model).stem


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
        message = f"precisions: engine {point.job.engine} computes no {precision}: {lacking[precision]}"
        raise ParameterError(message)
    if (name, precision) not in made:
        made[name, precision] = network(params, dataset, name, precision)
    found = made[name, precision]
    file = {"model": str(found.file.path)}
    jobs = tuple(job.model_copy(update=file) for job in point.jobs)
    return replace(point, job=point.job.model_copy(update=file), jobs=jobs, network=found)
