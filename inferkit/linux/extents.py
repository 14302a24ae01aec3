"""How much of a file a disk holds as it is: not holes, not blocks that were never written, not what is compressed."""

import errno
import fcntl
import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

# From <linux/fiemap.h> and <linux/fs.h>; _IOWR('f', 11, struct fiemap).
_FS_IOC_FIEMAP = 0xC020660B
_HEADER = struct.Struct("=QQIIII")  # start, length, flags, extents told, extents asked for, reserved
_EXTENT = struct.Struct("=QQQQQIIII")  # logical, physical, length, reserved × 2, flags, reserved × 3
_FLAG_SYNC = 0x1
_LAST = 0x1
_ENCODED = 0x8
_UNWRITTEN = 0x800
_SHARED = 0x2000
_AT_A_TIME = 256
_UNSUPPORTED = (errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.ENOSYS, errno.EPERM)


@dataclass(frozen=True)
class Stored:
    """Bytes of one file.

    Parameters
    ----------
    nbytes
        All of them.
    empty
        Holes and blocks that were allocated but never written: they read as zeros, and no disk is asked.
    encoded
        What the file system compressed: the disk is asked for less.
    shared
        Where on the disk those parts lie that other files or names may have as well (reflinks), and how long they are.
    """

    nbytes: int
    empty: int
    encoded: int = 0
    shared: tuple[tuple[int, int], ...] = ()


def repeated_share(files: Sequence[Stored]) -> float:
    """Return which share of files' bytes is no more than another name for what one of them has already."""
    parts = [part for file in files for part in file.shared]
    total = sum(file.nbytes for file in files)
    again = sum(length for _, length in parts) - sum(length for _, length in set(parts))
    return again / total if total else 0.0


def stored(path: Path) -> Stored | None:
    """Return how a file's bytes are stored; None if the file cannot be opened or its file system does not tell.

    Notes
    -----
    By FIEMAP, else (NFS, tmpfs) by SEEK_DATA and SEEK_HOLE, which know holes only. What was written and not yet placed
    is written back first.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        nbytes = os.fstat(descriptor).st_size
        try:
            return _of_extents(descriptor, nbytes)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                return None
        return Stored(nbytes, _holes(descriptor, nbytes))
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _of_extents(descriptor: int, nbytes: int) -> Stored:
    data = encoded = 0
    shared: list[tuple[int, int]] = []
    for start, physical, length, flags in _extents(descriptor):
        inside = max(0, min(start + length, nbytes) - start)
        if not flags & _UNWRITTEN:
            data += inside
            encoded += inside if flags & _ENCODED else 0
            shared += [(physical, inside)] if flags & _SHARED and inside else []
    return Stored(nbytes, nbytes - data, encoded, tuple(shared))


def _extents(descriptor: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield start, place on the disk, length and flags of each extent."""
    start, last = 0, False
    while not last:
        answer = bytearray(_HEADER.size + _AT_A_TIME * _EXTENT.size)
        _HEADER.pack_into(answer, 0, start, 2**64 - 1 - start, _FLAG_SYNC, 0, _AT_A_TIME, 0)
        fcntl.ioctl(descriptor, _FS_IOC_FIEMAP, answer)
        told = _HEADER.unpack_from(answer)[3]
        last = not told
        for index in range(told):
            logical, physical, length, _, _, flags, *_ = _EXTENT.unpack_from(
                answer, _HEADER.size + index * _EXTENT.size
            )
            yield logical, physical, length, flags
            start, last = logical + length, bool(flags & _LAST)


def _holes(descriptor: int, nbytes: int) -> int:
    data = position = 0
    while position < nbytes:
        try:
            begin = os.lseek(descriptor, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # no data behind here
                break
            raise
        position = os.lseek(descriptor, begin, os.SEEK_HOLE)
        data += position - begin
    return nbytes - data
