import json
import re
from pathlib import Path

import pandas as pd
import pytest

from inferkit.errors import RecordError
from inferkit.records.host import Host
from inferkit.records.run import Run
from inferkit.report.charts import CHARTS
from inferkit.report.charts.theme import Nothing
from inferkit.report.display import chart_bundle
from inferkit.report.export import Format, export
from tests.report.conftest import MakeRun, WriteNotebook

LOADS = re.compile(r"""(?:src|href)\s*=\s*["']?\s*(?:https?:)?//|@import|import\(["']https?:|url\(\s*["']?https?:""")


@pytest.fixture
def notebook(make_run: MakeRun, write_notebook: WriteNotebook) -> Path:
    host = Host.model_validate(
        {"cpu": "x", "identity": {"hostname": "node-17", "user": "ada", "serials": {"gpu": "S123"}}}
    )
    run = make_run(host=host)
    path = write_notebook(run)
    content = json.loads(path.read_text())
    drawn = CHARTS["throughput"]([run])
    assert not isinstance(drawn, Nothing)
    chart = {"output_type": "display_data", "metadata": {}, "data": chart_bundle(drawn)}
    content["cells"][1]["outputs"].append(chart)
    content["metadata"]["widgets"] = {"application/vnd.jupyter.widget-state+json": {"state": {}, "version_major": 2}}
    path.write_text(json.dumps(content))
    return path


def test_html_holds_all_and_loads_nothing(notebook: Path, tmp_path: Path) -> None:
    html = export(notebook, "html", tmp_path / "a.html").read_text()
    assert "58 images/s" in html
    assert "A question" in html
    assert "data:image/png;base64," in html
    assert LOADS.search(html) is None
    assert "cdnjs" not in html


def test_json_reads_back(notebook: Path, tmp_path: Path) -> None:
    records = json.loads(export(notebook, "json", tmp_path / "a.json").read_text())
    assert [Run.from_dict(record).point["model"] for record in records] == ["resnet18"]
    assert records[0]["host"]["identity"]["hostname"] == "node-17"


def test_csv_is_the_table(notebook: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(export(notebook, "csv", tmp_path / "a.csv"))
    assert frame["images_per_s"].tolist() == [58.0]
    assert frame["path"].tolist() == [str(notebook)]


@pytest.mark.parametrize("to", ["html", "csv", "json"])
def test_identity_can_be_left_out(to: Format, notebook: Path, tmp_path: Path) -> None:
    text = export(notebook, to, tmp_path / "out", identity=False).read_text()
    assert not any(secret in text for secret in ("node-17", '"ada"', "S123", str(notebook.parent)))
    assert "resnet18" in text


def test_what_cannot_be_exported_is_refused(notebook: Path, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="html, csv, json"):
        export(notebook, "pdf", tmp_path / "out")  # type: ignore[arg-type]
    (tmp_path / "bad.ipynb").write_text("{}")
    for to in ("html", "csv", "json"):
        with pytest.raises(RecordError, match=r"bad\.ipynb"):
            export(tmp_path / "bad.ipynb", to, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_that_cannot_be_written_is_named(notebook: Path, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"nowhere/a\.json cannot be written: No such file"):
        export(notebook, "json", tmp_path / "nowhere" / "a.json")
    with pytest.raises(RecordError, match="cannot be written: Is a directory"):
        export(notebook, "json", tmp_path)
