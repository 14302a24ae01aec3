"""A project of one's own is laid out once, whole, and can be edited."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from inferkit.cli.main import main
from inferkit.records.params import NOTEBOOKS
from inferkit.records.project import PACKAGE, came_along, shipped
from inferkit.text import COLUMNS
from tests.cli.conftest import invoke


def init(folder: Path) -> Result:
    return CliRunner().invoke(main, ["init", str(folder)])


@pytest.mark.parametrize("name", ["new", "a/b/new", "with blanks", "."])
def test_what_came_along_is_laid_out_and_told(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = init(Path(name))
    assert done.exit_code == 0, done.output
    folder = tmp_path / name
    stems = {model.file_stem for model in NOTEBOOKS.values()} | {"start"}
    assert {path.stem for path in (folder / "notebooks").iterdir()} == stems
    for path in folder.rglob("*.*"):
        assert path.read_bytes() == (shipped() / path.relative_to(folder)).read_bytes()
        assert str(path) in done.output
        assert os.access(path, os.W_OK)
    assert "inferkit run nvme --dry-run" in done.output


def test_what_is_there_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "parameters").mkdir()
    (tmp_path / "parameters" / "nvme.yaml").write_text("mine")
    done = init(tmp_path)
    assert (done.exit_code, "parameters is there already" in done.output) == (2, True)
    assert [path.name for path in tmp_path.rglob("*.*")] == ["nvme.yaml"]
    assert init(tmp_path / "other").exit_code == 0
    assert init(tmp_path / "other").exit_code == 2


@pytest.mark.parametrize("folder", ["file", "file/below", "dangling", PACKAGE / "mine"])
def test_where_none_can_be_made_the_reason_is_told(tmp_path: Path, folder: str | Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    done = init(tmp_path / folder)
    assert done.exit_code == 2
    assert "name " in done.output
    assert "Traceback" not in done.output
    assert not (PACKAGE / "mine").exists()


def test_a_project_s_parameters_are_listed_as_its_own(tmp_path: Path) -> None:
    assert init(tmp_path).exit_code == 0
    (tmp_path / "parameters" / "nas.yaml").unlink()
    comment = "# My array.\n# How it is mounted.\n"
    (tmp_path / "parameters" / "mine.yaml").write_text(comment + "engines: ['null']\n")
    (tmp_path / "parameters" / "bare.yaml").write_text("engines: ['null']\n")
    kept = tmp_path / "parameters" / ".ipynb_checkpoints"
    kept.mkdir()
    (kept / "mine-checkpoint.yaml").touch()
    lines = invoke("run", cwd=tmp_path / "notebooks").stdout.splitlines()
    whose = {line.split("  ")[0].strip(): line.split(maxsplit=1)[1].strip() for line in lines if line[0] != " "}
    assert whose["mine"] == "this project  My array."
    assert whose["bare"].startswith("this project")
    assert max(map(len, lines)) <= COLUMNS
    assert whose["nas"].startswith("inferkit")
    assert whose["examples/recipe_grid"].startswith("this project")
    assert "mine-checkpoint" not in " ".join(whose)


def test_what_came_with_inferkit_is_no_own_even_where_it_is_installed_in_the_project(tmp_path: Path) -> None:
    """As in a folder with its environment, ``.venv``, in it."""
    file = shipped() / "parameters" / "nas.yaml"
    assert came_along(file, tmp_path)
    assert came_along(file, shipped().parent)
    assert not came_along(file, shipped())
    assert not came_along(tmp_path / "parameters" / "nas.yaml", tmp_path)
