"""What was asked for in the form, as a parameter file that `inferkit run` takes."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from inferkit.errors import ParameterError
from inferkit.files import write_whole
from inferkit.os_errors import explained
from inferkit.records.project import project_root

SAVED = "# Saved from the cockpit"
"""Begins the files that may be written over: those of people hold comments."""


def as_yaml(values: Mapping[str, Any]) -> str:
    """Return parameters as the text of a file, in the order in which they were given."""
    return "".join(_line(name, value) for name, value in values.items())


def _line(name: str, value: Any) -> str:
    flow = None if isinstance(value, list) else False  # lists on one line, rules one on each
    text: str = yaml.safe_dump({name: value}, default_flow_style=flow, allow_unicode=True, width=120)
    return text


def save(values: Mapping[str, Any], name: str) -> Path:
    """Write a parameter file into the project's ``parameters/``.

    Parameters
    ----------
    values
        Parameters by name.
    name
        Of the file, with or without ``.yaml``.

    Returns
    -------
    path
        Of the file.

    Raises
    ------
    ParameterError
        If the name is a path, if such a file was written by somebody else, or if it cannot be written.
    """
    if not name.strip(". ") or set(name) & set("/\\\0"):
        message = f"{name!r} is no name of a file: write one such as mine.yaml, without a folder"
        raise ParameterError(message)
    path = project_root() / "parameters" / f"{name.removesuffix('.yaml')}.yaml"
    try:
        path.parent.mkdir(exist_ok=True)
        if path.exists() and not path.read_text(encoding="utf-8", errors="replace").startswith(SAVED):
            message = f"{path.name} is there already, and was not written by the cockpit: choose another name"
            raise ParameterError(message)
        write_whole(path, f"{SAVED}, {datetime.now(UTC):%Y-%m-%d}.\n{as_yaml(values)}".encode())
    except OSError as error:
        message = f"{path} cannot be written: {explained(error)}"
        raise ParameterError(message) from error
    return path
