import csv
import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from inferkit.errors import RecordError
from inferkit.records.host import Host
from inferkit.records.notebooks import load_notebook
from inferkit.records.run import Run
from inferkit.report.charts import CHARTS
from inferkit.report.charts.theme import Nothing
from inferkit.report.display import chart_bundle
from inferkit.report.export import Format, export
from inferkit.report.page import POLICY
from inferkit.report.widgets import VIEW
from tests.report.browser import needs_browser, opened
from tests.report.conftest import MakeRun, WriteNotebook

LOADS = re.compile(r"""(?:src|href)\s*=\s*["']?\s*(?:https?:)?//|@import|import\(["']https?:|url\(|<script|<link""")
ALL: tuple[Format, ...] = ("html", "pdf", "csv", "json", "ipynb")


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
    widget = {VIEW: {"model_id": "a"}, "text/plain": "VBox(children=(Button(description='Run'),))"}
    shown = {"output_type": "display_data", "metadata": {}, "data": widget}
    content["cells"][1]["outputs"] += [chart, shown]
    content["metadata"]["widgets"] = {"application/vnd.jupyter.widget-state+json": {"state": {}, "version_major": 2}}
    path.write_text(json.dumps(content))
    return path


def changed(notebook: Path, **cell: Any) -> Path:
    """Add a cell to a notebook."""
    content = json.loads(notebook.read_text())
    own = {} if "cell_type" in cell else {"cell_type": "code", "execution_count": 1, "outputs": []}
    content["cells"].append({**own, "metadata": {}, "source": "", **cell})
    notebook.write_text(json.dumps(content))
    return notebook


def test_html_holds_all_and_loads_nothing(notebook: Path, tmp_path: Path) -> None:
    html = export([notebook], "html", tmp_path / "a.html")[0].read_text()
    assert "58 images/s" in html
    assert "A question" in html
    assert "<details" in html
    assert "data:image/png;base64," in html
    assert f'content="{POLICY}"' in html
    assert LOADS.search(html) is None
    assert "VBox" not in html


def test_json_reads_back(notebook: Path, tmp_path: Path) -> None:
    records = json.loads(export([notebook], "json", tmp_path / "a.json")[0].read_text())
    assert [Run.from_dict(record).point["model"] for record in records] == ["resnet18"]
    assert records[0]["host"]["identity"]["hostname"] == "node-17"


def test_csv_is_the_table(notebook: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(export([notebook], "csv", tmp_path / "a.csv")[0])
    assert frame["images_per_s"].tolist() == [58.0]
    assert frame["path"].tolist() == [str(notebook)]


@pytest.mark.parametrize("to", ["html", "csv", "json", "ipynb"])
def test_identity_can_be_left_out(to: Format, notebook: Path, tmp_path: Path) -> None:
    text = export([notebook], to, tmp_path / "out", anonymize=True, tell=lambda _: None)[0].read_text()
    assert not any(secret in text for secret in ("node-17", '"ada"', "S123", str(notebook.parent)))
    assert "resnet18" in text


def test_a_notebook_that_compares_others_is_a_page_and_nothing_else(notebook: Path, tmp_path: Path) -> None:
    content = json.loads(notebook.read_text())
    cell = next(cell for cell in content["cells"] if cell["cell_type"] == "code")
    told = {"output_type": "display_data", "metadata": {}, "data": {"text/html": "<b>nvme is faster</b>"}}
    compared = tmp_path / "compare.ipynb"
    compared.write_text(json.dumps({**content, "cells": [{**cell, "outputs": [told]}]}))
    (page,) = export([compared], "html")
    assert "nvme is faster" in page.read_text()
    refused: tuple[tuple[Format, bool], ...] = (("csv", False), ("json", False), ("html", True), ("ipynb", True))
    for to, anonymize in refused:
        with pytest.raises(RecordError, match="no record in this notebook"):
            export([compared], to, anonymize=anonymize)
    compared.write_text(json.dumps({**content, "cells": [{**cell, "outputs": []}]}))
    with pytest.raises(RecordError, match="no record in this notebook"):
        export([compared], "html")


def test_an_anonymous_notebook_is_read_like_any_other(notebook: Path, tmp_path: Path) -> None:
    (shared,) = export([notebook], "ipynb", anonymize=True)
    assert shared == notebook.with_suffix(".anonymous.ipynb")
    (before,), (after,) = load_notebook(notebook), load_notebook(shared)
    assert after.host.identity is None
    assert after.measured == before.measured
    assert after.stages == before.stages
    html = export([shared], "html")[0].read_text()
    assert "data:image/png;base64," in html


def test_several_are_written_beside_themselves_or_into_a_folder(notebook: Path, tmp_path: Path) -> None:
    other = tmp_path / "b.ipynb"
    shutil.copy(notebook, other)
    written = export([notebook, other], "json")
    assert written == [notebook.with_suffix(".json"), other.with_suffix(".json")]
    (tmp_path / "shared").mkdir()
    written = export([notebook, other], "csv", tmp_path / "shared", anonymize=True)
    assert [path.name for path in written] == ["a.anonymous.csv", "b.anonymous.csv"]
    assert [row["path"] for path in written for row in csv.DictReader(io.StringIO(path.read_text()))] == [
        "a.ipynb",
        "b.ipynb",
    ]


def test_what_cannot_be_exported_is_refused(notebook: Path, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="html, pdf, csv, json, ipynb"):
        export([notebook], "docx", tmp_path / "out")  # type: ignore[arg-type]
    with pytest.raises(RecordError, match="would be itself"):
        export([notebook], "ipynb", tmp_path / "out")
    (tmp_path / "bad.ipynb").write_text("{}")
    for to in ALL:
        with pytest.raises(RecordError, match=r"bad\.ipynb"):
            export([notebook, tmp_path / "bad.ipynb"], to, anonymize=True)
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".ipynb"] == []


