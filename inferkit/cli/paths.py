"""Arguments that name a file, a folder or objects: an empty one is refused, not taken for the current folder."""

from pathlib import Path

import click

from inferkit.objects.place import is_other_url, is_url


def path(text: str) -> Path:
    """Return the file or folder that an argument names.

    Raises
    ------
    click.BadParameter
        If it names none, or is a URL.
    """
    return Path(named(text))


def named(text: str) -> str:
    """Return an argument as it is, if it may name a file or folder; raises as :func:`path`."""
    return _checked(text, "a path", url=is_url(text) or is_other_url(text))


def place(text: str) -> str:
    """Return an argument that may name objects (``s3://bucket/prefix``) as well; otherwise as :func:`path`."""
    return _checked(text, "a folder or s3://bucket/prefix", url=is_other_url(text))


def _checked(text: str, expected: str, *, url: bool) -> str:
    if url or not text.strip():
        found = "a URL (a folder of that name: begin with ./)" if url else "an empty text"
        message = f"expected {expected}, found {found}"
        raise click.BadParameter(message)
    return text
