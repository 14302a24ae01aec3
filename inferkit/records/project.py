"""Where the project is that notebooks and parameter files lie in, and what relative paths in them mean.

The project is the nearest folder, upward from the current one or from a parameter file, that holds ``notebooks/`` and
``parameters/``: a checkout, or what ``inferkit init`` laid out. Where there is none, the folder itself takes its place,
and notebooks and parameter files are those that came with inferkit. Nothing is ever written beside these.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from inferkit.errors import ParameterError
from inferkit.objects.place import is_other_url, is_url, without_user
from inferkit.text import quoted

PACKAGE = Path(__file__).resolve().parents[1]
PARTS = ("notebooks", "parameters")
"""What makes a folder a project."""

_chosen: ContextVar[Path | None] = ContextVar("project", default=None)


def is_project(folder: Path) -> bool:
    """Tell whether a folder holds notebooks and parameters."""
    return all((folder / part).is_dir() for part in PARTS)


def project_of(folder: Path) -> Path:
    """Return the nearest project, from a folder upward; the folder itself where there is none."""
    return next((place for place in (folder, *folder.parents) if is_project(place)), folder)


def current_folder() -> Path:
    """Return the current folder.

    Raises
    ------
    ParameterError
        If it was removed meanwhile.
    """
    try:
        return Path.cwd()
    except FileNotFoundError as error:
        message = "the current folder is not there any more: change to another"
        raise ParameterError(message) from error


def project_root() -> Path:
    """Return the folder that relative paths resolve against, and in which runs and data sets lie unless told otherwise.

    Raises
    ------
    ParameterError
        If there is no current folder, or it lies inside the installed package, where nothing is to be written.
    """
    root = _chosen.get() or project_of(current_folder())
    if root.is_relative_to(PACKAGE):
        message = f"{root} is part of the installed inferkit: change to a folder of your own, or `inferkit init DIR`"
        raise ParameterError(message)
    return root


@contextmanager
def within(root: Path) -> Iterator[None]:
    """Let relative paths resolve against another folder for a while."""
    token = _chosen.set(root)
    try:
        yield
    finally:
        _chosen.reset(token)


def resolve(path: str) -> Path:
    """Resolve a path of a parameter against the project's root; ``~`` is the home folder.

    Raises
    ------
    ParameterError
        If it is a URL, begins with the name of a user that there is none of, or is the whole file system: nobody means
        that, and to look through it takes minutes.
    """
    try:
        expanded = local(path).expanduser()
    except RuntimeError as error:
        message = f"{path!r} begins with the name of a user, and there is no such user: write the path from / on"
        raise ParameterError(message) from error
    try:
        found = (project_root() / expanded).resolve()
    except (RuntimeError, OSError) as error:
        message = f"{path!r} leads nowhere: {error}"
        raise ParameterError(message) from error
    if found == Path(found.anchor):
        message = f"{path!r} is the whole file system: name a folder in it"
        raise ParameterError(message)
    return found


def local(path: str) -> Path:
    """Return what names files of this machine as a path.

    Raises
    ------
    ParameterError
        If it is a URL, which as a path would be a folder ``s3:`` here.
    """
    if is_url(path) or is_other_url(path):
        message = (
            f"{quoted(without_user(path))} is a URL, and must be a path: data and images alone may be s3://bucket/…"
        )
        raise ParameterError(message)
    return Path(path)


def shipped() -> Path:
    """Return the folder of the notebooks and parameter files that came with inferkit.

    They travel inside the package; where it is imported from a checkout, they lie beside it.

    Raises
    ------
    ParameterError
        If they did not come along.
    """
    for folder in (PACKAGE / "templates", PACKAGE.parent):
        if is_project(folder):
            return folder
    message = f"{PACKAGE} came without its notebooks: install inferkit again, from its wheel or its checkout"
    raise ParameterError(message)


def came_along(file: Path, root: Path) -> bool:
    """Tell whether a file came with inferkit, and is not the project's own; inferkit may be installed inside it."""
    return file.is_relative_to(shipped()) and shipped() != root


def find(name: str) -> Path:
    """Return a file of the project, such as ``notebooks/01_dataset.ipynb``, or the one that came with inferkit."""
    own = project_root() / name
    return own if own.is_file() else shipped() / name
