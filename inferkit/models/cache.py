"""Models on disk: each is built, adapted and converted once, then found again by everything that shaped it."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import xxhash

from inferkit.dataset.sample import sample
from inferkit.dataset.tensors import Dataset
from inferkit.errors import ModelError
from inferkit.files import cache_folder, write_whole
from inferkit.linux.ownership import may_be_trusted
from inferkit.models.adapt import adapt, files_of, load_model
from inferkit.models.batching import run_shapes
from inferkit.models.precision import CALIBRATED, check_precision, convert
from inferkit.models.preprocessing import Preprocessing
from inferkit.models.quantize import Images
from inferkit.models.zoo import find_model

_DTYPES = {onnx.TensorProto.UINT8: "uint8", onnx.TensorProto.FLOAT: "float32"}


@dataclass(frozen=True)
class ModelFile:
    """A model ready for an engine: one ONNX file without external data.

    Parameters
    ----------
    path
        The file in the cache.
    name
        The model's name in the zoo, or the stem of the user's file.
    digest
        xxh3-128 of the file, as 32 hexadecimal digits.
    input_name, input_dtype
        Name and dtype of the only input: ``"uint8"`` or ``"float32"``.
    input_shape
        (channels, height, width).
    output_shape
        Shape of the first output, without the batch.
    precision
        The precision that it computes in.
    batch
        Images in a batch if the graph fixes them; None if it takes any number.
    """

    path: Path
    name: str
    digest: str
    input_name: str
    input_dtype: str
    input_shape: tuple[int, int, int]
    output_shape: tuple[int, ...]
    precision: str
    batch: int | None = None


def model_path(
    name_or_path: str,
    *,
    precision: str = "float32",
    dtype: str = "uint8",
    shape: tuple[int, ...] | None = None,
    mean: Sequence[float] | float | None = None,
    std: Sequence[float] | float | None = None,
    scale: float | None = None,
    layout: str | None = None,
    seed: int = 0,
    calibration: Images | Dataset | None = None,
) -> ModelFile:
    """Return the file of a model; it is built or adapted now unless the cache has it.

    Files lie in ``$XDG_CACHE_HOME/inferkit/models`` (default ``~/.cache``). A damaged one is made again.

    Parameters
    ----------
    name_or_path
        A name of the zoo, or the path of a user's ``.onnx`` file.
    precision
        One of :data:`inferkit.models.precision.PRECISIONS`.
    dtype
        Of the images: ``"uint8"`` or ``"float32"``, both 0..255.
    shape
        (channels, height, width) of the images; None takes the model's own.
    mean, std, scale, layout
        What a user's network expects, see :class:`inferkit.models.preprocessing.Preprocessing`.
    seed
        Of the zoo's weights.
    calibration
        Images, or a data set to take them from: precisions in :data:`inferkit.models.precision.CALIBRATED` need them.

    Raises
    ------
    ModelError
        If the model is unknown, or does not fit the images, the precision or the options.
    """
    check_precision(precision)
    wanted = Preprocessing(mean=mean, std=std, scale=scale, layout=layout)
    images = _images(calibration, dtype) if precision in CALIBRATED else None
    seen = None if images is None else xxhash.xxh3_128_hexdigest(np.ascontiguousarray(images).data)
    options: dict[str, object] = {"precision": precision, "calibration": seen, "dtype": dtype}
    options |= {"shape": shape and list(shape), "versions": _versions()}
    if not _is_path(name_or_path):
        if wanted != Preprocessing():
            message = f"zoo model {name_or_path!r} normalises pixels itself: leave out mean, std, scale and layout"
            raise ModelError(message)
        info = find_model(name_or_path)
        options |= {"name": info.name, "seed": seed}
        build = partial(info.build, dtype=dtype, shape=shape, seed=seed)
        return _cached(info.name, options, lambda: convert(build(), precision, images))
    path = Path(name_or_path).expanduser()
    options |= {"files": [_digest(file) for file in files_of(path)], "preprocessing": asdict(wanted)}
    build = partial(adapt, dtype=dtype, shape=shape, preprocessing=wanted)
    return _cached(path.stem, options, lambda: convert(build(load_model(path)), precision, images))


def _images(calibration: Images | Dataset | None, dtype: str) -> Images | None:
    images = sample(calibration) if isinstance(calibration, Dataset) else calibration
    if images is not None and images.dtype != dtype:
        message = f"images for calibration are {images.dtype}, the network is to take {dtype}: give such images"
        raise ModelError(message)
    return images


def _is_path(name_or_path: str) -> bool:
    return name_or_path.endswith(".onnx") or os.sep in name_or_path


@cache
def _versions() -> dict[str, str]:
    """Return what shapes a model besides its options: the code of this package and the libraries that it calls."""
    code = xxhash.xxh3_128()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        code.update(source.read_bytes())
    return {"code": code.hexdigest(), **{library: version(library) for library in ("onnx", "onnxruntime", "spox")}}


def _digest(path: Path) -> str:
    digest = xxhash.xxh3_128()
    try:
        with path.open("rb") as file:
            while block := file.read(2**22):
                digest.update(block)
    except OSError as error:
        message = f"{path}: cannot be read ({error.strerror}); a model's external data must lie beside it"
        raise ModelError(message) from error
    return digest.hexdigest()


def _cached(name: str, options: dict[str, object], make: Callable[[], onnx.ModelProto]) -> ModelFile:
    key = xxhash.xxh3_128_hexdigest(json.dumps(options, sort_keys=True).encode())
    precision = str(options["precision"])
    path = cache_folder("models") / f"{name[:80]}-{precision}-{key}.onnx"
    return _find(path) or _store(path, name, precision, make())


def _find(path: Path) -> ModelFile | None:
    """Return the file at `path` if it is there, undamaged, and this user's alone."""
    facts = path.with_suffix(".json")
    if not all(file.is_file() and may_be_trusted(file.stat()) for file in (path, facts)):
        return None
    try:
        known = json.loads(facts.read_text())
    except ValueError:  # damaged: made again
        return None
    return _model_file(path, known) if known["digest"] == _digest(path) else None


