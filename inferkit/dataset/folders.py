"""What lies under a folder: sub-folders and links to folders are followed, each folder once."""

import os
from collections import deque
from pathlib import Path
from typing import NamedTuple

from inferkit.errors import DatasetError
from inferkit.records.bounds import FILES


class Found(NamedTuple):
    """What lies under a folder.

    Attributes
    ----------
    files
        Sorted posix paths relative to it: of files and of whatever else is no folder.
    unlisted
        Those of the folders that cannot be listed.
    """

    files: list[str]
    unlisted: list[str]


def search(folder: Path) -> Found:
    """List all files under a folder.

    Links to folders are followed after all real folders, so that a folder that is reached twice has its own name; a
    link that leads back to where it came from adds nothing.

    Raises
    ------
    DatasetError
        If there are more files than a data set has.
    """
    files: list[str] = []
    unlisted: list[str] = []
    seen: set[tuple[int, int]] = set()
    real, linked = deque([folder]), deque[Path]()
    while real or linked:
        here = (real or linked).popleft()
        try:
            status = here.stat()
            entries = [] if (status.st_dev, status.st_ino) in seen else sorted(os.scandir(here), key=_name)
        except OSError:
            unlisted.append(here.relative_to(folder).as_posix())
            continue
        seen.add((status.st_dev, status.st_ino))
        if len(files) > FILES:
            message = f"{folder} holds more than {FILES:,} files: name the folder of one data set"
            raise DatasetError(message)
        for entry in entries:
            if _is_folder(entry):
                (linked if entry.is_symlink() else real).append(here / entry.name)
            else:
                files.append((here / entry.name).relative_to(folder).as_posix())
    return Found(sorted(files), sorted(unlisted))


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # links in a circle lead nowhere
        return False
