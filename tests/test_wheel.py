"""What a stranger gets who installs the wheel: all that it takes to run, and nothing is written where it lies."""

import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import pytest

from inferkit.records.notebooks import load_runs
from tests.verdicts import verdict

pytestmark = pytest.mark.xdist_group("wheel")  # built and installed once

ROOT = Path(__file__).parents[1]
TEMPLATES = "inferkit/templates/"
SHRUNK = ("images=", "limit=20", "shape=[3,16,16]", 'engines=["null"]', "transfer_bytes=[4096]", "batch_sizes=[4]")
TINY = ("warmup_s=0.05", "duration_s=0.1", "repeats=2")
Inferkit = Callable[..., subprocess.CompletedProcess[str]]


def build(source: Path, out: Path, target: str) -> Path:
    """Build a distribution without a network: the backend is installed with the extra ``dev``."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(out)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = out.glob("*.whl" if target == "wheel" else "*.tar.gz")
    return built


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, tmp_path_factory.mktemp("wheel"), "wheel")


def files(folder: str) -> set[str]:
    """Return a folder's files, without what Python and editors keep there."""
    found = (path.relative_to(ROOT) for path in (ROOT / folder).rglob("*") if path.is_file())
    return {path.as_posix() for path in found if not any(part.startswith((".", "__py")) for part in path.parts)}


def test_the_wheel_holds_the_package_its_notebooks_and_parameters_and_no_more(wheel: Path) -> None:
    names = {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}
    came_along = {f"{TEMPLATES}{name}" for folder in ("notebooks", "parameters") for name in files(folder)}
    assert names == files("inferkit") | came_along


@pytest.mark.slow
def test_the_sdist_makes_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    sdist = build(ROOT, tmp_path / "sdist", "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    again = build(tmp_path / sdist.name.removesuffix(".tar.gz"), tmp_path / "again", "wheel")
    assert again.read_bytes() == wheel.read_bytes()


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*")}


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel alone, read-only; what it depends on is that of this environment."""
    folder = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index"]
    subprocess.run([*command, "--target", str(folder), str(wheel)], check=True)
    for path in [*folder.rglob("*"), folder]:
        path.chmod(path.stat().st_mode & ~0o222)
    return folder


@pytest.fixture
def inferkit(installed: Path, tmp_path: Path) -> Inferkit:
    """Run the installed command at a stranger's home; afterwards nothing was written where it lies."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "JUPYTER_"))}
    environment |= {"HOME": str(tmp_path / "home"), "PYTHONPATH": str(installed)}
    (tmp_path / "home").mkdir()

    def run(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
        before = snapshot(installed)
        done = subprocess.run(
            [sys.executable, installed / "bin" / "inferkit", *words],
            cwd=cwd,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert snapshot(installed) == before
        return done

    return run


def changes(*texts: str) -> list[str]:
    return [word for text in texts for word in ("--set", text)]


@pytest.mark.slow
def test_the_installed_command_runs_quickstart_in_the_current_folder(inferkit: Inferkit, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    done = inferkit("run", "quickstart", "--only", "01,03b", *changes(*SHRUNK, *TINY), cwd=here)
    assert done.returncode == 0, done.stdout + done.stderr
    told = f"data set {here}/data/quickstart, executed notebooks {here}/runs/quickstart/"
    assert done.stderr.splitlines()[0] == f"quickstart (came with inferkit): {told}"
    runs = [stored.run for stored in load_runs(here / "runs")]
    assert {run.notebook for run in runs} == {"01", "03b"}
    assert {verdict(run) for run in runs} == {"VALID"}
    assert {path.name for path in here.iterdir()} == {"data", "runs"}


def test_a_project_that_the_installed_command_lays_out_runs_its_own_notebooks(
    inferkit: Inferkit, tmp_path: Path
) -> None:
    assert inferkit("init", "mine", cwd=tmp_path).returncode == 0
    mine = tmp_path / "mine"
    notebook = mine / "notebooks" / "02_host_to_device.ipynb"
    notebook.write_text(notebook.read_text().replace("## What will be measured", "## Edited by me"))
    path = mine / "parameters" / "quickstart.yaml"
    done = inferkit("run", path, "--only", "02", *changes(*TINY, "transfer_bytes=[4096]"), cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    (executed,) = (mine / "runs").rglob("*.ipynb")
    assert "## Edited by me" in executed.read_text()
    assert {path.name for path in tmp_path.iterdir()} == {"mine", "home"}


def test_nothing_runs_inside_the_installed_package(inferkit: Inferkit, installed: Path) -> None:
    for folder in ("inferkit", "inferkit/templates", "inferkit/templates/parameters"):
        done = inferkit("run", "quickstart", "--dry-run", cwd=installed / folder)
        assert done.returncode == 2, done.stdout
        assert "part of the installed inferkit" in done.stderr


def test_a_parameter_file_inside_the_installed_package_works_in_the_current_folder(
    inferkit: Inferkit, installed: Path, tmp_path: Path
) -> None:
    path = installed / "inferkit" / "templates" / "parameters" / "quickstart.yaml"
    done = inferkit("run", path, "--dry-run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"data set {tmp_path}/data/quickstart, executed notebooks {tmp_path}/runs/quickstart/" in done.stdout
