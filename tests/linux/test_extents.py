import os
from pathlib import Path

import pytest

from inferkit.linux import extents
from inferkit.linux.extents import Stored, repeated_share, stored
from tests.mounting import Mounts

MEBIBYTE = 2**20


def written(path: Path, *, holes: int = 0, data: int = MEBIBYTE) -> Path:
    """Write data, a hole, and data again."""
    with path.open("wb") as file:
        file.write(os.urandom(data))
        file.seek(holes, os.SEEK_CUR)
        file.write(os.urandom(data))
        os.fsync(file.fileno())
    return path


def test_a_file_that_was_written(tmp_path: Path) -> None:
    assert stored(written(tmp_path / "file")) == Stored(2 * MEBIBYTE, 0)
    assert stored(written(tmp_path / "small", data=100)) == Stored(200, 0)


@pytest.mark.parametrize("folder", ["tmp_path", "shm"])
def test_holes(request: pytest.FixtureRequest, folder: str) -> None:
    place: Path = request.getfixturevalue(folder)
    assert stored(written(place / "file", holes=6 * MEBIBYTE)) == Stored(8 * MEBIBYTE, 6 * MEBIBYTE)
    with (place / "all").open("wb") as file:
        file.truncate(MEBIBYTE + 5)
    assert stored(place / "all") == Stored(MEBIBYTE + 5, MEBIBYTE + 5)
    (place / "nothing").touch()
    assert stored(place / "nothing") == Stored(0, 0)


def test_where_extents_are_not_told_holes_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "file", holes=6 * MEBIBYTE)
    monkeypatch.setattr(extents, "_FS_IOC_FIEMAP", 0)
    assert stored(path) == Stored(8 * MEBIBYTE, 6 * MEBIBYTE)


def test_more_extents_than_are_told_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extents, "_AT_A_TIME", 2)
    with (tmp_path / "file").open("wb") as file:
        for index in range(7):
            file.seek(index * 2 * MEBIBYTE)
            file.write(bytes(MEBIBYTE))
    assert stored(tmp_path / "file") == Stored(13 * MEBIBYTE, 6 * MEBIBYTE)


def test_blocks_that_were_never_written(mounts: Mounts) -> None:
    path = written(mounts.loop("image", mounts.tmpfs("memory")) / "file")
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 2 * MEBIBYTE, 3 * MEBIBYTE)
    assert stored(path) == Stored(5 * MEBIBYTE, 3 * MEBIBYTE)


def test_what_is_compressed(mounts: Mounts) -> None:
    image = mounts.loop("image", mounts.tmpfs("memory"), "btrfs", 256 * MEBIBYTE, "compress-force=zstd")
    (image / "file").write_bytes(bytes(range(256)) * 4096)
    assert stored(image / "file") == Stored(MEBIBYTE, 0, MEBIBYTE)


def test_no_such_file(tmp_path: Path) -> None:
    assert stored(tmp_path / "gone") is None


def test_what_files_share_counts_once() -> None:
    one, other = Stored(100, 0, 0, ((0, 60), (500, 40))), Stored(100, 0, 0, ((0, 60), (900, 40)))
    assert repeated_share([one, other]) == 0.3
    assert repeated_share([one]) == repeated_share([]) == 0.0  # a snapshot may share with it, and is not read
