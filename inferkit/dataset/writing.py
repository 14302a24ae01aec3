"""Write the files of a data set: whole, synced, with errors that say what was needed and what was free."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from inferkit.errors import DatasetError, UnfinishedError
from inferkit.files import replacing
from inferkit.linux.cgroups import memory_left
from inferkit.linux.mounts import filesystem
from inferkit.units import gigabytes

_HINTS = {
    errno.ENOSPC: "Free space or take another folder, then run the same make again: it resumes.",
    errno.EDQUOT: "Your quota is used up: free space or take another folder, then run the same make again.",
    errno.EFBIG: "Files may not be that large here (see ulimit -f): raise the limit or lower images_per_file.",
    errno.EIO: "The storage is failing: look at the kernel's log.",
    errno.EACCES: "Take a folder that you may write to.",
    errno.EROFS: "Take a folder that you may write to.",
}


@contextmanager
def new_file(path: Path, nbytes: int) -> Iterator[BinaryIO]:
    """Write a file that appears, synced, when the block ends well.

    A file that nothing was written to does not appear. After an error nothing is left under any name.

    Parameters
    ----------
    path
        Final name. A file that has it is replaced.
    nbytes
        The most bytes that the file can need, for the error message.

    Raises
    ------
    UnfinishedError
        If the storage refuses.
    """
    with storage_errors(path, nbytes, UnfinishedError), replacing(path, sync=True, keep_empty=False) as file:
        yield file


@contextmanager
def storage_errors(path: Path, nbytes: int, kind: type[DatasetError] = DatasetError) -> Iterator[None]:
    """Turn an OSError into one of a ``kind`` that says what ``path`` needed and what is free."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        hint = _HINTS.get(error.errno or 0, "")
        message = (
            f"{path} cannot be written: {reason}. It needs {gigabytes(nbytes)}, {_free(path.parent)} are free. {hint}"
        )
        raise kind(message.rstrip()) from error


def check_space(folder: Path, nbytes: int) -> None:
    """Refuse to start what does not fit.

    Raises
    ------
    DatasetError
        If fewer than ``nbytes`` are free, or, where the folder lies in memory, may be taken of it.
    """
    free, where = shutil.disk_usage(folder).free, f"{folder} has"
    left = memory_left() if filesystem(folder).in_memory else None
    if left is not None and left < free:
        free, where = max(0, left), f"{folder} lies in memory, of which this process may take"
    if nbytes > free:
        message = (
            f"{where} {gigabytes(free)} free, but {gigabytes(nbytes)} more are needed ({free:,} and {nbytes:,} "
            "bytes). Free space, take another folder, or make fewer or smaller images."
        )
        raise DatasetError(message)


def _free(folder: Path) -> str:
    try:
        return gigabytes(shutil.disk_usage(folder).free)
    except OSError:
        return "an unknown number of bytes"
