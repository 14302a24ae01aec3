"""The index of executed notebooks: the answer of each in a line, the newest first, broken ones left out."""

from pathlib import Path
from typing import Any

import pytest

from inferkit.errors import RecordError
from inferkit.records.run import Run
from inferkit.report.index import Index, entries
from tests.report.conftest import MakeRun, WriteNotebook
from tests.report.test_compare import host


def test_each_notebook_has_its_answer_the_newest_first(
    make_run: MakeRun, make_copy: MakeRun, failed: Run, write_notebook: WriteNotebook, tmp_path: Path
) -> None:
    null: dict[str, Any] = {
        "point": {"engine": "null", "model": "", "precision": ""},
        "ceilings": {},
        "predicted": None,
    }
    own = {"host": host("alpha"), "profile": "quick", "started": "2026-11-20T10:00:00+00:00"}
    pipelines = [make_run(1000, bottleneck="copy", **null, **own), make_run(58, **own)]
    write_notebook(*pipelines, name="03b.ipynb", folder=tmp_path / "old")
    write_notebook(make_copy(1 << 20, "pinned", 1e10, started="2026-11-21T00:00:00+02:00"), name="02.ipynb")
    write_notebook(failed, make_run(58, verdict="INVALID", reasons=["cache"]), name="bad.ipynb")
    bad, copies, old = entries(tmp_path)
    assert (bad.verdict, bad.path.name) == ("0 of 2 points VALID, 1 INVALID, 1 FAILED (not for quoting)", "bad.ipynb")
    assert bad.answer.startswith("No valid figure")
    assert (copies.notebook, f"{copies.started:%F %R}") == ("02 host to device", "2026-11-20 22:00")
    assert "10.00 ± 0.10 GB/s" in copies.answer
    assert old.answer.startswith("This server infers 58.00 ± 0.58 images/s (resnet18 float32 by onnx")
    assert (old.verdict, old.storage, old.machine) == ("VALID", "shm", "alpha")
    shown = str(Index([old])).splitlines()
    assert shown[0] == "2026-11-20 10:00  VALID  shm  03b one process  alpha"
    assert max(map(len, shown[:-1])) <= 80
    html = Index([bad, copies, old])._repr_mimebundle_()["text/html"]
    assert html.index("bad.ipynb") < html.index("02.ipynb") < html.index("03b.ipynb")


def test_a_copy_of_a_notebook_has_its_own_entry(make_run: MakeRun, write_notebook: WriteNotebook) -> None:
    run = make_run()
    folder = write_notebook(run, name="a.ipynb").parent
    write_notebook(run, name="b.ipynb")
    assert [entry.path.name for entry in entries(folder)] == ["a.ipynb", "b.ipynb"]


def test_what_cannot_be_read_is_named_and_left_out(
    make_run: MakeRun, write_notebook: WriteNotebook, tmp_path: Path
) -> None:
    good = write_notebook(make_run(), name="good.ipynb")
    (tmp_path / "cut.ipynb").write_text(good.read_text()[:-40])
    (tmp_path / "folder.ipynb").mkdir()
    (tmp_path / "foreign.ipynb").write_text('{"cells": [{"cell_type": "code", "outputs": []}]}')
    told: list[str] = []
    assert [entry.path for entry in entries(tmp_path, told.append)] == [good]
    assert [text.split(".ipynb")[0].split("/")[-1] for text in told] == ["cut", "folder", "foreign"]
    good.unlink()
    with pytest.raises(RecordError) as caught:
        entries(tmp_path)
    assert len(str(caught.value).splitlines()) == 3
