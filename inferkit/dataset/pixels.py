"""The types of the pixels of tensor files, and the hash of an image."""

from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

DTYPES: dict[str, np.dtype[Any]] = {"uint8": np.dtype("u1"), "float32": np.dtype("<f4")}


def image_hash(image: bytes | bytearray | memoryview | npt.NDArray[Any]) -> int:
    """Return the xxh3-64 of one image's bytes, as in the sidecar. An array must be contiguous."""
    return xxhash.xxh3_64_intdigest(image.data if isinstance(image, np.ndarray) else image)
