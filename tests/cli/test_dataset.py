"""The commands that stage a data set in memory."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from inferkit.cli.main import main
from inferkit.dataset.synthetic import make_synthetic
from inferkit.records.params import MakeDataset
from tests.dataset.pictures import folder_of


def inferkit(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["dataset", *map(str, words)])
    return done.exit_code, done.output


@pytest.fixture
def source(tmp_path: Path) -> Path:
    make_synthetic(MakeDataset(data=str(tmp_path / "set"), limit=9, shape=[3, 8, 8]))
    return tmp_path / "set"


def test_stage_and_unstage(source: Path, shm: Path) -> None:
    code, told = inferkit("stage", source, "--to", shm / "staged")
    assert code == 0, told
    assert str(shm / "staged") in told
    assert "on its node" in told
    (folder,) = [path for path in (shm / "staged").iterdir() if path.is_dir()]
    (folder / "mine").touch()
    code, told = inferkit("unstage", shm / "staged")
    assert code == 0
    assert f"left, since it was not staged: {folder / 'mine'}" in told
    assert "3 files removed" in told
    assert [path.name for path in shm.rglob("*") if path.is_file()] == ["mine"]


def test_what_cannot_be_staged_is_refused(source: Path, tmp_path: Path) -> None:
    code, told = inferkit("stage", source, "--to", tmp_path / "disk")
    assert (code, "is not memory" in told) == (2, True)
    code, told = inferkit("unstage", tmp_path)
    assert (code, "nothing is staged" in told) == (2, True)


def foreign_folder(folder: Path) -> list[object]:
    (folder / "set").mkdir()
    (folder / "set" / "dataset.json").write_text("{")
    return ["make", "", folder / "set"]


def a_file_for_a_folder(folder: Path) -> list[object]:
    (folder / "set").touch()
    return ["make", "", folder / "set"]


def no_photographs(folder: Path) -> list[object]:
    return ["make", folder, folder / "set"]


def no_usable_photograph(folder: Path) -> list[object]:
    (folder / "a.jpg").write_text("text")
    return ["make", folder, folder / "set"]


def altered(folder: Path) -> list[object]:
    made = make_synthetic(MakeDataset(data=str(folder / "set"), limit=3, shape=[3, 8, 8])).dataset
    made.path(0).write_bytes(bytes(made.nbytes))
    return ["verify", folder / "set"]


def truncated(folder: Path) -> list[object]:
    made = make_synthetic(MakeDataset(data=str(folder / "set"), limit=3, shape=[3, 8, 8])).dataset
    made.path(0).write_bytes(b"x")
    return ["verify", folder / "set"]


@pytest.mark.parametrize(
    ("prepare", "expected"),
    [
        (foreign_folder, 2),
        (a_file_for_a_folder, 2),
        (no_photographs, 2),
        (truncated, 2),
        (no_usable_photograph, 1),
        (altered, 1),
    ],
)
def test_what_is_refused_exits_2_and_what_fails_1(
    tmp_path: Path, prepare: Callable[[Path], list[object]], expected: int
) -> None:
    code, told = inferkit(*prepare(tmp_path))
    assert code == expected, told
    assert "inferkit: " in told or "altered: " in told


def test_how_many_more_were_skipped_is_told(tmp_path: Path) -> None:
    folder_of(tmp_path / "images", 1)
    for index in range(103):
        (tmp_path / "images" / f"{index:03d}.jpg").touch()
    command = ["dataset", "make", str(tmp_path / "images"), str(tmp_path / "out"), "--size", "16"]
    made = CliRunner().invoke(main, command)
    assert made.exit_code == 0, made.output
    assert made.stderr.count("empty\n") == 100
    assert f"skipped 3 more: {tmp_path / 'out' / 'dataset.json'} lists all\n" in made.stderr
