"""Tensor files as values: raw images back to back, their number and their bytes."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from inferkit.dataset.contents import contents
from inferkit.dataset.manifest import HASHES_NAME
from inferkit.dataset.pixels import DTYPES, image_hash
from inferkit.errors import DatasetError, ParameterError, UnfinishedError
from inferkit.objects.client import Client
from inferkit.objects.fetch import cut, fetch
from inferkit.objects.place import Folder, ObjectPath

LANES, PART_BYTES = 4, 8 << 20
"""Connections over which an object is read that is not being measured, and bytes of one request."""

IN_MEMORY = Path("(memory)")
"""Stands for the folder of images that exist in memory alone."""


@dataclass(frozen=True, slots=True)
class TensorFile:
    """One file of images.

    Attributes
    ----------
    name
        Posix path relative to the data set's folder.
    images
        Images in the file, back to back from its first byte.
    nbytes
        Bytes of the file.
    etag
        Of an object: the store's mark of its content.
    """

    name: str
    images: int
    nbytes: int
    etag: str = ""


@dataclass(frozen=True, slots=True)
class Dataset:
    """A folder of tensor files whose sizes have been checked.

    Attributes
    ----------
    folder
        Where the files lie: in a folder, or as objects of a store.
    dtype
        ``uint8`` or ``float32`` (little-endian).
    shape
        Of one image: (channels, height, width) for photographs.
    files
        In reading order.
    described
        True if a manifest describes the files, False if the caller said what the bytes are.
    encoded
        Whether the files are JPEG files, one image each, which become such images.
    awaited
        Images of a data set that has yet to be made and has no files; None where nobody knows how many.
    """

    folder: Folder
    dtype: str
    shape: tuple[int, ...]
    files: tuple[TensorFile, ...]
    described: bool
    awaited: int | None = None
    encoded: bool = False

    @property
    def in_memory(self) -> bool:
        """True if the images exist in memory alone, so that there are no files to read."""
        return self.folder == IN_MEMORY

    @property
    def image_bytes(self) -> int:
        """Bytes of one image."""
        return image_bytes(self.dtype, self.shape)

    @property
    def images(self) -> int:
        """Images in all files."""
        return sum(file.images for file in self.files)

    @property
    def nbytes(self) -> int:
        """Bytes of all files."""
        return sum(file.nbytes for file in self.files)

    def path(self, index: int) -> Path:
        """Path of file ``index``, where it is no object."""
        assert isinstance(self.folder, Path)
        return self.folder / self.files[index].name

    def where(self, index: int) -> Folder:
        """Tell where file ``index`` lies, be it a file or an object."""
        return self.folder / self.files[index].name

    def read_images(self, start: int, count: int) -> npt.NDArray[Any]:
        """Read images ``start`` to ``start + count``, across files, into a new array.

        Parameters
        ----------
        start, count
            In images, counted over all files in reading order.

        Returns
        -------
        ndarray, shape (count, *shape)

        Raises
        ------
        ParameterError
            If the data set does not hold these images.
        DatasetError
            If a file has become shorter since it was opened.
        """
        if start < 0 or count < 0 or start + count > self.images:
            message = f"images {start} to {start + count} were asked for, but the data set holds 0 to {self.images}"
            raise ParameterError(message)
        images = np.empty((count, *self.shape), DTYPES[self.dtype])
        done = 0
        for index, first, share in self._pieces(start, count):
            images[done : done + share] = self._read_piece(index, first, share)
            done += share
        return images

    def hashes(self) -> npt.NDArray[np.uint64] | None:
        """Read the sidecar: one xxh3-64 per image in reading order, shape (images,); None if there is none.

        Raises
        ------
        DatasetError
            If the sidecar does not hold one hash per image.
        """
        there = contents(self.folder)
        nbytes = there.size(HASHES_NAME) if self.described else None
        if nbytes is None:
            return None
        if nbytes != self.images * 8:
            message = (
                f"{self.folder / HASHES_NAME} holds {nbytes:,} bytes; {self.images:,} images need "
                f"{self.images * 8:,}. Copy it again, or make the data set again."
            )
            raise DatasetError(message)
        return np.frombuffer(there.read(HASHES_NAME, nbytes) or b"", "<u8").astype(np.uint64, copy=False)

    def _pieces(self, start: int, count: int) -> Iterator[tuple[int, int, int]]:
        """Yield (file index, first image in the file, images) that cover ``count`` images from ``start``."""
        ends = accumulate(file.images for file in self.files)
        for index, (file, end) in enumerate(zip(self.files, ends, strict=True)):
            first = max(start, end - file.images)
            share = min(start + count, end) - first
            if share > 0:
                yield index, first - (end - file.images), share

    def _read_piece(self, index: int, first: int, count: int) -> npt.NDArray[Any]:
        items = math.prod(self.shape)
        offset = first * self.image_bytes
        if isinstance(self.folder, ObjectPath):
            data = bytearray(count * self.image_bytes)
            read_object(self.folder / self.files[index].name, self.files[index].etag, offset, memoryview(data))
            return np.frombuffer(data, DTYPES[self.dtype]).reshape(count, *self.shape)
        flat = np.fromfile(self.path(index), DTYPES[self.dtype], count * items, offset=offset)
        if flat.size != count * items:
            message = (
                f"{self.path(index)} has become shorter: {flat.nbytes:,} bytes at offset {offset:,}, "
                f"expected {count * self.image_bytes:,}. Make or copy the data set again."
            )
            raise DatasetError(message)
        return flat.reshape(count, *self.shape)


def image_bytes(dtype: str, shape: tuple[int, ...]) -> int:
    """Bytes of one image of this type and shape."""
    return DTYPES[dtype].itemsize * math.prod(shape)


def read_object(place: ObjectPath, etag: str, offset: int, target: memoryview) -> None:
    """Read consecutive bytes of an object into memory, over a few connections.

    Raises
    ------
    InferkitError
        If they do not come; see :func:`inferkit.objects.fetch.fetch`.
    """
    with Client(place.store) as client:
        fetch(client, cut(place, etag, offset, target, PART_BYTES), LANES)


def file_hashes(path: Path, one: int, images: int) -> Iterator[int]:
    """Yield the xxh3-64 of each of the first ``images`` images of ``one`` bytes in a file.

    Raises
    ------
    DatasetError
        If the file ends before.
    """
    buffer = bytearray(one)
    with path.open("rb") as file:
        for position in range(images):
            if file.readinto(buffer) != one:
                message = f"{path} has become shorter: it ends inside image {position} of {images}"
                raise UnfinishedError(message)
            yield image_hash(buffer)


def hashes_of(dataset: Dataset, index: int) -> Iterator[int]:
    """Yield the xxh3-64 of each image of a file, or of an object as it is now.

    Raises
    ------
    InferkitError
        If it ends before, or an object does not come.
    """
    file, one = dataset.files[index], dataset.image_bytes
    if not isinstance(dataset.folder, ObjectPath):
        yield from file_hashes(dataset.path(index), one, file.images)
        return
    most = max(1, LANES * PART_BYTES // one)
    buffer = memoryview(bytearray(min(most, file.images) * one))
    for start in range(0, file.images, most):
        count = min(most, file.images - start)
        read_object(dataset.folder / file.name, file.etag, start * one, buffer[: count * one])
        yield from (image_hash(buffer[at * one : (at + 1) * one]) for at in range(count))
