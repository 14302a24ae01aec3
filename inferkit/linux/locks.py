"""Locks of files, for as long as they are open, where the file system has any (flock(2))."""

import errno
import fcntl
from pathlib import Path
from typing import IO

from inferkit.files import say_once

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
"""What parallel file systems answer that are mounted without locks."""


def lock_alone(file: int | IO[bytes], folder: Path) -> bool:
    """Lock a file in a folder for this process alone; tell whether no other one holds it, as far as can be told.

    Raises
    ------
    OSError
        If the file system has locks and fails.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        say_once(f"the file system of {folder} has no locks: let no second process write there meanwhile")
    return True
