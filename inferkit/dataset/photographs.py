"""Real photographs without a download: crops of the photographs that scikit-image ships."""

import random
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg

from inferkit.dataset.writing import new_file
from inferkit.errors import DatasetError, ParameterError

# The colour photographs in scikit-image's wheel. The rest are downloads, drawings, masks or text.
_PHOTOGRAPHS = (
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "motorcycle_left.png",
    "motorcycle_right.png",
    "retina.jpg",
    "rocket.jpg",
)

# Width and height of the commonest photographs in ImageNet; their longer side is 500.
_SIZES = ((500, 375), (500, 375), (500, 375), (375, 500), (500, 333), (333, 500), (500, 400), (500, 500))


def make_photographs(folder: Path, *, count: int = 400, seed: int = 0) -> int:
    """Write distinct JPEG photographs of ImageNet-like sizes: random crops, half of them mirrored.

    Photographs that are there are kept, so an interrupted run is completed.

    Parameters
    ----------
    folder
        Where to write them; it must hold no other JPEG files.
    count
        How many.
    seed
        Photograph i depends on seed and i alone.

    Returns
    -------
    int
        How many were written now: 0 if all were there.

    Raises
    ------
    ParameterError
        If count is not positive, seed is negative, or scikit-image is not installed.
    DatasetError
        If the folder holds other JPEG files, or the storage refuses.
    """
    _check(count, seed)
    names = [f"photograph-{seed}-{index:05d}.jpg" for index in range(count)]
    present = {path.name for path in folder.glob("*.[jJ][pP]*[gG]")}
    if others := present.difference(names):
        message = (
            f"{folder / min(others)} is none of the {count} photographs of seed {seed} ({len(others)} such). "
            "Take another folder, or remove them."
        )
        raise DatasetError(message)
    missing = [index for index, name in enumerate(names) if name not in present]
    originals = _load_originals() if missing else []
    folder.mkdir(parents=True, exist_ok=True)
    for index in missing:
        content = _photograph(originals, random.Random(f"{seed} {index}"))
        with new_file(folder / names[index], len(content)) as file:
            file.write(content)
    return len(missing)


def _check(count: int, seed: int) -> None:
    if count < 1 or seed < 0:
        message = f"count is {count}, which must be at least 1; seed is {seed}, which must be at least 0"
        raise ParameterError(message)


def _load_originals() -> list[npt.NDArray[np.uint8]]:
    spec = find_spec("skimage")  # finds it without its slow import
    folders = [Path(place) / "data" for place in (spec.submodule_search_locations or [])] if spec else []
    paths = [path for folder in folders for name in _PHOTOGRAPHS if (path := folder / name).is_file()]
    if not paths:
        message = "sample photographs need scikit-image, which is not installed: pip install 'inferkit[demo]'"
        raise ParameterError(message)
    return [_load(path) for path in paths]


def _load(path: Path) -> npt.NDArray[np.uint8]:
    pixels: Any = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if pixels is None:
        message = f"{path} cannot be decoded. Install scikit-image again: pip install --force-reinstall scikit-image"
        raise DatasetError(message)
    return np.asarray(pixels, np.uint8)


def _photograph(originals: list[npt.NDArray[np.uint8]], chance: random.Random) -> bytes:
    """Crop 60 to 100 % of the largest rectangle of the wanted proportions, scale it, and encode it as JPEG."""
    original = chance.choice(originals)
    width, height = chance.choice(_SIZES)
    scale = chance.uniform(0.6, 1.0) * min(original.shape[0] / height, original.shape[1] / width)
    rows, columns = int(height * scale), int(width * scale)
    top, left = chance.randint(0, original.shape[0] - rows), chance.randint(0, original.shape[1] - columns)
    crop = original[top : top + rows, left : left + columns]
    if chance.random() < 0.5:
        crop = crop[:, ::-1]
    # Area averaging when it shrinks: the crop is as sharp as a photograph of that size, and not aliased.
    pixels = cv2.resize(np.ascontiguousarray(crop), (width, height), interpolation=_interpolation(scale))
    return bytes(simplejpeg.encode_jpeg(pixels, quality=90, colorspace="BGR", colorsubsampling="420"))


def _interpolation(scale: float) -> int:
    return cv2.INTER_AREA if scale > 1 else cv2.INTER_CUBIC
