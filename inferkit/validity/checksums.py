"""Whether what arrived is what the data set says."""

import numpy as np
import xxhash

from inferkit.batch import Batch
from inferkit.dataset.tensors import Dataset
from inferkit.devices.base import OWN, Bytes, Device, bytes_at
from inferkit.errors import ReadError


class Verifier:
    """Hashes the images of the first batches and compares them with the data set's sidecar.

    Parameters
    ----------
    dataset
        What the images are of; without a sidecar nothing can be checked, and ``images`` stays 0.
    batches
        How many batches to check.
    """

    def __init__(self, dataset: Dataset, batches: int) -> None:
        self._hashes = dataset.hashes() if batches else None
        self._dataset = dataset
        self.wanted = batches if self._hashes is not None else 0
        self.images = 0

    def check(self, batch: Batch, data: Bytes) -> None:
        """Compare a batch's bytes, as they lie behind one another, with the data set.

        Raises
        ------
        ReadError
            If an image's content is another than the one that the data set was made with.
        """
        assert self._hashes is not None
        self.wanted -= 1
        size = self._dataset.image_bytes
        view = data.data
        cursor = 0
        for segment in batch.segments:
            for image in range(segment.first, segment.first + segment.images):
                if xxhash.xxh3_64_intdigest(view[cursor : cursor + size]) != self._hashes[image]:
                    message = (
                        f"image {image} ({self._dataset.where(segment.file)}) did not arrive as it was made: "
                        "run `inferkit dataset verify` to see whether the file or the way is at fault"
                    )
                    raise ReadError(message)
                cursor += size
        self.images += batch.images


def gather(batch: Batch, device: Device) -> Bytes:
    """Return a batch's bytes, one segment behind another, wherever they lie: a GPU reads only its own memory back."""
    return np.concatenate(
        [
            device.read_back(segment, segment.nbytes)
            if segment.kind == OWN
            else bytes_at(segment.address, segment.nbytes)
            for segment in batch.segments
        ]
    )
