"""Read nothing and store nothing: random images that always lie in host memory (the synthetic case)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from inferkit.batch import Piece, Segment
from inferkit.dataset.tensors import IN_MEMORY, Dataset, TensorFile
from inferkit.devices.base import HostMemory
from inferkit.objects.place import Folder
from inferkit.readers.base import Allocator, Capabilities, Reader

STRIDE = 2**20
"""Bytes that are made at a time: they stay in the cache until they are where they belong."""
SYNTHETIC_BYTES = 256 * 2**20
"""Enough that no CPU cache holds the images."""


def in_memory(shape: tuple[int, ...], dtype: str, *, images: int = 0) -> Dataset:
    """Describe a data set that exists in memory alone: one 'file' of random images (default: 256 MiB of them)."""
    image_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    images = images or max(1, SYNTHETIC_BYTES // image_bytes)
    return Dataset(
        folder=IN_MEMORY,
        dtype=dtype,
        shape=shape,
        files=(TensorFile("(random)", images, images * image_bytes),),
        described=False,
    )


def _fill(region: NDArray[np.uint8]) -> None:
    """Fill memory with random bytes, eight from each number: one number for each byte would take 15 times as long."""
    numbers = np.random.SFC64(0)
    for start in range(0, len(region), STRIDE):
        part = region[start : start + STRIDE]
        part[:] = numbers.random_raw(-(-len(part) // 8)).view(np.uint8)[: len(part)]


class MemoryReader(Reader):
    """Fills one region with random images, once, and delivers addresses in it."""

    name = "memory"
    capabilities = Capabilities(has_files=False, has_ceiling=False, memory_passes=0)

    def __init__(self, dataset: Dataset, allocator: Allocator, *, evict: bool = False) -> None:
        super().__init__(dataset, allocator, evict=evict)
        self.region: HostMemory = allocator.allocate(dataset.nbytes)
        if dataset.dtype == "uint8":
            _fill(self.region.array)
        else:
            pixels = self.region.array.view(np.float32)
            np.random.default_rng(0).random(out=pixels, dtype=np.float32)
            pixels *= np.float32(255)

    @classmethod
    def find(cls, folder: Folder, dtype: str, shape: tuple[int, ...]) -> Dataset:
        """Describe the images; no folder is looked at."""
        return in_memory(shape, dtype)

    def buffer_bytes(self, batch_size: int) -> int:
        """Return 0: the images lie in the region."""
        return 0

    def read(self, pieces: Sequence[Piece], buffer: HostMemory | None) -> tuple[Segment, ...]:
        """Return the pieces' addresses."""
        size = self.dataset.image_bytes
        return tuple(
            Segment("memory", self.region.address + first * size, count * size, first, count, file)
            for file, _, count, first in pieces
        )

    def close(self) -> None:
        """Give the region back."""
        self.region.close()
