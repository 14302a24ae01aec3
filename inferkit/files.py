"""Files that appear whole or not at all, however many processes write the same one; and where the cache is."""

import errno
import logging
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO

from inferkit.os_errors import explained

UNSYNCED = (errno.EINVAL, errno.EROFS, errno.ENOSYS, errno.EOPNOTSUPP)
"""What file systems answer that do not synchronise such a thing: CIFS a folder, squashfs and erofs anything."""
_KINDS = (
    (stat.S_ISFIFO, "pipe"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISCHR, "device"),
    (stat.S_ISBLK, "device"),
)
_TEMPORARY = re.compile(r"\.(.+)\.\d+-[0-9a-f]{8}\.part", re.DOTALL)
"""Names that :func:`replacing` gives."""


def cache_folder(kind: str) -> Path:
    """Return the folder of one kind of files: in ``$XDG_CACHE_HOME/inferkit``, by default ``~/.cache/inferkit``."""
    root = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(root) if root else Path.home() / ".cache") / "inferkit" / kind


def obstacle(folder: Path, *, elsewhere: bool = False) -> str:
    """Say why a folder cannot be made or written to, as far as that can be told before; empty if nothing is known.

    Parameters
    ----------
    folder
        An absolute path.
    elsewhere
        Another machine is to write there: who may do so here does not matter.
    """
    try:
        place = next(path for path in (folder, *folder.parents) if path.is_symlink() or path.exists())
    except OSError as error:  # a name too long, a mount whose server is gone
        return explained(error)
    if not place.is_dir():
        return f"{place} is no folder"
    return "" if elsewhere or os.access(place, os.W_OK | os.X_OK) else f"you may not write to {place}"


@contextmanager
def replacing(path: Path, *, sync: bool = False, keep_empty: bool = True, mode: int = 0o666) -> Iterator[BinaryIO]:
    """Open a file under a temporary name beside ``path``; give it its name when the block ends well.

    Others see what was there before or the whole new file. After an error the new file is removed; if the process is
    killed, it is left to :func:`remove_leftovers`.

    Parameters
    ----------
    path
        Final name. A file that has it is replaced.
    sync
        Make the file and its name survive a power cut.
    keep_empty
        False: a file that nothing was written to does not appear, and what was there stays.
    mode
        Who may do what with it, as far as the umask lets them.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{token_hex(4)}.part")
    try:
        with open(temporary, "xb", opener=partial(open_own, mode=mode)) as file:
            yield file
            if sync:
                file.flush()
                synchronise(file.fileno(), path)
            appears = keep_empty or file.tell() > 0
        if appears:
            temporary.replace(path)
            if sync:
                _synchronise_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def open_regular(path: Path, limit: int) -> int:
    """Open a regular file for reading and return its descriptor; nothing else is touched, so that nothing can block.

    Raises
    ------
    OSError
        If it cannot be opened, is a pipe, socket, device or folder, or holds more than ``limit`` bytes.
    """
    check_regular(path.stat(), limit)
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        check_regular(os.fstat(descriptor), limit)  # it may be another by now
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def open_own(path: Path | str, flags: int, mode: int = 0o666) -> int:
    """Open a file to be written by name and return its descriptor; nothing is written through a link.

    Whoever may write to a folder can lay a link there, to a file that the caller alone may write.

    Raises
    ------
    OSError
        If it cannot be opened, or is a link.
    """
    try:
        return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, mode)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise OSError(errno.ELOOP, "it is a link, and nothing is written through one") from error


def read_regular(path: Path, limit: int) -> bytes:
    """Read a regular file of at most ``limit`` bytes; see :func:`open_regular`."""
    with os.fdopen(open_regular(path, limit), "rb") as file:
        return file.read(os.fstat(file.fileno()).st_size)


def check_regular(status: os.stat_result, limit: int) -> None:
    """Raise OSError if something is no regular file, or holds more than ``limit`` bytes."""
    kind = next((name for is_kind, name in _KINDS if is_kind(status.st_mode)), "")
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if kind:
        raise OSError(errno.EINVAL, f"it is a {kind}, not a file")
    if status.st_size > limit:
        raise OSError(errno.EFBIG, f"it holds {status.st_size:,} bytes, over the limit of {limit:,}")


def write_whole(path: Path, *parts: bytes, mode: int = 0o666) -> None:
    """Write a file that appears whole or not at all."""
    with replacing(path, mode=mode) as file:
        file.writelines(parts)


def left_of(name: str) -> str:
    """Return the name of the file whose temporary file, by :func:`replacing`, has this name; empty if it is none."""
    found = _TEMPORARY.fullmatch(name)
    return found[1] if found else ""


def remove_leftovers(folder: Path, is_ours: Callable[[str], bool]) -> None:
    """Remove what killed processes left in a folder of files whose names are ours, and nothing of anybody else's.

    Whoever calls it knows that no other process writes such files now.
    """
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if is_ours(left_of(entry.name)) and entry.is_file(follow_symlinks=False):
                Path(entry).unlink(missing_ok=True)


def synchronise(descriptor: int, path: Path) -> None:
    """Have a file or folder written to its storage; where the file system has no such call, go on, and say so once.

    Raises
    ------
    OSError
        If the storage fails.
    """
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in UNSYNCED:
            raise
        kind = "folders" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "files"
        say_once(f"the file system of {path.parent} does not synchronise {kind}: a power cut may lose what is new")


def _synchronise_folder(folder: Path) -> None:
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError:  # one may write to a folder that one may not list
        return
    try:
        synchronise(handle, folder)
    finally:
        os.close(handle)


@cache
def say_once(text: str) -> None:
    """Tell, on standard error, of what does no harm; worker processes leave it to their parent."""
    from multiprocessing import parent_process  # seldom needed, and every command imports this module

    if parent_process() is None:
        logging.getLogger("inferkit").warning(text)
