"""Make a data set of random images: no source is needed and no image compresses."""

from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from inferkit.dataset.format import open_dataset
from inferkit.dataset.job import Job, at_least
from inferkit.dataset.journal import Part, sidecar_hex
from inferkit.dataset.make import MakeReport, Progress, make
from inferkit.dataset.manifest import MANIFEST_NAME, DType
from inferkit.dataset.tensors import DTYPES, Dataset, image_hash
from inferkit.dataset.writing import new_file
from inferkit.errors import ParameterError
from inferkit.records.params import MakeDataset, project_root

SYNTHETIC_IMAGES = 1000
"""Random images that are made where nobody says how many."""


def make_synthetic(
    out: Path,
    *,
    images: int,
    size: int = 224,
    shape: tuple[int, ...] | None = None,
    dtype: DType = "uint8",
    images_per_file: int = 1000,
    seed: int = 0,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> MakeReport:
    """Write random images; resume where an earlier run of the same job stopped.

    Parameters
    ----------
    out
        Folder to make.
    images
        How many.
    size
        Height and width of RGB images in pixels.
    shape
        Of one image, in place of (3, size, size): for networks whose input is no photograph.
    dtype
        ``uint8``, or ``float32`` with the same values 0 … 255.
    images_per_file
        Images per tensor file.
    seed
        Not negative.
    overwrite, progress
        As in :func:`inferkit.dataset.images.make_from_images`.

    Raises
    ------
    ParameterError
        If a parameter makes no sense.
    DatasetError
        If the folder holds something else, or the storage refuses or has too little space.
    """
    for name, value, lowest in (("images", images, 1), ("size", size, 1), ("seed", seed, 0)):
        at_least(name, value, lowest)
    shape = (3, size, size) if shape is None else tuple(shape)
    if not shape or min(shape) < 1:
        message = f"shape is {shape}; it must be at least one positive length, such as (1, 28, 28)"
        raise ParameterError(message)
    facts = {"source": "synthetic", "seed": seed}
    job = Job(folder=out, dtype=dtype, shape=shape, count=images, images_per_file=images_per_file, facts=facts)
    return make(job, partial(_make_parts, job, seed), overwrite=overwrite, progress=progress)


def synthetic_folder(dtype: str, shape: tuple[int, ...]) -> Path:
    """Return where random images lie that no parameter gives a folder."""
    return project_root() / "data" / f"synthetic-{dtype}-{'x'.join(map(str, shape))}"


def make_default(dtype: DType, shape: tuple[int, ...]) -> Dataset:
    """Open the small synthetic set that ``data: ""`` stands for; make it if it is not there."""
    folder = synthetic_folder(dtype, shape)
    if (folder / MANIFEST_NAME).exists():
        return open_dataset(folder, dtype=dtype, shape=shape)
    per_file = MakeDataset.model_fields["images_per_file"].default
    report = make_synthetic(folder, images=SYNTHETIC_IMAGES, shape=shape, dtype=dtype, images_per_file=per_file)
    return report.dataset


def random_image(seed: int, index: int, shape: tuple[int, ...], dtype: str) -> npt.NDArray[Any]:
    """Make image ``index``: uniform values 0 … 255 that depend on seed and index alone.

    Raw words of PCG64 are used, which NumPy keeps the same between versions (NEP 19), unlike Generator's methods.
    """
    count = int(np.prod(shape))
    words = np.random.PCG64(np.random.SeedSequence((seed, index))).random_raw(-(-count // 8))
    values = np.asarray(words, "<u8").view(np.uint8)[:count].reshape(shape)
    return values.astype(DTYPES[dtype], copy=False)


def _make_parts(job: Job, seed: int, missing: list[int]) -> Generator[Part]:
    for index in missing:
        hashes = []
        with new_file(job.path(index), len(job.span(index)) * job.image_bytes) as file:
            for position in job.span(index):
                image = random_image(seed, position, job.shape, job.dtype)
                file.write(image.data)
                hashes.append(image_hash(image))
        yield Part(index=index, images=len(hashes), hashes=sidecar_hex(hashes))
