"""The folder that data are staged in: whose it must be, one process at work in it, and what is removed from it.

Nothing is written or removed where another user could have laid a link, or through any link at all.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from inferkit.dataset.staging_record import LOCK_NAME, RECORD_NAME, Copy, Staged
from inferkit.dataset.writing import storage_errors
from inferkit.errors import DatasetError
from inferkit.files import left_of, open_own, remove_leftovers
from inferkit.linux.locks import lock_alone
from inferkit.linux.ownership import meddler, user_name


def check_own(target: Path) -> None:
    """Refuse a staging folder in which others may have laid, or may lay, whatever they like.

    Raises
    ------
    DatasetError
        If it is a link or no folder, it or what leads to it is another user's, or others may write there.
    """
    with storage_errors(target, 0):
        what = meddler(target)
        if os.path.lexists(target):
            what = _no_own_folder(target, target.lstat()) or what
    if what:
        message = f"{what}: data are staged only where nobody else can write; name a folder of your own with --to"
        raise DatasetError(message)


def _no_own_folder(target: Path, status: os.stat_result) -> str:
    if not stat.S_ISDIR(status.st_mode):
        return f"{target} is {'a link' if stat.S_ISLNK(status.st_mode) else 'no folder'}"
    return "" if status.st_uid == os.geteuid() else f"{target} belongs to {user_name(status.st_uid)}"


@contextmanager
def at_work(target: Path) -> Iterator[int]:
    """Lock a staging folder and yield the lock's descriptor: as long as a process holds it, no other comes in.

    Its file has no rights for others, who could else lock it as well.

    Raises
    ------
    DatasetError
        If another process is at work there, or the storage refuses.
    """
    path = target / LOCK_NAME
    with storage_errors(path, 0):
        lock = open_own(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock(lock, target)
        try:
            yield lock
        finally:
            path.unlink(missing_ok=True)
    finally:
        os.close(lock)


def _lock(lock: int, target: Path) -> None:
    with storage_errors(target / LOCK_NAME, 0):
        # Without a name it is what another one finished between our open and our lock.
        free = lock_alone(lock, target) and os.fstat(lock).st_nlink > 0
    if not free:
        message = f"another `inferkit dataset stage` or `unstage` is at work in {target}: wait for it, or end it there"
        raise DatasetError(message)


def make_folders(folder: Path, above: Path) -> None:
    """Make a folder and those that lead to it from ``above``, unless they are there; none that others may write to.

    Raises
    ------
    OSError
        If one of them is a link or no folder.
    """
    for path in reversed([folder, *folder.parents]):
        if above in path.parents:
            with suppress(FileExistsError):
                path.mkdir(0o755)
            if not stat.S_ISDIR(path.lstat().st_mode):
                raise OSError(errno.ENOTDIR, f"{path} is a link or no folder")


def remove(target: Path, record: Staged) -> int:
    """Remove what a record says was staged in a folder of our own, the record too; return how many files that were.

    A file that was replaced meanwhile stays, and so does whatever lies behind a link.
    """
    removed = sum(remove_copy(target, record, copy) for copy in record.copies)
    (target / RECORD_NAME).unlink(missing_ok=True)
    remove_leftovers(target, RECORD_NAME.__eq__)
    return removed


def remove_copy(target: Path, record: Staged, copy: Copy) -> int:
    """Remove a copy's files, half-made ones too, and the folders that are empty then."""
    top = target / copy.name
    if not os.path.lexists(top):
        return 0
    removed = 0
    folders = {parent for name in record.files for parent in PurePosixPath(name).parents}
    for path, _, names, descriptor in os.fwalk(top, topdown=False):  # it follows no link, and removes where it is
        here = PurePosixPath(Path(path).relative_to(top))
        for name in names:
            status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            if stat.S_ISREG(status.st_mode) and _is_staged(record, copy, here / name, status.st_ino):
                os.unlink(name, dir_fd=descriptor)
                removed += str(here / name) in record.files
        if here in folders:
            remove_empty(Path(path))
    return removed


def _is_staged(record: Staged, copy: Copy, file: PurePosixPath, inode: int) -> bool:
    if str(file) in record.files:
        return copy.inodes.get(str(file), inode) == inode
    return str(file.with_name(left_of(file.name) or file.name)) in record.files  # half made


def remove_empty(folder: Path) -> None:
    """Remove a folder if nothing is in it."""
    try:
        folder.rmdir()
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.ENOENT):
            raise
