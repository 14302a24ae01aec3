from pathlib import Path

import pytest

from inferkit.linux.preload import preloaded
from tests.machines import write


def test_libraries_are_named_without_their_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    assert preloaded(tmp_path) == []
    monkeypatch.setenv("LD_PRELOAD", "/home/ann/libfaketime.so.1:libjemalloc.so.2")
    write(tmp_path, "etc/ld.so.preload", "/usr/lib/libsnoopy.so\n")
    assert preloaded(tmp_path) == ["libfaketime.so.1", "libjemalloc.so.2", "libsnoopy.so"]
