"""Where a kernel's sockets lie: in a folder of this user's own, short enough for their paths."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory, gettempdir

from inferkit.errors import ParameterError

LONGEST_FOLDER = 48
"""Characters of the folder for sockets: with the names below it, no more than the 107 of a socket's path."""
ROOM_BYTES = 1 << 16
"""A kernel's connection file and its profile of IPython take a part of this."""


@contextmanager
def folder_for_sockets() -> Iterator[str]:
    """Make a folder for one kernel's sockets, and remove it; what runs that were killed left goes first.

    Raises
    ------
    ParameterError
        If there is no place for it.
    """
    place = short_folder()
    _sweep(place)
    with TemporaryDirectory(prefix=f"{_own_prefix()}{os.getpid()}-", dir=place) as folder:
        yield folder


def short_folder() -> str:
    """Return a folder for sockets, whose paths have 107 characters at most (unix(7)).

    Raises
    ------
    ParameterError
        If there is none.
    """
    places = [os.environ.get("XDG_RUNTIME_DIR", ""), _temporary(), "/tmp", "/dev/shm"]
    for place in places:
        if place and len(place) <= LONGEST_FOLDER and _has_room(place):
            return place
    message = (
        f"none of {', '.join(filter(None, places))} is writable, has room and is short enough for sockets: set TMPDIR "
        "to one that is"
    )
    raise ParameterError(message)


def _temporary() -> str:
    """Return the folder for temporary files; empty where none can be written to."""
    try:
        return gettempdir()
    except FileNotFoundError:
        return ""


def _has_room(place: str) -> bool:
    """Tell whether the settings of a kernel can be written to a folder."""
    try:
        with NamedTemporaryFile(dir=place) as file:
            file.write(bytes(ROOM_BYTES))
            file.flush()
    except OSError:
        return False
    return True


def _own_prefix() -> str:
    """Return the prefix of the folders for sockets that this user made among the process ids that this process sees.

    Containers may share a folder but number their processes apart: none can see whether a run of another is alive.
    """
    return f"inferkit-{os.getuid()}-{Path('/proc/self/ns/pid').stat().st_ino}-"


def _sweep(place: str) -> None:
    """Remove the sockets of this user's runs that were killed and could not do so; anybody may take such a name."""
    prefix = _own_prefix()
    for folder in Path(place).glob(f"{prefix}*-*"):
        pid = folder.name.removeprefix(prefix).split("-")[0]
        if pid.isdigit() and not Path("/proc", pid).exists():
            with suppress(FileNotFoundError):  # another run may be removing it as well
                if folder.lstat().st_uid == os.getuid():
                    shutil.rmtree(folder, ignore_errors=True)
