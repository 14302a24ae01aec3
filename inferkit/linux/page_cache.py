"""Was it really the storage? Pages in the page cache, and bytes that this process had devices deliver."""

import ctypes
import mmap
import os
from collections.abc import Iterable
from pathlib import Path

from inferkit.errors import ReadError
from inferkit.files import UNSYNCED
from inferkit.linux.procfs import ROOT, fields, text

_WINDOW_BYTES = 1 << 30  # mapped at a time: mincore answers one byte per page, 256 KiB for such a window
_LOWEST_BIT = bytes(value & 1 for value in range(256))  # the other bits of mincore's answer are reserved


def resident_share(paths: Iterable[Path]) -> float | None:
    """Return which share of the files' pages lies in the page cache (0 … 1).

    None if that cannot be known: a file cannot be read, there are no pages at all, or the caller neither owns a file
    nor may write it (the kernel then pretends that every page is resident).
    """
    resident = pages = 0
    for path in paths:
        counted = _count(path)
        if counted is None:
            return None
        resident, pages = resident + counted[0], pages + counted[1]
    return resident / pages if pages else None


def evict(path: Path) -> None:
    """Drop a file's pages from the page cache, after writing back what is dirty.

    Notes
    -----
    Pages that some process has mapped stay, and so does everything on tmpfs: `resident_share` tells.

    Raises
    ------
    ReadError
        If the file cannot be opened or written back.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _write_back(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
    except OSError as error:
        message = f"cannot evict {path} from the page cache: {error.strerror}; expected a readable file"
        raise ReadError(message) from error


def _write_back(descriptor: int) -> None:
    """Write dirty pages back; a file system that is read-only for good (squashfs, erofs) has none, and says EROFS."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in UNSYNCED:
            raise


def evict_all(paths: Iterable[Path]) -> None:
    """Drop the pages of several files, as :func:`evict` does."""
    for path in paths:
        evict(path)


def process_read_bytes() -> int | None:
    """Return the bytes that this process's threads caused to be read from block devices; None if unknown.

    Network file systems that report it count too (NFS does); what the page cache answers does not.
    """
    value = fields(text(ROOT / "proc/self/io")).get("read_bytes", "")
    return int(value) if value.isdigit() else None


def _count(path: Path) -> tuple[int, int] | None:
    """Return (resident pages, pages) of a file; None if the kernel does not answer truthfully."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        status = os.fstat(descriptor)
        if status.st_uid != os.geteuid() and not os.access(path, os.W_OK, effective_ids=True):
            return None
        windows = range(0, status.st_size, _WINDOW_BYTES)
        lengths = [min(_WINDOW_BYTES, status.st_size - start) for start in windows]
        resident = sum(_resident(descriptor, start, length) for start, length in zip(windows, lengths, strict=True))
        return resident, sum(map(_pages, lengths))
    except (OSError, ValueError):  # mmap raises ValueError where the file was cut off meanwhile
        return None
    finally:
        os.close(descriptor)


def _pages(length: int) -> int:
    return -(-length // mmap.PAGESIZE)


def _resident(descriptor: int, start: int, length: int) -> int:
    """Count the resident pages of one window by mincore(2); mapping it touches no page."""
    answer = (ctypes.c_ubyte * _pages(length))()
    # A private copy-on-write mapping lends its address to ctypes even where the file is open for reading only.
    with mmap.mmap(descriptor, length, access=mmap.ACCESS_COPY, offset=start) as window:
        first = ctypes.c_ubyte.from_buffer(window)
        libc = ctypes.CDLL(None, use_errno=True)
        failed = libc.mincore(ctypes.c_void_p(ctypes.addressof(first)), ctypes.c_size_t(length), answer)
        del first  # the mapping cannot be closed while it is lent
    if failed:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return bytes(answer).translate(_LOWEST_BIT).count(1)
