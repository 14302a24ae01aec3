"""Where the project is: upward from the current folder, else that folder itself, and never inside the package."""

from pathlib import Path

import pytest

from inferkit.errors import ParameterError
from inferkit.records import project
from inferkit.records.project import PARTS, find, project_of, project_root, resolve, shipped, within


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Lay out an empty project with a folder below it."""
    for part in (*PARTS, "runs/nvme"):
        (tmp_path / "own" / part).mkdir(parents=True)
    return tmp_path / "own"


@pytest.mark.parametrize("below", ["", "notebooks", "parameters", "runs", "runs/nvme"])
def test_the_nearest_project_upward_is_the_one(own: Path, below: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(own / below)
    assert project_root() == own
    assert resolve("data/x") == own / "data" / "x"


def test_a_project_within_a_project_is_its_own(own: Path) -> None:
    for part in PARTS:
        (own / "runs" / part).mkdir()
    assert project_of(own / "runs" / "nvme") == own / "runs"


@pytest.mark.parametrize("part", PARTS)
def test_half_a_project_is_none(tmp_path: Path, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / part).mkdir()
    monkeypatch.chdir(tmp_path / part)
    assert project_root() == tmp_path / part


def test_elsewhere_the_current_folder_takes_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert project_root() == tmp_path
    assert resolve("data") == tmp_path / "data"
    assert resolve("~/x") == Path.home() / "x"
    assert find("notebooks/01_dataset.ipynb").is_file()  # it came along


def test_a_project_s_own_notebook_replaces_the_one_that_came_along(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(own)
    name = "notebooks/01_dataset.ipynb"
    assert find(name) == shipped() / name
    (own / name).touch()
    assert find(name) == own / name


def test_another_folder_s_project_counts_for_a_while(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with within(own):
        assert resolve("x") == own / "x"
    assert resolve("x") == tmp_path / "x"


def test_a_current_folder_that_was_removed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(ParameterError, match="not there any more"):
        project_root()


def installed(package: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pretend that the package was installed from a wheel."""
    for part in PARTS:
        (package / "templates" / part).mkdir(parents=True)
    monkeypatch.setattr(project, "PACKAGE", package)
    return package


@pytest.mark.parametrize("below", ["", "templates", "templates/parameters"])
def test_the_installed_package_is_no_place_to_work_in(
    tmp_path: Path, below: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = installed(tmp_path / "site-packages" / "inferkit", monkeypatch)
    monkeypatch.chdir(package / below)
    with pytest.raises(ParameterError, match="part of the installed inferkit"):
        project_root()
    assert shipped() == package / "templates"


def test_a_package_without_its_notebooks_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "PACKAGE", tmp_path / "site-packages" / "inferkit")
    with pytest.raises(ParameterError, match="came without its notebooks"):
        shipped()


@pytest.mark.parametrize("url", ["s3://bucket/x", "http://host/x", "gs://b", "file:///etc", "s3://user:secret@bucket"])
def test_a_url_becomes_no_folder_of_that_name(url: str) -> None:
    with pytest.raises(ParameterError, match="is a URL, and must be a path") as refused:
        resolve(url)
    assert "secret" not in str(refused.value)
