"""No test of ranks leaves anything behind."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from inferkit.ranks import forked


def children() -> set[int]:
    """Return the processes below this one, zombies included, but for the fork server that waits for the next rank."""
    servers = {server._process.pid for server in forked._servers if server.idle()}
    return {child.pid for child in psutil.Process().children(recursive=True)} - servers


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
