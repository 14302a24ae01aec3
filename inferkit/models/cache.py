"""Models on disk: each is built, adapted and converted once, then found again by everything that shaped it."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import xxhash

from inferkit.dataset.sample import sample
from inferkit.dataset.tensors import Dataset
from inferkit.errors import ModelError
from inferkit.files import cache_folder
from inferkit.models.apart import Asked, adapted_apart
from inferkit.models.model_file import ModelFile, find, store
from inferkit.models.onnx_file import digest_of
from inferkit.models.precision import CALIBRATED, check_precision, convert
from inferkit.models.preprocessing import Preprocessing
from inferkit.models.probe import Probe
from inferkit.models.quantize import Images
from inferkit.models.zoo import find_model
from inferkit.text import plain

_ZOO = "zoo:"
"""Begins the source of a network of the zoo; its name follows."""


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
        path = _place(info.name, options)
        return find(path) or _convert(path, _ZOO + info.name, build, precision, images)
    return _users(Path(name_or_path).expanduser(), options, wanted, dtype, shape, precision, images)


def _users(
    given: Path,
    options: dict[str, object],
    wanted: Preprocessing,
    dtype: str,
    shape: tuple[int, ...] | None,
    precision: str,
    images: Images | None,
) -> ModelFile:
    """Return the file of a user's network: adapted to the images, then converted to the precision."""
    options |= {"source": digest_of(given), "preprocessing": asdict(wanted)}
    path = _place(given.stem, options)
    if found := find(path):
        return found
    if precision == "float32":
        return adapted_apart(Asked(given, path, str(options["source"]), dtype, shape, wanted))
    plain = _place(given.stem, options | {"precision": "float32", "calibration": None})
    ours = find(plain) or adapted_apart(Asked(given, plain, str(options["source"]), dtype, shape, wanted))
    return _convert(path, ours.source, partial(onnx.load, ours.path), precision, images, ours.lacking)


def _convert(
    path: Path,
    source: str,
    build: Callable[[], onnx.ModelProto],
    precision: str,
    images: Images | None,
    lacking: str = "",
) -> ModelFile:
    model = convert(build(), precision, images)
    output = model.graph.output[0].type.tensor_type.shape.dim[1:]
    return store(path, model, source, precision, Probe(tuple(dim.dim_value for dim in output), lacking))


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


def _place(name: str, options: dict[str, object]) -> Path:
    key = xxhash.xxh3_128_hexdigest(json.dumps(options, sort_keys=True).encode())
    shown = plain(name).encode()[:80].decode(errors="ignore")  # a file's name has 255 bytes at the most
    return cache_folder("models") / f"{shown}-{options['precision']}-{key}.onnx"
