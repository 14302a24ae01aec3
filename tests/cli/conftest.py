"""What several tests of the doors need: a data set, its parameter file, and one run of it that they share."""

import contextlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from click.testing import CliRunner, Result

from inferkit.cli.main import main
from inferkit.dataset.synthetic import make_synthetic
from inferkit.records.params import MakeDataset

TINY = {"warmup_s": 0.05, "duration_s": 0.1, "repeats": 1}
WriteConfig = Callable[..., Path]


def inferkit(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    command = [sys.executable, "-m", "inferkit.cli.main", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def invoke(*arguments: str | Path, cwd: Path | None = None, given: str = "") -> Result:
    """Run a command that executes nothing in this process: another takes most of a second to start."""
    with contextlib.chdir(cwd or Path.cwd()):
        return CliRunner().invoke(main, list(map(str, arguments)), input=given)


def write_data(folder: Path) -> str:
    make_synthetic(MakeDataset(data=str(folder / "tensors"), limit=50, shape=[3, 16, 16], images_per_file=20))
    return str(folder / "tensors")


def write_config(folder: Path, text: str = "", **values: Any) -> Path:
    path = folder / "disk.yaml"
    base = {"engines": ["null"], "transfer_bytes": [4096], "batch_sizes": [8], **TINY}
    path.write_text(yaml.safe_dump({**base, **values}) + text)
    return path


@pytest.fixture
def data(tmp_path: Path) -> str:
    return write_data(tmp_path)


@pytest.fixture
def config(tmp_path: Path, data: str) -> WriteConfig:
    """Write a parameter file and return its path."""
    return lambda text="", **values: write_config(tmp_path, text, **{"data": data, **values})


@pytest.fixture
def uncopied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask the storage in this process: to make the copy that may hang takes longer than all that is said of a file."""
    monkeypatch.setattr("inferkit.machine.watched.watched", lambda work, show=print: work(show))


class Executed(NamedTuple):
    """A run of notebooks 02, 03a and 03b with three reader threads: its parameter file, folder and end."""

    config: Path
    out: Path
    done: subprocess.CompletedProcess[str]

    def notebook(self, name: str) -> Path:
        (path,) = self.out.rglob(f"{name}_*.ipynb")
        return path


@pytest.fixture(scope="session")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Executed:
    """Execute notebooks once, elsewhere than in the project; whoever uses them is of the xdist group ``executed``."""
    folder = tmp_path_factory.mktemp("executed")
    path, out = write_config(folder, data=write_data(folder)), folder / "runs"
    done = inferkit("run", path, "--only", "02,03a,03b", "--set", "threads=[3]", "--out", out, cwd=folder)
    return Executed(path, out, done)
