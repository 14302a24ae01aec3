"""The networks that parameters name, made for the images of a data set.

The rooms that make them are entered when a network is asked for: ONNX and its builder take half a second to import,
and most plans need none.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import xxhash

from inferkit.dataset.tensors import Dataset
from inferkit.engines.plan_file import PLAN, plan_content
from inferkit.errors import ModelError, ParameterError
from inferkit.plan.assumed import Assumed, engine_traits
from inferkit.records.params import SingleProcess
from inferkit.records.project import resolve
from inferkit.text import plain

if TYPE_CHECKING:
    from inferkit.models.agreement import NetworkPair
    from inferkit.models.model_file import ModelFile

DEFAULT_SHAPE = (3, 224, 224)
SUFFIX = ".onnx"
"""Of users' networks; other names, but those of plans, are of the zoo."""


class Networks:
    """Makes each network once, for the images of a data set.

    Parameters
    ----------
    params
        How users' models take their images.
    dataset
        What the images are, and what networks are calibrated on.
    assumed
        What a dry run assumes: users' networks that are not here.
    """

    def __init__(self, params: SingleProcess, dataset: Dataset, assumed: Assumed | None = None) -> None:
        self._params = params
        self._dataset = dataset
        self._assumed = assumed
        self._made: dict[tuple[str, str], NetworkPair] = {}

    def get(self, engine: str, model: str, precision: str) -> "NetworkPair | None":
        """Return the network that an engine is to infer; None where it infers nothing.

        One that is calibrated on images of a data set that has yet to be made is float32 until then.

        Raises
        ------
        ParameterError
            If the engine has no such precision.
        ModelError, EngineError
            If the network does not fit the images, the engine has not what it takes, or a plan cannot be read.
        """
        if not model:
            return None
        lacking = engine_traits(engine, self._assumed).lacks
        if precision in lacking:
            message = f"precisions: engine {engine} computes no {precision}: {lacking[precision]}"
            raise ParameterError(message)
        if is_plan(model) and not engine_traits(engine, self._assumed).runs_plans:
            message = (
                f"models: {place(model)} is a plan, which engine tensorrt runs and engine {engine} does not: name no "
                "other engine, or let a rule of grid skip it there"
            )
            raise ParameterError(message)
        if (model, precision) not in self._made:
            self._made[model, precision] = self._make(model, precision)
        made = self._made[model, precision]
        if made.file.lacking and engine_traits(engine, self._assumed).is_reference:
            message = f"{place(model)}: {made.file.lacking}"
            raise ModelError(message)
        return made

    def _make(self, model: str, precision: str) -> "NetworkPair":
        from inferkit.models.agreement import NetworkPair
        from inferkit.models.precision import CALIBRATED

        if self._assumed is not None and is_users(model) and not resolve(model).exists():
            self._assumed.told.append(f"network {resolve(model)}, which takes such images")
            return self._alone(_unknown(resolve(model)))
        if is_plan(model):
            return self._alone(_unknown(resolve(model), xxhash.xxh3_128_hexdigest(plan_content(resolve(model)))))
        reference = _file(self._params, self._dataset, model, "float32")
        if precision == "float32" or (precision in CALIBRATED and not self._dataset.files):
            return NetworkPair(reference, reference, self._dataset)
        return NetworkPair(_file(self._params, self._dataset, model, precision), reference, self._dataset)

    def _alone(self, file: "ModelFile") -> "NetworkPair":
        """Pair a network with itself: there is nothing else to hold it against."""
        from inferkit.models.agreement import NetworkPair

        return NetworkPair(file, file, self._dataset)


def _file(params: SingleProcess, dataset: Dataset, model: str, precision: str) -> "ModelFile":
    from inferkit.models.cache import model_path

    if not model.endswith(SUFFIX):
        return model_path(model, precision=precision, dtype=dataset.dtype, shape=dataset.shape, calibration=dataset)
    return model_path(
        str(resolve(model)),
        precision=precision,
        dtype=dataset.dtype,
        shape=dataset.shape,
        mean=params.mean or None,
        std=params.std or None,
        scale=params.scale,
        layout=params.layout or None,
        calibration=dataset,
    )


def _unknown(path: Path, digest: str = "") -> "ModelFile":
    """Stand for a network of which nothing is known but its name and, of a plan, its content."""
    from inferkit.models.model_file import ModelFile

    return ModelFile(
        path=path,
        source=digest,
        digest=digest,
        input_name="",
        input_dtype="",
        input_shape=(0, 0, 0),
        output_shape=(),
        precision="",
    )


def is_plan(model: str) -> bool:
    """Tell whether a model is a plan of TensorRT's: it infers in what it was built for, and is held against nothing."""
    return model.endswith(PLAN)


def is_users(model: str) -> bool:
    """Tell whether a model is a file of the user's; others are of the zoo."""
    return model.endswith((SUFFIX, PLAN))


def shape_for(models: Sequence[str]) -> tuple[int, ...]:
    """Return the shape of images that are made for `models`: their own where all have the same, else the usual one."""
    if not models:
        return DEFAULT_SHAPE
    from inferkit.models.zoo import MODELS

    shapes = {MODELS[name].input_shape if name in MODELS else DEFAULT_SHAPE for name in models}
    return shapes.pop() if len(shapes) == 1 else DEFAULT_SHAPE


def stem(model: str) -> str:
    """Return a model's own name: of the zoo, or the file's without folder and suffix; a plan keeps its suffix."""
    return plain(Path(model).name.removesuffix(SUFFIX))


def distinct(models: Sequence[str]) -> list[str]:
    """Return models without those that are files named before, by a link or by another way there."""
    found: dict[str, str] = {}
    for model in models:
        found.setdefault(os.path.realpath(place(model)) if is_users(model) else model, model)
    return list(found.values())


def labels_of(models: Sequence[str]) -> dict[str, str]:
    """Return how points call each model: by its own name, with as many of its folders as tell files apart."""
    places = {model: Path(place(model)).parts if is_users(model) else (model,) for model in models}
    return {model: _apart(own, [other for other in places.values() if other != own]) for model, own in places.items()}


def _apart(own: tuple[str, ...], others: Sequence[tuple[str, ...]]) -> str:
    """Return the end of a path, as long as no other path has the same."""

    def end(parts: tuple[str, ...], count: int) -> str:
        return stem("/".join(parts[-count:])) if count == 1 else "/".join((*parts[-count:-1], stem(parts[-1])))

    counts = range(1, len(own) + 1)
    least = next((k for k in counts if all(end(own, k) != end(other, k) for other in others)), len(own))
    return plain(end(own, least))


def aliases(model: str) -> frozenset[str]:
    """Return the names under which rules may mean a model, besides its label."""
    return frozenset({stem(model), place(model)})


def place(model: str) -> str:
    """Return where a user's model lies, however its path was written; of the zoo, its name."""
    return os.path.normpath(resolve(model)) if is_users(model) else model
