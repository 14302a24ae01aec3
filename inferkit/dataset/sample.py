"""A few images out of a data set: to calibrate a network, to compare networks on images unseen, to look at hashes."""

from typing import Any

import numpy as np
import numpy.typing as npt

from inferkit.dataset.markers import MAX_BYTES
from inferkit.dataset.pixels import DTYPES
from inferkit.dataset.synthetic import random_image
from inferkit.dataset.tensors import Dataset
from inferkit.files import read_regular

SAMPLED = 64
"""Images in a sample, if the data set has at least twice as many."""


def sample(dataset: Dataset, *, held_out: bool = False) -> npt.NDArray[Any]:
    """Return images spread evenly over a data set.

    Parameters
    ----------
    dataset
        Its files are read. If it exists in memory alone, the images are random, as its reader's are.
    held_out
        Take the images half-way between those of the other sample. No image is in both, unless there is only one.

    Returns
    -------
    ndarray, shape (images, *shape)
        :data:`SAMPLED` of them, or half of the data set; of the data set's dtype.
    """
    return np.stack([_image(dataset, index) for index in sampled(dataset, held_out=held_out)])


def sampled(dataset: Dataset, *, held_out: bool = False) -> list[int]:
    """Return which images a sample takes."""
    count = min(SAMPLED, max(1, dataset.images // 2))
    step = dataset.images // count
    return [index * step + (step // 2 if held_out else 0) for index in range(count)]


def _image(dataset: Dataset, index: int) -> npt.NDArray[Any]:
    if dataset.in_memory:
        return random_image(0, index, dataset.shape, dataset.dtype)
    if dataset.encoded:
        return _decoded(dataset, index)
    image: npt.NDArray[Any] = dataset.read_images(index, 1)[0]
    return image


def _decoded(dataset: Dataset, index: int) -> npt.NDArray[Any]:
    """Decode a photograph; whether it is stretched or cropped makes no other kind of image of it."""
    from inferkit.dataset.decode import Decoder  # tensors must not wait for image libraries

    image = np.empty(dataset.shape, DTYPES[dataset.dtype])
    Decoder(dataset.shape[-1]).decode(read_regular(dataset.path(index), MAX_BYTES), image)
    return image
