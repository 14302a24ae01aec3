"""Lay out a project of one's own: the notebooks and parameter files that came with inferkit, to be edited."""

from pathlib import Path

from inferkit.errors import ParameterError
from inferkit.files import obstacle
from inferkit.os_errors import explained
from inferkit.records.project import PACKAGE, PARTS, current_folder, shipped

SUFFIXES = {".ipynb", ".yaml"}


def lay_out(folder: Path) -> list[Path]:
    """Copy notebooks and parameter files into a folder, which is made where it is missing.

    Returns
    -------
    written
        The files, in the order of their names.

    Raises
    ------
    ParameterError
        If the folder has notebooks or parameters already, is no folder, or cannot be written to.
    """
    folder = current_folder() / folder
    _check(folder)
    written = []
    for source in _files():
        path = folder / source.relative_to(shipped())
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:  # unlike a copy of the file, one that its owner may edit
                file.write(source.read_bytes())
        except OSError as error:
            message = f"{path} cannot be written: {explained(error)}"
            raise ParameterError(message) from error
        written.append(path)
    return written


def _check(folder: Path) -> None:
    there = [str(folder / part) for part in PARTS if (folder / part).exists() or (folder / part).is_symlink()]
    if there:
        message = f"{' and '.join(there)} {'are' if len(there) > 1 else 'is'} there already: name another folder"
        raise ParameterError(message)
    if folder.resolve().is_relative_to(PACKAGE):
        message = f"{folder} is part of the installed inferkit: name a folder of your own"
        raise ParameterError(message)
    if why := obstacle(folder):
        message = f"{folder} cannot be made, {why}: name a folder that you may write to"
        raise ParameterError(message)


def _files() -> list[Path]:
    """Return what came with inferkit, without what an editor keeps beside it."""
    found = [path for part in PARTS for path in (shipped() / part).rglob("*") if path.suffix in SUFFIXES]
    return sorted(path for path in found if ".ipynb_checkpoints" not in path.parts)