def _store(path: Path, name: str, precision: str, model: onnx.ModelProto) -> ModelFile:
    """Write the model, then what is known about it; each file appears whole or not at all."""
    content = model.SerializeToString(deterministic=True)
    image = model.graph.input[0]
    batch, *shape = (dim.dim_value or None for dim in image.type.tensor_type.shape.dim)
    facts = {
        "name": name,
        "digest": xxhash.xxh3_128_hexdigest(content),
        "input_name": image.name,
        "input_dtype": _DTYPES[image.type.tensor_type.elem_type],
        "input_shape": shape,
        "output_shape": _output_shape(model, batch),
        "precision": precision,
        "batch": batch,
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content, mode=0o600)
        write_whole(path.with_suffix(".json"), json.dumps(facts).encode(), mode=0o600)
    except OSError as error:
        message = (
            f"{path}: cannot be written ({error.strerror}); free space there or set XDG_CACHE_HOME to another folder"
        )
        raise ModelError(message) from error
    return _model_file(path, facts)


def _model_file(path: Path, facts: dict[str, Any]) -> ModelFile:
    shapes = {field: tuple(facts[field]) for field in ("input_shape", "output_shape")}
    return ModelFile(**(facts | shapes | {"path": path}))


def _output_shape(model: onnx.ModelProto, batch: int | None) -> list[int]:
    """Take the first output's shape from the graph or, if the graph leaves it open, from a run on black images."""
    dims = [dim.dim_value for dim in model.graph.output[0].type.tensor_type.shape.dim][1:]
    return dims if dims and all(dims) else list(run_shapes(model, batch=batch or 1)[0][1:])
