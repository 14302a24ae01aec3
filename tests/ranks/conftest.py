"""No test of ranks leaves anything behind."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from inferkit.ranks import forked


def children() -> set[int]:
    """Return this process's children and theirs, zombies included."""
    forked.end_idle()
    return {child.pid for child in psutil.Process().children(recursive=True)}


@pytest.fixture
def nothing_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing of a rank may stay: no process, no temporary file."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    before = children()
    yield
    assert children() == before
    assert list(folder.iterdir()) == []
