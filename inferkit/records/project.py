"""The project that notebooks and parameter files lie in, and what relative paths in them mean."""

from pathlib import Path

from inferkit.errors import ParameterError


def project_root() -> Path:
    """Return the folder that holds ``notebooks/`` and ``parameters/``; relative paths resolve against it.

    Raises
    ------
    ParameterError
        If neither the package's checkout nor any folder above the current one is such a project.
    """
    for folder in (Path(__file__).resolve().parents[2], Path.cwd(), *Path.cwd().parents):
        if (folder / "notebooks").is_dir() and (folder / "parameters").is_dir():
            return folder
    message = f"no folder above {Path.cwd()} holds notebooks/ and parameters/: change to a checkout of inferkit"
    raise ParameterError(message)


def resolve(path: str) -> Path:
    """Resolve a path of a parameter against the project's root; ``~`` is the home folder."""
    return (project_root() / Path(path).expanduser()).resolve()
