"""Notebooks without `inferkit run`: papermill alone, in a project that was laid out."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from inferkit.cli.init import lay_out
from inferkit.records.notebooks import read_notebook
from inferkit.records.params import NOTEBOOKS
from tests.notebooks.conftest import TINY
from tests.verdicts import verdict

TINY_SET = {"data": "data/tiny", "limit": 20, "shape": [3, 16, 16], "batch_sizes": [4]}


def papermill(notebook: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Execute a project's notebook as its user would."""
    source = f"notebooks/{NOTEBOOKS[notebook].file_stem}.ipynb"
    command = [sys.executable, "-m", "papermill", source, f"{notebook}.ipynb", "-f", "parameters/tiny.yaml"]
    command.append("--no-request-save-on-cell-execute")  # it else writes all twice a cell
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.mark.usefixtures("undrawn")
def test_papermill_alone_says_which_stage_comes_first_and_keeps_to_its_project(tmp_path: Path) -> None:
    lay_out(tmp_path)
    (tmp_path / "parameters" / "tiny.yaml").write_text(yaml.safe_dump({**TINY_SET, **TINY}))
    early = papermill("03a", tmp_path)
    assert early.returncode != 0
    told = early.stderr.rstrip().splitlines()[-1]
    assert f"{tmp_path}/data/tiny holds no data set: run stage 01 first" in told
    assert "papermill notebooks/01_dataset.ipynb" in told
    for notebook in ("01", "03a"):
        done = papermill(notebook, tmp_path)
        assert done.returncode == 0, done.stderr
        (run,) = read_notebook(tmp_path / f"{notebook}.ipynb")
        assert verdict(run) == "VALID"
    assert {path.name for path in (tmp_path / "data").iterdir()} == {"tiny"}
