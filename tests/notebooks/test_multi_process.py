"""Notebook 03c, executed by papermill with tiny parameters."""

from pathlib import Path
from typing import Any

import pytest

from inferkit.dataset.synthetic import make_synthetic
from inferkit.records.params import MakeDataset
from tests.notebooks.conftest import TINY
from tests.verdicts import verdict

pytestmark = pytest.mark.filterwarnings("default")  # papermill and its kernels warn of their own


def test_03c_compares_processes_and_names_the_winner(execute: Any, tmp_path: Path) -> None:
    make_synthetic(MakeDataset(data=str(tmp_path / "tensors"), limit=50, shape=[3, 32, 32], images_per_file=17))
    runs = execute(
        "03c", data=str(tmp_path / "tensors"), engines=["null"], ranks=[1, 2], batch_sizes=[4], threads=[1], **TINY
    )
    assert sorted((run.measure, run.point["ranks"]) for run in runs) == [
        ("copy", 1),
        ("copy", 2),
        ("pipeline", 1),
        ("pipeline", 2),
        ("read", 1),
        ("read", 2),
    ]
    for run in runs:
        late = [reason for reason in run.reasons if "ranks were running for only" in reason]  # on a busy machine
        assert late or verdict(run) == "VALID", (run.failure, run.reasons)
        assert len(run.facts["ranks"]) == run.point["ranks"]
        assert bool(late) == (run.facts["group"]["overlap"] < 0.9)
    text = (tmp_path / "03c_multi_process.ipynb").read_text()
    for told in ("memory node", "Where do the ranks run?", "speedup", "efficiency", "win"):
        assert told in text
