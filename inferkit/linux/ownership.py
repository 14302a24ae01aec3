"""Who but this user may change what lies under a path."""

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path


def meddler(folder: Path) -> str:
    """Say who else may change what a folder holds or replace the folder itself; empty if nobody can.

    It and the folders and links that lead to it must belong to this user or to the system (the owner of ``/``), and
    nobody else may write there. In a sticky folder, as ``/dev/shm`` and ``/tmp`` are, each entry is its owner's, so one
    may lie above; it holds what anybody put there, so the folder itself must be none.

    Parameters
    ----------
    folder
        What of it is not there yet is left out: whoever makes it owns it.

    Raises
    ------
    OSError
        If one cannot be looked at.
    """
    whole = folder.absolute()
    for path in {**dict.fromkeys(_leading(whole)), **dict.fromkeys(_leading(Path(os.path.realpath(whole))))}:
        if reason := _writer(path, path.lstat(), sticky=path not in (whole, Path(os.path.realpath(whole)))):
            return reason
    return ""


def _leading(path: Path) -> Iterator[Path]:
    """Yield a path and all above it, as far as they are there."""
    return (part for part in (path, *path.parents) if os.path.lexists(part))


def _writer(path: Path, status: os.stat_result, *, sticky: bool) -> str:
    if status.st_uid not in (os.geteuid(), Path("/").stat().st_uid):
        return f"{path} belongs to {user_name(status.st_uid)}"
    if stat.S_ISLNK(status.st_mode) or (sticky and status.st_mode & stat.S_ISVTX):
        return ""
    if status.st_mode & stat.S_IWOTH:
        return f"everybody may write to {path}"
    shared = status.st_mode & stat.S_IWGRP and not _private(status.st_gid)
    return f"the group {status.st_gid} may write to {path}" if shared else ""


def may_be_trusted(status: os.stat_result) -> bool:
    """Tell whether a file's bytes were written by this user or the system: it is theirs, and nobody else may write."""
    return not _writer(Path(), status, sticky=False)


def _private(group: int) -> bool:
    """Tell whether a group is the system's, or this user's own, which has the user's name and no other member."""
    try:
        user, found = pwd.getpwuid(os.geteuid()), grp.getgrgid(group)
    except KeyError:
        return group == 0
    own = found.gr_gid == user.pw_gid and found.gr_name == user.pw_name
    return group == 0 or (own and not set(found.gr_mem) - {user.pw_name})


def user_name(user: int) -> str:
    """Return a user's name; a number without one is told as such."""
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"
