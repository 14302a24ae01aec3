"""The contract of a reader: batch in, bytes out."""

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import TracebackType
from typing import ClassVar, Protocol, Self

from inferkit.batch import Piece, Segment
from inferkit.dataset.format import Dataset
from inferkit.devices.base import HostMemory, Registration
from inferkit.errors import ReadError

OPEN_FILES_PER_THREAD = 16
LARGEST_READ = 0x7FFFF000
"""Most bytes that Linux transfers in one read (read(2), NOTES)."""


class Allocator(Protocol):
    """What a reader needs of a device: memory to fill and memory made known to it."""

    def allocate(self, nbytes: int, memory: str = "") -> HostMemory:
        """Allocate page-aligned host memory."""

    def register(self, address: int, nbytes: int, *, writable: bool) -> Registration:
        """Make existing memory something that the device copies from."""


class Reader(ABC):
    """Reads images of a data set; one reader serves all threads.

    Parameters
    ----------
    dataset
        What to read.
    allocator
        The device, for memory.
    evict
        Drop the pages of what was read from the page cache.

    Attributes
    ----------
    has_ceiling
        Whether reading takes time of its own: a mapped file or images in memory are not read at all.
    """

    name: ClassVar[str]
    has_ceiling: ClassVar[bool] = True

    def __init__(self, dataset: Dataset, allocator: Allocator, *, evict: bool = False) -> None:
        self.dataset = dataset
        self.allocator = allocator
        self.evict = evict

    @property
    def facts(self) -> dict[str, str | int]:
        """What the record should tell of how this reader reads."""
        return {}

    @abstractmethod
    def buffer_bytes(self, batch_size: int) -> int:
        """Return how large a buffer :meth:`read` needs for a batch; 0 if the images lie in memory already."""

    @abstractmethod
    def read(self, pieces: Sequence[Piece], buffer: HostMemory | None) -> tuple[Segment, ...]:
        """Deliver the pieces, in their order; called by several threads at a time, each with a buffer of its own.

        Raises
        ------
        ReadError
            If the bytes do not come: with file, offset and reason. Nothing of the batch may then be used.
        """

    def close(self) -> None:  # noqa: B027 - most readers have nothing to close
        """Close files and give memory back; calling it again does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class OpenFiles:
    """Descriptors of the files that each thread read last, so that no thread waits for another's.

    Parameters
    ----------
    dataset
        Whose files.
    flags
        Of ``open(2)``.
    """

    def __init__(self, dataset: Dataset, flags: int) -> None:
        self._dataset = dataset
        self._flags = flags | os.O_RDONLY | os.O_CLOEXEC
        self._mine = threading.local()
        self._everyone: list[dict[int, int]] = []

    def descriptor(self, file: int) -> int:
        """Return a descriptor of a file, valid until this thread asks for :data:`OPEN_FILES_PER_THREAD` others.

        Raises
        ------
        ReadError
            If it cannot be opened.
        """
        mine: dict[int, int] | None = getattr(self._mine, "files", None)
        if mine is None:
            mine = self._mine.files = {}
            self._everyone.append(mine)
        if file in mine:
            return mine[file]
        if len(mine) >= OPEN_FILES_PER_THREAD:
            os.close(mine.pop(next(iter(mine))))
        path = self._dataset.path(file)
        try:
            mine[file] = os.open(path, self._flags)
        except OSError as error:
            msg = f"cannot open {path}: {error.strerror} (errno {error.errno}); is the storage still mounted?"
            raise ReadError(msg) from error
        return mine[file]

    def close(self) -> None:
        """Close all files of all threads, which must have ended."""
        for files in self._everyone:
            for descriptor in files.values():
                os.close(descriptor)
            files.clear()


def read_fully(descriptor: int, target: memoryview, offset: int, needed: int, name: object) -> None:
    """Read from a file into memory, in as few calls as there can be.

    Parameters
    ----------
    descriptor, offset
        File and byte to begin with.
    target
        Where to; its whole length is asked for.
    needed
        Bytes that must come: fewer than asked for where a block reaches past the file's end.
    name
        The file, for the message.

    Raises
    ------
    ReadError
        If the file ends early or the read fails.
    """
    done = 0
    while done < needed:
        try:
            got = os.preadv(descriptor, [target[done : done + LARGEST_READ]], offset + done)
        except OSError as error:
            msg = f"cannot read {name} at byte {offset + done}: {error.strerror} (errno {error.errno})"
            raise ReadError(msg) from error
        if not got:
            msg = (
                f"{name} ends at byte {offset + done}, {needed - done} bytes early: it was truncated or replaced while "
                "it was read; make the data set again"
            )
            raise ReadError(msg)
        done += got
