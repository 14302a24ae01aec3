"""The steps that all makes share, on synthetic images: no process is started."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inferkit.dataset import make as module
from inferkit.dataset.format import open_dataset
from inferkit.dataset.make import MakeReport
from inferkit.dataset.synthetic import make_synthetic
from inferkit.errors import DatasetError
from inferkit.records.params import MakeDataset
from tests.dataset.pictures import contents


class Stop(Exception):
    pass


def make(folder: Path, *, stop_after: int = 10**9, seed: int = 0, overwrite: bool = False) -> MakeReport:
    """Make 7 images in files of 3, 3 and 1; raise Stop when ``stop_after`` of them are done."""

    def progress(done: int, total: int) -> None:
        if done >= stop_after:
            raise Stop

    return make_synthetic(
        MakeDataset(data=str(folder), limit=7, size=4, images_per_file=3, seed=seed),
        overwrite=overwrite,
        progress=progress,
    )


@pytest.mark.parametrize(("stop_after", "kept"), [(0, 0), (3, 3), (6, 6), (7, 7)])
def test_an_interrupted_make_resumes_byte_identically(tmp_path: Path, stop_after: int, kept: int) -> None:
    make(tmp_path / "whole")
    with pytest.raises(Stop):
        make(tmp_path / "stopped", stop_after=stop_after)
    if kept:
        with pytest.raises(DatasetError, match="half made"):
            open_dataset(tmp_path / "stopped")
    report = make(tmp_path / "stopped")
    assert (report.resumed, report.made) == (kept, 7 - kept)
    assert contents(tmp_path / "stopped") == contents(tmp_path / "whole")


def test_kept_files_are_not_written_again(tmp_path: Path) -> None:
    with pytest.raises(Stop):
        make(tmp_path, stop_after=3)
    before = (tmp_path / "images-00000.tensors").stat()
    make(tmp_path)
    after = (tmp_path / "images-00000.tensors").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_a_finished_set_of_the_same_recipe_is_kept(tmp_path: Path) -> None:
    make(tmp_path)
    before = contents(tmp_path)
    (tmp_path / "dataset.journal").write_bytes(b"killed between manifest and journal")
    report = make(tmp_path)
    assert (report.made, report.resumed, report.images_per_s) == (0, 7, 0)
    assert contents(tmp_path) == before


def test_another_recipe_is_refused_with_the_fix_and_overwritten_if_asked(tmp_path: Path) -> None:
    make(tmp_path / "old")
    before = contents(tmp_path / "old")
    with pytest.raises(DatasetError, match=r"made otherwise: 7 uint8 images \(3, 4, 4\).*--overwrite"):
        make(tmp_path / "old", seed=1)
    assert contents(tmp_path / "old") == before
    assert make(tmp_path / "old", seed=1, overwrite=True).made == 7
    make(tmp_path / "new", seed=1)
    assert contents(tmp_path / "old") == contents(tmp_path / "new") != before


def test_overwriting_with_fewer_files_leaves_none_behind(tmp_path: Path) -> None:
    make(tmp_path)
    make_synthetic(MakeDataset(data=str(tmp_path), limit=1, size=4), overwrite=True)
    assert set(contents(tmp_path)) == {"dataset.json", "dataset.xxh3", "images-00000.tensors"}
    assert open_dataset(tmp_path).images == 1


def test_a_truncated_finished_set_is_refused_by_name(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "images-00001.tensors").write_bytes(bytes(143))
    with pytest.raises(DatasetError, match=r"images-00001\.tensors holds 143 bytes"):
        make(tmp_path)


def test_progress_begins_with_what_is_kept_and_ends_with_all(tmp_path: Path) -> None:
    with pytest.raises(Stop):
        make(tmp_path, stop_after=3)
    seen: list[tuple[int, int]] = []
    make_synthetic(
        MakeDataset(data=str(tmp_path), limit=7, size=4, images_per_file=3), progress=lambda *now: seen.append(now)
    )
    assert seen == [(3, 7), (6, 7), (7, 7)]


def test_too_little_space_is_told_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"free, but 151 TB more are needed"):
        make_synthetic(MakeDataset(data=str(tmp_path), limit=10**9, images_per_file=10**8))
    assert contents(tmp_path) == {}


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"cannot be written: (Not a directory|File exists)"):
        make(tmp_path / "file")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0
    if not mounted:
        pytest.skip("mounting a tmpfs needs root; RLIMIT_FSIZE covers refused writes in test_images.py")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_fills_up_leaves_whole_files_and_the_make_resumes(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Space is taken by others after it was checked."""
    options: dict[str, Any] = {"limit": 10, "size": 224, "images_per_file": 3}  # 452 kB a file
    monkeypatch.setattr(module, "check_space", lambda folder, nbytes: None)
    with pytest.raises(DatasetError, match=r"images-00002\.tensors .*No space left.*needs 452 kB, .* free.*resumes"):
        make_synthetic(MakeDataset(data=str(small_disk), **options))
    assert set(contents(small_disk)) == {"dataset.journal", "images-00000.tensors", "images-00001.tensors"}
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
    report = make_synthetic(MakeDataset(data=str(small_disk), **options))
    assert (report.resumed, report.made) == (6, 4)
    make_synthetic(MakeDataset(data=str(tmp_path / "whole"), **options))
    assert contents(small_disk) == contents(tmp_path / "whole")


def test_space_is_checked_on_the_disk_that_is_written_to(small_disk: Path) -> None:
    with pytest.raises(DatasetError, match=r"1\.0[45] MB free, but 1\.05 MB more are needed"):
        make_synthetic(MakeDataset(data=str(small_disk), limit=7))
    assert contents(small_disk) == {}
    assert make_synthetic(MakeDataset(data=str(small_disk), limit=6)).made == 6