def test_a_notebook_is_never_written_over(notebook: Path, tmp_path: Path) -> None:
    before = notebook.read_bytes()
    with pytest.raises(RecordError, match=r"a\.ipynb: would be written over"):
        export([notebook], "json", notebook)
    with pytest.raises(RecordError, match=r"a\.json: would be written over"):
        export([notebook, notebook], "json")
    with pytest.raises(RecordError, match="is no folder, expected one for 2 files"):
        export([notebook, tmp_path / "b.ipynb"], "json", tmp_path / "x")
    assert notebook.read_bytes() == before


def test_a_file_that_cannot_be_written_is_named(notebook: Path, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"nowhere/a\.json cannot be written: No such file"):
        export([notebook], "json", tmp_path / "nowhere" / "a.json")
    (tmp_path / "a.json").mkdir()
    with pytest.raises(RecordError, match="cannot be written: Is a directory"):
        export([notebook], "json")


def test_half_a_character_is_written_as_a_question(notebook: Path) -> None:
    odd = [{"output_type": "stream", "name": "stdout", "text": "half \ud800 of one"}]
    html = export([changed(notebook, outputs=odd)], "html")[0].read_text()
    assert "half ? of one" in html


def test_an_attached_picture_is_shown(notebook: Path) -> None:
    data = json.loads(notebook.read_text())["cells"][1]["outputs"][2]["data"]["image/png"]
    attached = {"a b.png": {"image/png": data}}
    source = "![chart](attachment:a%20b.png) ![gone](attachment:x.png)"
    html = export([changed(notebook, cell_type="markdown", source=source, attachments=attached)], "html")[0].read_text()
    assert html.count(data[:200]) == 2


def test_an_empty_text_shows_nothing_and_what_only_a_program_can_show_is_named(notebook: Path) -> None:
    empty = {"output_type": "display_data", "metadata": {}, "data": {"text/plain": ""}}
    drawing = {"output_type": "display_data", "metadata": {}, "data": {"image/svg+xml": "<svg></svg>"}}
    html = export([changed(notebook, outputs=[empty, drawing])], "html")[0].read_text()
    assert re.findall(r"\(left out: (.*?)\)", html) == ["image/svg+xml"]


SETS = "document.body.setAttribute('ran','1')"
RUNS = f'<img src=x onerror="{SETS}"><script>{SETS}</script>'


@needs_browser
def test_nothing_of_a_strangers_notebook_runs_in_a_browser(
    make_run: MakeRun, write_notebook: WriteNotebook, tmp_path: Path
) -> None:
    (tmp_path / "naive.html").write_text(f"<body>{RUNS}</body>")
    assert 'ran="' in opened(tmp_path / "naive.html")
    failure = {"kind": RUNS, "message": RUNS, "detail": RUNS}
    run = make_run(
        storage=RUNS,
        point={"engine": RUNS, "model": f"/models/{RUNS}.onnx", "reader": RUNS, "batch_size": 32},
        params={"data": RUNS, "device": RUNS},
        host=Host(cpu=RUNS, kernel=RUNS),
        warnings=[RUNS],
        reasons=[RUNS],
        unverified=[RUNS],
        failure=failure,
        facts={RUNS: RUNS},
        bottleneck=RUNS,
        verdict="INVALID",
    )
    path = write_notebook(run, name=f"{RUNS.replace('/', '')[:200]}.ipynb")
    shown = {
        "text/html": RUNS,
        "text/markdown": f"{RUNS} [x](javascript:alert(1)) ![{RUNS}](x)",
        "text/latex": RUNS,
        "image/svg+xml": f"<svg>{RUNS}</svg>",
        "application/javascript": "document.body.setAttribute('ran','3')",
    }
    outputs = [{"output_type": "display_data", "metadata": {RUNS: RUNS}, "data": {kind: shown[kind]}} for kind in shown]
    picture = {"image/png": f'"> {RUNS}', "text/plain": f'"> {RUNS}'}
    outputs.append({"output_type": "display_data", "metadata": {}, "data": picture})
    outputs.append({"output_type": "error", "ename": RUNS, "evalue": RUNS, "traceback": [RUNS]})
    changed(path, source=RUNS, outputs=outputs, metadata={"tags": [RUNS]})
    changed(path, cell_type="markdown", source=f"{RUNS}\n\n[x]: {RUNS}", id=RUNS)
    changed(path, cell_type="raw", source=RUNS)
    for anonymize in (False, True):
        (page,) = export([path], "html", tmp_path / "page.html", anonymize=anonymize, tell=lambda _: None)
        assert 'ran="' not in opened(page)
        assert LOADS.search(page.read_text()) is None


@needs_browser
def test_a_pdf_is_printed(notebook: Path, tmp_path: Path) -> None:
    content = export([notebook], "pdf")[0].read_bytes()
    assert content.startswith(b"%PDF-")
    assert len(content) > 10_000
    assert b"file://" not in content
    assert str(tmp_path).encode() not in content


@pytest.mark.parametrize(
    ("program", "told"),
    [(None, "none of chromium, .* is on PATH: install one"), ("#!/bin/sh\necho no display >&2\nexit 1", "no display")],
)
def test_a_browser_that_is_missing_or_fails_is_told_of(
    notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str | None, told: str
) -> None:
    (tmp_path / "bin").mkdir()
    if program is not None:
        (tmp_path / "bin/chromium").write_text(program)
        (tmp_path / "bin/chromium").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(RecordError, match=told):
        export([notebook], "pdf")
    assert not notebook.with_suffix(".pdf").exists()
