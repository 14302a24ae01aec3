import json
from pathlib import Path

import pandas as pd
import pytest

from inferkit.errors import RecordError
from inferkit.records.notebooks import load_runs
from inferkit.records.run import MIME, Run
from inferkit.report.compare import compare
from inferkit.report.side_by_side import View
from inferkit.report.store import load, rows_of
from tests.report.conftest import MakeRun, WriteNotebook


def test_one_row_per_run_of_all_notebooks(
    make_run: MakeRun, failed: Run, write_notebook: WriteNotebook, tmp_path: Path
) -> None:
    write_notebook(make_run(58), failed, name="b.ipynb", folder=tmp_path / "shm")
    write_notebook(make_run(600, storage="nvme", profile="quick"), name="a.ipynb", folder=tmp_path / "nvme" / "deep")
    frame = load(tmp_path)
    assert frame["storage"].tolist() == ["nvme", "shm", "shm"]
    assert frame["verdict"].tolist() == ["VALID", "VALID", "FAILED"]
    assert frame["quotable"].tolist() == [True, False, False]
    assert frame["model"].tolist() == ["resnet18", "resnet18", "vgg19"]
    assert frame["images_per_s"].tolist()[:2] == [606.0, 58.0]
    assert frame["ceiling_infer"].tolist()[:2] == [pytest.approx(624), pytest.approx(60.32)]
    assert frame["reached"][0] == pytest.approx(606 / 624)
    assert pd.isna(frame["images_per_s"][2])
    assert frame["failure"][2] == "EngineError: out of memory <b>"
    assert (frame["dtype"] == "uint8").all()
    assert (frame["shape"] == "3 × 224 × 224").all()
    assert frame["path"][1] == str(tmp_path / "shm" / "b.ipynb")


def test_a_copied_notebook_counts_once_and_checkpoints_not_at_all(
    make_run: MakeRun, write_notebook: WriteNotebook, tmp_path: Path
) -> None:
    run = make_run()
    first = write_notebook(run, name="a.ipynb")
    copy = write_notebook(run, name="copy.ipynb")
    write_notebook(make_run(), folder=tmp_path / ".ipynb_checkpoints")
    assert [stored.notebook for stored in load_runs(tmp_path)] == [first]
    assert [stored.run for stored in load_runs([copy, str(first), tmp_path])] == [Run.from_dict(run.to_dict())]


def test_an_axis_does_not_hide_a_column(make_run: MakeRun, write_notebook: WriteNotebook) -> None:
    frame = load(write_notebook(make_run(point={"storage": "inner", "threads": 2})))
    assert (frame["storage"][0], frame["point_storage"][0], frame["threads"][0]) == ("shm", "inner", 2)


def test_texts_are_whole(make_run: MakeRun, write_notebook: WriteNotebook) -> None:
    """Half a character, as names of files that are no UTF-8 give, can be put in no table."""
    frame = load(write_notebook(make_run(point={"model": "odd\udcff\ud800", "threads": 2})))
    assert frame.model.tolist() == [r"odd\xff\ud800"]


def test_figures_are_numbers_even_where_there_are_none(failed: Run, write_notebook: WriteNotebook) -> None:
    frame = load(write_notebook(failed))
    assert {frame[name].dtype.name for name in ("images_per_s", "reached", "cov")} == {"float64"}
    (group,) = compare(rows_of(frame)).groups
    assert (group.valid, group.sides[0].rate) == ({}, None)
    assert "no run is VALID" in str(View(compare(rows_of(frame))))


def test_printed_figures_are_not_read(write_notebook: WriteNotebook) -> None:
    with pytest.raises(RecordError, match="no record in this notebook"):
        load(write_notebook())


def test_all_bad_notebooks_are_named_and_left_out(
    make_run: MakeRun, write_notebook: WriteNotebook, tmp_path: Path
) -> None:
    good = write_notebook(make_run(), name="good.ipynb")
    (tmp_path / "cut.ipynb").write_text(good.read_text()[:-40])
    (tmp_path / "list.ipynb").write_text("[]")
    (tmp_path / "bytes.ipynb").write_bytes(b"\xff\xfe\x00")
    future = good.read_text().replace('"schema": 2', '"schema": 7')
    (tmp_path / "future.ipynb").write_text(future)
    wrong = json.loads(good.read_text())
    wrong["cells"][1]["outputs"][1]["data"][MIME] = "text"
    (tmp_path / "text.ipynb").write_text(json.dumps(wrong))
    told: list[str] = []
    assert len(load(tmp_path, told.append)) == 1
    assert [text.split(".ipynb")[0].split("/")[-1] for text in told] == ["bytes", "cut", "future", "list", "text"]
    assert "schema 7" in told[2]
    with pytest.warns(UserWarning, match=r"left out: .*cut\.ipynb"):
        load([good, tmp_path / "cut.ipynb"])
    good.unlink()
    with pytest.raises(RecordError) as caught:
        load(tmp_path)
    assert len(str(caught.value).splitlines()) == 5


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"gone\.ipynb"):
        load(tmp_path / "gone.ipynb")
    with pytest.raises(RecordError, match="no notebook under"):
        load(tmp_path)


def test_a_notebook_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder.ipynb").mkdir()
    (tmp_path / "folder.ipynb" / "loop.ipynb").symlink_to("loop.ipynb")
    with pytest.raises(RecordError, match=r"folder\.ipynb: is a folder"):
        load(tmp_path)
