import os
from pathlib import Path

import pytest

from inferkit.dataset.folders import Found, search


def tree(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_all_files_are_found_sorted(tmp_path: Path) -> None:
    tree(tmp_path, "b/2", "b/1", "a/c/3", "0", ".hidden/4")
    assert search(tmp_path) == Found([".hidden/4", "0", "a/c/3", "b/1", "b/2"], [])


def test_links_to_folders_are_followed_and_each_folder_is_found_once(tmp_path: Path) -> None:
    tree(tmp_path / "elsewhere", "x/1", "y/2")
    data = tree(tmp_path / "data", "real/3")
    (data / "all").symlink_to(tmp_path / "elsewhere")
    (data / "again").symlink_to(tmp_path / "elsewhere" / "y")
    (data / "latest").symlink_to("real")
    (data / "file").symlink_to(tmp_path / "elsewhere" / "x" / "1")
    assert search(data).files == ["again/2", "all/x/1", "file", "real/3"]
    (tmp_path / "link").symlink_to(data)
    assert search(tmp_path / "link").files == search(data).files


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    data = tree(tmp_path / "data", "a/1")
    (data / "a" / "up").symlink_to(data)
    (data / "a" / "self").symlink_to("self")
    (data / "root").symlink_to(tmp_path)
    assert search(data) == Found(["a/1", "a/self"], [])
    ladder = tree(tmp_path / "ladder", "0/file")
    for step in range(40):  # two ways to each next step: 2⁴⁰ paths
        for name in ("left", "right"):
            tree(ladder, f"{step + 1}/file")
            (ladder / str(step) / name).symlink_to(f"../{step + 1}")
    assert len(search(ladder).files) == 41


def test_what_cannot_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, "a/1", "secret/2")
    real = os.scandir

    def refuse(path: Path) -> "os._ScandirIterator[str]":
        if Path(path).name == "secret":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert search(tmp_path) == Found(["a/1"], ["secret"])
    assert search(tmp_path / "missing") == Found([], ["."])
