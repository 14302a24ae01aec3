import ctypes
import mmap
import os
import tempfile
from pathlib import Path

import pytest

from inferkit.errors import ReadError
from inferkit.linux.direct_io import DirectIo, direct_io_alignment


def test_aligned_read_gives_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"".join(index.to_bytes(4, "little") for index in range(8192)))
    found = direct_io_alignment(path)
    assert found is None or isinstance(found, DirectIo)
    if found is None:
        pytest.skip(f"{tmp_path}: the file system or a kernel before 6.1 reports no alignment")
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT)
    try:
        with mmap.mmap(-1, mmap.PAGESIZE) as buffer:
            assert mmap.PAGESIZE % found.memory == 0
            assert os.preadv(descriptor, [memoryview(buffer)[: found.offset]], found.offset) == found.offset
            assert buffer[: found.offset] == path.read_bytes()[found.offset : 2 * found.offset]
    finally:
        os.close(descriptor)


def test_tmpfs_reports_none() -> None:
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as file:
        assert direct_io_alignment(Path(file.name)) is None


def test_folder_reports_none(tmp_path: Path) -> None:
    assert direct_io_alignment(tmp_path) is None


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="missing: No such file or directory"):
        direct_io_alignment(tmp_path / "missing")


def test_c_library_without_statx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: object())
    assert direct_io_alignment(tmp_path) is None
