"""Notebooks that were executed before the record's schema changed open as well as those of today, and beside them."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from inferkit.cli.main import main
from inferkit.errors import RecordError
from inferkit.records.notebooks import load_runs, raw_records, read_notebook
from inferkit.records.project import project_root
from inferkit.records.run import MIME, Run
from inferkit.report.charts import CHARTS
from inferkit.report.charts.theme import Nothing
from inferkit.report.display import chart_bundle
from inferkit.report.store import load

OLD = project_root() / "tests" / "fixtures" / "schema_1"
COPIES, PROCESS = OLD / "02_host_to_device.ipynb", OLD / "03b_single_process.ipynb"
RENAMED = {"schema", "stage", "binding", "notebook", "bottleneck"}
NOTHING_TO_DRAW = {
    *("copy_matrix", "layer_times", "scaling", "speedup", "trend", "timeline", "batch_sizes", "energy"),
    *("over_nodes", "node_strips", "jpeg_or_tensors", "time_series", "machine_over_time"),
}
"""Charts of several GPUs, a profiled network, several processes or machines and several dates, of batches and batch
sizes, of energy and JPEG files beside tensors, and of more than a second, which the old notebooks did not have."""


def write(path: Path, *records: dict[str, Any]) -> Path:
    """Write a notebook that holds such records."""
    outputs = [{"output_type": "display_data", "metadata": {}, "data": {MIME: record}} for record in records]
    cell = {"cell_type": "code", "id": "a", "execution_count": 1, "metadata": {}, "source": "", "outputs": outputs}
    path.write_text(json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    return path


@pytest.fixture
def new(tmp_path: Path) -> Path:
    """Write a notebook of today: the points of the old ones, measured again on another storage."""
    runs = [run for path in (COPIES, PROCESS) for run in read_notebook(path)]
    again = [run.model_copy(update={"id": f"{run.id}-new", "storage": "nas"}).to_dict() for run in runs]
    return write(tmp_path / "new.ipynb", *again)


def inferkit(*words: object) -> str:
    done = CliRunner().invoke(main, list(map(str, words)))
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize(
    ("path", "notebook", "bottlenecks"),
    [(COPIES, "02", [None, None]), (PROCESS, "03b", [None, None, None, "copy", "infer"])],
    ids=["copies", "process"],
)
def test_every_record_is_read_and_says_what_it_said(path: Path, notebook: str, bottlenecks: list[str | None]) -> None:
    raw, runs = raw_records(path), read_notebook(path)
    assert {record["schema"] for record in raw} == {1}
    assert [run.notebook for run in runs] == [notebook] * len(bottlenecks)
    assert [run.bottleneck for run in runs] == bottlenecks == [record["binding"] for record in raw]
    for record, run in zip(raw, runs, strict=True):
        now = run.model_dump(mode="json", by_alias=True, exclude_unset=True)
        assert now["schema"] == 2
        assert {name: now[name] for name in now.keys() - RENAMED} == {
            name: record[name] for name in record.keys() - RENAMED
        }
        again = Run.from_dict(run.to_dict())
        assert again.to_dict() == run.to_dict()
        assert [repeat.images for repeat in again.repeats] == [repeat.images for repeat in run.repeats]


def test_what_was_found_together_is_the_groups() -> None:
    record = raw_records(PROCESS)[0]
    run = Run.from_dict(record | {"facts": {"together": {"relative_error": 0.01}, "verified_images": 64}})
    assert run.facts == {"group": {"relative_error": 0.01}, "verified_images": 64}


def test_the_old_is_shown(new: Path) -> None:
    told = inferkit("show", PROCESS)
    for words in (
        "bottleneck",
        "76,192 images/s",
        "3,116 images/s",
        "copy is the bottleneck",
        "infer is the bottleneck",
    ):
        assert words in told
    shown = json.loads(inferkit("show", PROCESS, "--json"))
    ours = [record for record in json.loads(inferkit("show", new, "--json")) if record["notebook"] == "03b"]
    assert [record["measured"] for record in shown] == [record["measured"] for record in ours]


def test_old_and_new_are_compared(new: Path) -> None:
    answer, *blocks, _ = inferkit("compare", OLD, new).split("\n\n")
    assert [block.splitlines()[0] for block in blocks] == ["null", "onnx deep_mnist float32"]
    assert answer.count("no difference found between ") == 2
    for block in blocks:
        old, again = block.partition("  AMBIGUOUS  ")[2].split("  AMBIGUOUS  ")
        assert {old.splitlines()[0].split()[-1], again.splitlines()[0].split()[-1]} == {"shm", "nas"}
        assert old.splitlines()[1:] == again.splitlines()[1:]


def test_the_old_is_exported(tmp_path: Path) -> None:
    inferkit("export", PROCESS, "--to", "csv", "--out", tmp_path / "a.csv")
    with (tmp_path / "a.csv").open() as file:
        rows = list(csv.DictReader(file))
    rates = [record["measured"]["images_per_s"] for record in raw_records(PROCESS)]
    assert [float(row["images_per_s"]) for row in rows] == rates
    assert [row["bottleneck"] for row in rows] == ["", "", "", "copy", "infer"]
    inferkit("export", PROCESS, "--to", "json", "--out", tmp_path / "a.json")
    exported = json.loads((tmp_path / "a.json").read_text())
    assert exported == [run.to_dict() for run in read_notebook(PROCESS)]
    assert [Run.from_dict(record).id for record in exported] == [run.id for run in read_notebook(PROCESS)]
    inferkit("export", PROCESS, "--to", "html", "--out", tmp_path / "a.html")
    assert "3,116 images/s" in (tmp_path / "a.html").read_text()


@pytest.mark.parametrize("name", CHARTS)
def test_old_and_new_are_drawn_in_one_chart(new: Path, name: str) -> None:
    runs = [run for run, _ in load_runs([OLD, new])]
    chart = CHARTS[name](load([OLD, new]) if name == "comparison" else runs)
    assert isinstance(chart, Nothing) == (name in NOTHING_TO_DRAW)
    if not isinstance(chart, Nothing):
        bundle = chart_bundle(chart)
        assert bundle["application/vnd.vegalite.v5+json"]["title"]["text"].endswith("?")
        assert len(bundle["image/png"]) > 1000


def test_a_broken_record_of_schema_1_is_refused_by_name(tmp_path: Path) -> None:
    record = raw_records(PROCESS)[3]
    path = write(tmp_path / "broken.ipynb", record | {"verdict": "MAYBE"})
    told: list[str] = []
    assert read_notebook(path, told.append) == []
    (text,) = told
    assert text.startswith(f"{path}: record '{record['id']}' does not fit schema 1: verdict is 'MAYBE'")
    del record["stage"]
    with pytest.raises(RecordError, match=f"{record['id']}.*does not fit schema 1(.|\n)*notebook"):
        Run.from_dict(record)


def test_a_schema_of_tomorrow_is_left_out_beside_the_old(tmp_path: Path) -> None:
    path = write(
        tmp_path / "tomorrow.ipynb", *raw_records(PROCESS), read_notebook(PROCESS)[0].to_dict() | {"schema": 5}
    )
    told: list[str] = []
    assert len(load_runs([OLD, path], told.append)) == len(load_runs(OLD))
    assert told == [f"left out: {path}: record has schema 5, this inferkit reads 1 to 4: upgrade inferkit"]
