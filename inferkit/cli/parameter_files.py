"""Parameter files: which there are, where one lies, and what is written in it."""

import difflib
import sys
from pathlib import Path
from typing import Any

from inferkit.cli.plain_yaml import MOST_BYTES, plain_yaml
from inferkit.errors import ParameterError
from inferkit.files import read_regular
from inferkit.records.project import PACKAGE, project_of, project_root, shipped
from inferkit.text import quoted

STANDARD_INPUT = Path("standard input")
"""Stands for a file that is read from there."""


def located(config: str) -> tuple[Path, Path]:
    """Return a parameter file, and the folder that its relative paths resolve against: none of inferkit's own.

    Raises
    ------
    ParameterError
        If there is none of that name.
    """
    if config == "-":
        return STANDARD_INPUT, project_root()
    given, named = Path(config), configurations()
    if given.is_file():
        path = given.parent.resolve() / given.name
        root = project_of(path.parent)
        return path, project_root() if root.is_relative_to(PACKAGE) else root
    if config in named:
        return named[config], project_root()
    if given.is_dir():
        message = f"{quoted(config)} is a folder: name a parameter file (its notebooks: `inferkit runs {config}`)"
        raise ParameterError(message)
    near = difflib.get_close_matches(config, named, n=1)
    hint = f": did you mean {near[0]!r}?" if near else ""
    message = f"{quoted(config)} is neither a file nor one of {', '.join(named)}{hint}"
    raise ParameterError(message)


def configurations() -> dict[str, Path]:
    """Return the parameter files that came with inferkit and those of the project, by their names.

    A project's own replaces one that came along.
    """
    found = {}
    for folder in (shipped() / "parameters", project_root() / "parameters"):
        for path in folder.rglob("*.yaml"):
            name = path.relative_to(folder).with_suffix("")
            if path.is_file() and not any(part.startswith(".") for part in name.parts):
                found[name.as_posix()] = path
    return dict(sorted(found.items(), key=lambda item: ("/" in item[0], item[0])))


def read(path: Path) -> dict[str, Any]:
    """Read a parameter file, or standard input.

    Raises
    ------
    ParameterError
        If it cannot be read, is not YAML, or holds something else than names and values.
    """
    try:
        text = _standard_input() if path is STANDARD_INPUT else read_regular(path, MOST_BYTES)
        values = plain_yaml(text)
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
        raise ParameterError(message) from error
    except ParameterError as error:
        message = f"{path} {error}"
        raise ParameterError(message) from error
    if not isinstance(values, dict):
        message = f"{path} holds {type(values).__name__}, expected `name: value` lines"
        raise ParameterError(message)
    for key in values:
        if not isinstance(key, str):
            message = (
                f"{path}: a key was read as {quoted(key)}: YAML takes on, off, yes, no and numbers for values; quote it"
            )
            raise ParameterError(message)
    return values


def _standard_input() -> bytes:
    return sys.stdin.buffer.read(MOST_BYTES + 1)
