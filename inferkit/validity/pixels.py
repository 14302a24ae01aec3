"""Whether a device decodes photographs to what stage 01 makes of them."""

from collections import defaultdict
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from inferkit.batch import Piece
from inferkit.dataset.baseline import subsampling
from inferkit.devices.base import Device, Slot
from inferkit.errors import ReadError
from inferkit.readers.base import EncodedReader
from inferkit.records.figures import Json
from inferkit.validity.outputs import copy_to_slot, spread

FAR = 6.0
"""Mean difference of an image from stage 01's, of 255, above which it is another image.

A choice, not a limit that was measured: 256 photographs (4:2:0) on an H100 differed by less than 0.000001 in the mean
and by 1 at the most; smooth pictures of other subsampling by less than 3 (tests/gpu/test_nvjpeg.py).
"""

MOST = 256
"""Photographs that are compared at the most: a CPU decodes them in a third of a second."""


class Difference(NamedTuple):
    """Of one image from stage 01's, of 255."""

    subsampling: str
    mean: float
    largest: int


def compare_pixels(device: Device, reader: EncodedReader, slot: Slot, batches: int, batch_size: int) -> dict[str, Json]:
    """Decode photographs from all over the data set on the device, and by stage 01's decoder, and compare.

    Parameters
    ----------
    batches, batch_size
        How many are compared: so many batches, but no more than :data:`MOST` photographs.

    Returns
    -------
    facts
        By chroma subsampling: images, and the mean and largest difference, of 255.

    Raises
    ------
    ReadError
        If an image is another than stage 01's: with the file.
    """
    found: dict[str, list[Difference]] = defaultdict(list)
    pieces = spread(reader, min(MOST, batches * batch_size, len(reader.dataset.files)))  # none twice
    for first in range(0, len(pieces), batch_size):
        part = pieces[first : first + batch_size]
        there = copy_to_slot(device, reader, slot, part).reshape(len(part), *reader.dataset.shape)
        for piece, image in zip(part, there, strict=True):
            own = _compared(reader, piece, image)
            found[own.subsampling].append(own)
    return {
        "pixels": {
            kind: {
                "images": len(own),
                "mean": sum(image.mean for image in own) / len(own),
                "largest": max(image.largest for image in own),
            }
            for kind, own in found.items()
        }
    }


def _compared(reader: EncodedReader, piece: Piece, image: NDArray[np.uint8]) -> Difference:
    data = reader.dataset.path(piece.file).read_bytes()
    expected = np.empty(reader.dataset.shape, np.uint8)
    reader.decode_one(data, piece.file, expected)
    difference = np.abs(image.astype(np.int16) - expected)
    if difference.mean() > FAR:
        message = (
            f"{reader.dataset.path(piece.file)}: the device decodes it to another image than stage 01 (mean difference "
            f"{difference.mean():.1f} of 255): leave it out, or use reader jpeg"
        )
        raise ReadError(message)
    return Difference(subsampling(data), float(difference.mean()), int(difference.max()))
