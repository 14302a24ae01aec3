"""The bytes of JPEG files as they lie there: in a folder, or as objects of a store."""

import os
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path

from inferkit.closing import Closing
from inferkit.dataset.contents import contents
from inferkit.dataset.markers import MAX_BYTES
from inferkit.dataset.tensors import Dataset, TensorFile
from inferkit.errors import ReadError
from inferkit.files import check_regular, open_regular
from inferkit.objects.client import Client
from inferkit.objects.counts import Counts
from inferkit.objects.fetch import Part, fetch
from inferkit.objects.place import Folder, ObjectPath
from inferkit.readers.files import cannot
from inferkit.text import plain, spelled

LANES = 8
"""Objects that are on their way to a thread at a time."""


class Encoded(Closing):
    """Where a data set's encoded images come from; threads share it.

    Attributes
    ----------
    received
        What a client of a store counted; None where the kernel reads files.
    """

    received: Counts | None = None

    @abstractmethod
    def load(self, files: Sequence[int]) -> Sequence[bytes]:
        """Read files, whole.

        Raises
        ------
        InferkitError
            If the bytes do not come.
        """

    def close(self) -> None:
        """Close connections."""


class _Files(Encoded):
    def __init__(self, dataset: Dataset, *, evict: bool) -> None:
        self._dataset = dataset
        self._evict = evict

    def load(self, files: Sequence[int]) -> Sequence[bytes]:
        return [self._read(file) for file in files]

    def _read(self, file: int) -> bytes:
        path, expected = self._dataset.path(file), self._dataset.files[file].nbytes
        try:
            descriptor = open_regular(path, MAX_BYTES)
        except OSError as error:
            raise cannot(error, "open", path) from error
        try:
            data = _read_to_end(descriptor, expected, path)
            if self._evict:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
        if len(data) != expected:
            raise changed(path, expected, len(data))
        return data


class _Objects(Encoded):
    def __init__(self, dataset: Dataset, folder: ObjectPath) -> None:
        self._dataset = dataset
        self._folder = folder
        self._client = Client(folder.store)
        self.received = self._client.counts

    def load(self, files: Sequence[int]) -> Sequence[bytes]:
        wanted = [self._dataset.files[file] for file in files]
        loaded = [bytearray(own.nbytes) for own in wanted]
        parts = [
            Part(self._folder / own.name, own.etag, 0, memoryview(data))
            for own, data in zip(wanted, loaded, strict=True)
        ]
        fetch(self._client, parts, LANES)
        return [bytes(data) for data in loaded]  # decoders look for markers in bytes

    def close(self) -> None:
        self._client.close()


def encoded(dataset: Dataset, *, evict: bool) -> Encoded:
    """Return where a data set's encoded images come from."""
    folder = dataset.folder
    return _Objects(dataset, folder) if isinstance(folder, ObjectPath) else _Files(dataset, evict=evict)


def listed(folder: Folder, names: Sequence[str]) -> tuple[TensorFile, ...]:
    """Return encoded files, one image each, with their sizes.

    Raises
    ------
    ReadError
        If one is no file, of no sane size, or cannot be examined: before anything is measured.
    """
    if isinstance(folder, Path):
        return tuple(TensorFile(name, 1, _nbytes(folder / name)) for name in names)
    there = contents(folder)
    files = [TensorFile(name, 1, there.size(name) or 0, there.etag(name)) for name in names]
    for file in files:
        if not 0 < file.nbytes <= MAX_BYTES:
            raise unusable(folder / file.name, f"holds {file.nbytes:,} bytes")
    return tuple(files)


def changed(path: object, expected: int, found: int) -> ReadError:
    """Return what to raise when a file has not as many bytes as it had."""
    return ReadError(f"{path} had {expected} bytes when reading began, now {found} were read: it was replaced or cut")


def unusable(place: Folder, why: str) -> ReadError:
    """Return what to raise of a file that is no image."""
    return ReadError(f"{spelled(str(place))} {plain(why)}: move it out of the folder; stage 01 lists all such")


def _nbytes(path: Path) -> int:
    try:
        status = path.stat()
        check_regular(status, MAX_BYTES)
    except OSError as error:
        raise unusable(path, f"cannot be read: {error.strerror}") from error
    return status.st_size


def _read_to_end(descriptor: int, expected: int, path: Path) -> bytes:
    """Read a file in one call where it has as many bytes as expected; one more is asked for, to see whether it grew."""
    data = b""
    while len(data) <= expected:
        try:
            more = os.read(descriptor, expected + 1 - len(data))
        except OSError as error:
            raise cannot(error, "read", path, len(data)) from error
        data = data + more if data else more
        if not more or len(data) == expected:
            break
    return data
