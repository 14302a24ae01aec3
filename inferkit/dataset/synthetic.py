"""Make a data set of random images. They need no source and cannot be compressed."""

from collections.abc import Generator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from inferkit.dataset.format import ShowProgress, open_dataset
from inferkit.dataset.journal import FinishedFile, sidecar_hex
from inferkit.dataset.make import MakeReport, make
from inferkit.dataset.manifest import MANIFEST_NAME, DType
from inferkit.dataset.pixels import DTYPES, image_hash
from inferkit.dataset.recipe import Recipe
from inferkit.dataset.target import dtype_of, shape_of, synthetic_folder, where
from inferkit.dataset.tensors import Dataset
from inferkit.dataset.writing import new_file
from inferkit.records.params import MakeDataset

SYNTHETIC_IMAGES = 1000
"""How many random images are made if the parameters do not say."""


def make_synthetic(params: MakeDataset, *, overwrite: bool = False, progress: ShowProgress | None = None) -> MakeReport:
    """Write random images; resume where an earlier run of the same recipe stopped.

    Parameters
    ----------
    params
        What to make, and where. How photographs are decoded does not matter, except for ``size``.
    overwrite, progress
        As in :func:`inferkit.dataset.images.make_from_images`.

    Raises
    ------
    DatasetError
        If the folder holds something else, or the storage refuses or has too little space.
    """
    recipe = Recipe(
        **where(params),
        dtype=dtype_of(params),
        shape=shape_of(params),
        count=params.limit or SYNTHETIC_IMAGES,
        images_per_file=params.images_per_file,
        facts={"source": "synthetic", "seed": params.seed},
    )
    return make(recipe, partial(_make_files, params.seed), overwrite=overwrite, progress=progress)


def make_default(dtype: DType, shape: tuple[int, ...]) -> Dataset:
    """Open the small synthetic set that ``data: ""`` stands for. Make it first if it does not exist."""
    folder = synthetic_folder(dtype, shape)
    if (folder / MANIFEST_NAME).exists():
        return open_dataset(folder, dtype=dtype, shape=shape)
    return make_synthetic(MakeDataset(dtype=dtype, shape=list(shape))).dataset


def random_image(seed: int, index: int, shape: tuple[int, ...], dtype: str) -> npt.NDArray[Any]:
    """Make image ``index``: uniform values 0 … 255 that depend on seed and index alone.

    These are raw words of PCG64, which NumPy keeps the same between versions (NEP 19), unlike Generator's methods.
    """
    count = int(np.prod(shape))
    words = np.random.PCG64(np.random.SeedSequence((seed, index))).random_raw(-(-count // 8))
    values = np.asarray(words, "<u8").view(np.uint8)[:count].reshape(shape)
    return values.astype(DTYPES[dtype], copy=False)


def _make_files(seed: int, recipe: Recipe, missing: list[int]) -> Generator[FinishedFile]:
    for index in missing:
        hashes = []
        with new_file(recipe.path(index), len(recipe.span(index)) * recipe.image_bytes) as file:
            for position in recipe.span(index):
                image = random_image(seed, position, recipe.shape, recipe.dtype)
                file.write(image.data)
                hashes.append(image_hash(image))
        yield FinishedFile(index=index, images=len(hashes), hashes=sidecar_hex(hashes))
