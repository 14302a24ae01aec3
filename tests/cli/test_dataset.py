"""The commands that stage a data set in memory."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from inferkit.cli.main import main
from inferkit.dataset.synthetic import make_synthetic
from inferkit.records.params import MakeDataset


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
