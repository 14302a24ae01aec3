"""Notebook 03d, executed by papermill against a scheduler and two workers of their own."""

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("distributed", reason="pip install 'inferkit[cluster]'")

from tests.cluster.conftest import Started, cluster
from tests.notebooks.conftest import TINY

__all__ = ["cluster"]

pytestmark = pytest.mark.filterwarnings("default")  # papermill and its kernels warn of their own


@pytest.mark.slow
def test_03d_compares_one_machine_with_two(execute: Any, tmp_path: Path, cluster: Started) -> None:
    asked = {"ranks": [1], "engines": ["null"], "batch_sizes": [4], "threads": [1], "same_host": True}
    runs = execute("03d", scheduler=str(cluster.file), data="tensors", node_counts=[1, 2], **asked, **TINY)
    assert [(run.measure, run.point["nodes"]) for run in runs] == [
        *(("read", 1), ("copy", 1), ("pipeline", 1)),
        *(("read", 2), ("copy", 2), ("pipeline", 2)),
    ]
    assert all(run.failure is None for run in runs)
    cells = json.loads((tmp_path / "03d_cluster.ipynb").read_text())["cells"]
    assert not [output for cell in cells for output in cell.get("outputs", ()) if output["output_type"] == "error"]
    text = (tmp_path / "03d_cluster.ipynb").read_text()
    for told in ("slowest node", "What do more machines bring?", "Did every machine keep up?"):
        assert told in text


def test_03d_without_its_machines_says_why_and_fails(execute: Any, tmp_path: Path) -> None:
    (run,) = execute("03d", fails=True, scheduler=str(tmp_path / "nothing.json"), wait_s=0.1, **TINY)
    assert (run.notebook, run.verdict) == ("03d", "FAILED")
    assert "nothing.json is no file, or empty, after 0 s: start `dask scheduler" in run.failure.message
