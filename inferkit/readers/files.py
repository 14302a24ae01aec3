"""Files that reader threads hold open, and reads that either bring every byte or say why not."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from inferkit.dataset.tensors import Dataset
from inferkit.errors import ReadError
from inferkit.os_errors import explained

OPEN_FILES_PER_THREAD = 16
LARGEST_READ = 0x7FFFF000
"""Most bytes that Linux transfers in one read (read(2), NOTES)."""


class FileIdentity(NamedTuple):
    """What stays the same as long as nobody replaces a file or writes to it."""

    device: int
    inode: int
    nbytes: int
    modified_ns: int


def identity(file: Path | int) -> FileIdentity:
    """Return the identity of a file or descriptor.

    Raises
    ------
    ReadError
        If it is not there any more.
    """
    try:
        status = os.stat(file)  # noqa: PTH116 - a path knows no descriptors
    except OSError as error:
        raise cannot(error, "examine", file) from error
    return FileIdentity(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def cannot(error: OSError, what: str, path: object, offset: int | None = None) -> ReadError:
    """Return what to raise when the storage refuses: with file, offset, errno and what that errno means."""
    place = "" if offset is None else f" at byte {offset}"
    return ReadError(f"cannot {what} {path}{place}: {explained(error)}")


class KnownFiles:
    """A data set's files as they are now, to tell later whether somebody changed them.

    Parameters
    ----------
    dataset
        Whose files.
    times
        False leaves out when they were written to: making pages known to a GPU, in any process, counts as writing.
    """

    def __init__(self, dataset: Dataset, *, times: bool = True) -> None:
        self._dataset = dataset
        self._times = times
        self._known = [self._identity(dataset.path(k)) for k in range(len(dataset.files))]

    def _identity(self, place: Path | int) -> FileIdentity:
        found = identity(place)
        return found if self._times else found._replace(modified_ns=0)

    def check_all(self) -> None:
        """Check that every file is still the same, as :meth:`check` does."""
        for file in range(len(self._known)):
            self.check(file, self._dataset.path(file))

    def check(self, file: int, place: Path | int) -> None:
        """Check that a file, by its path or a descriptor, is still the same.

        Raises
        ------
        ReadError
            Naming the file that was replaced, cut or written to.
        """
        before, now = self._known[file], self._identity(place)
        if now != before:
            message = (
                f"{self._dataset.path(file)} was replaced or written to ({before.nbytes} bytes when reading began, now "
                f"{now.nbytes}): leave the data set alone while it is read"
            )
            raise ReadError(message)


class OpenFiles:
    """Descriptors of the files that each thread read last, so that no thread waits for another's.

    Parameters
    ----------
    dataset
        Whose files.
    flags
        Of ``open(2)``.
    opener, closer
        What open a file and close its descriptor.

    Attributes
    ----------
    known
        The files as they were when the reader was opened.
    """

    def __init__(
        self,
        dataset: Dataset,
        flags: int,
        opener: Callable[[Path, int], int] = os.open,
        closer: Callable[[int], None] = os.close,
    ) -> None:
        self._dataset = dataset
        self._opener, self._closer = opener, closer
        self._flags = flags | os.O_RDONLY | os.O_CLOEXEC
        self._mine = threading.local()
        self._everyone: list[dict[int, int]] = []
        self.known = KnownFiles(dataset)

    def descriptor(self, file: int) -> int:
        """Return a descriptor of a file, valid until this thread asks for :data:`OPEN_FILES_PER_THREAD` others.

        Raises
        ------
        ReadError
            If it cannot be opened, or is another file than the one that was there when the reader was opened.
        """
        mine: dict[int, int] | None = getattr(self._mine, "files", None)
        if mine is None:
            mine = self._mine.files = {}
            self._everyone.append(mine)
        if file in mine:
            mine[file] = mine.pop(file)  # asked for last, closed last
            return mine[file]
        if len(mine) >= OPEN_FILES_PER_THREAD:
            self._closer(mine.pop(next(iter(mine))))
        path = self._dataset.path(file)
        try:
            mine[file] = self._opener(path, self._flags)
        except OSError as error:
            raise cannot(error, "open", path) from error
        self.known.check(file, mine[file])
        return mine[file]

    def close(self) -> None:
        """Close all files of all threads, which must have ended."""
        for files in self._everyone:
            for descriptor in files.values():
                self._closer(descriptor)
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
            raise cannot(error, "read", name, offset + done) from error
        if not got:
            message = (
                f"{name} ends at byte {offset + done}, {needed - done} bytes early: it was truncated or replaced while "
                "it was read; make the data set again"
            )
            raise ReadError(message)
        done += got
