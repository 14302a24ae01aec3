"""Where inferkit keeps what takes long to make, and how it is written there."""

import os
import tempfile
from pathlib import Path


def cache_folder(kind: str) -> Path:
    """Return the folder of one kind of files: in ``$XDG_CACHE_HOME/inferkit``, by default ``~/.cache/inferkit``."""
    root = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(root) if root else Path.home() / ".cache") / "inferkit" / kind


def write_whole(path: Path, *parts: bytes) -> None:
    """Write a file that appears whole or not at all, whoever else writes the same.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines(parts)
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)
