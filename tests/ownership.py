"""Folders and files of another user, for tests of what is trusted; skipped, with the reason, where not root."""

import os
from pathlib import Path

import pytest

STRANGER = 54321
"""A user of whom nothing is known here."""

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")


def give_away(*paths: Path) -> None:
    """Let paths belong to a stranger; links themselves, not what they lead to."""
    for path in paths:
        os.chown(path, STRANGER, STRANGER, follow_symlinks=False)
