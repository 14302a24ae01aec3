"""The cockpit without a browser: what its widgets do, and what start.ipynb shows where there is nobody to use them."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import ipywidgets
import nbformat
import pytest

from inferkit.cockpit import panel
from inferkit.cockpit.panel import Cockpit
from inferkit.cockpit.process import TWICE_S
from inferkit.records.notebooks import load_runs
from inferkit.records.project import project_root
from tests.cli.conftest import write_data
from tests.processes import wait_for

START = project_root() / "notebooks" / "start.ipynb"


@pytest.fixture
def cockpit(tmp_path: Path) -> Cockpit:
    """Give a cockpit that writes where the test does."""
    made = Cockpit()
    made.out.value = str(tmp_path / "runs")
    return made


def ask(cockpit: Cockpit, **values: Any) -> None:
    small = {"engines": ["null"], "threads": [1], "batch_sizes": [8], "warmup_s": 0.05}
    cockpit.form.fill({"storage": "tiny", **small, **values})


def test_a_form_that_is_right_can_be_started_and_one_that_is_wrong_cannot(cockpit: Cockpit) -> None:
    wait_for(lambda: not cockpit.start.disabled, 60)
    cockpit.form.controls["threads"]._input.value = "0"
    assert (cockpit.start.disabled, cockpit.save.disabled) == (True, True)
    assert "to be mended first: Reader threads" in cockpit.plan.value
    cockpit.start.click()
    assert cockpit.running is None
    cockpit.form.controls["threads"]._input.value = "3"
    wait_for(lambda: not cockpit.start.disabled, 60)
    assert "What will be measured" in cockpit.plan.value


def test_what_cannot_be_planned_stands_beside_its_field(cockpit: Cockpit) -> None:
    ask(cockpit, engines=["onnx"], models=["resnt18"])
    beside = cockpit.form.controls["models"]._beside
    wait_for(lambda: "did you mean" in beside.value, 60)
    assert cockpit.start.disabled


def test_a_place_for_results_that_is_none_is_told_beside_its_field(cockpit: Cockpit) -> None:
    cockpit.out.value = "s3://bucket/runs"
    wait_for(lambda: "is a URL" in cockpit.beside_out.value, 60)
    assert cockpit.start.disabled
    cockpit.out.value = "runs"
    assert "alert" not in cockpit.beside_out.value


def test_a_parameter_file_fills_the_form(cockpit: Cockpit) -> None:
    cockpit.config.value = "quickstart"
    assert cockpit.form.controls["images"].value == "demo"
    assert cockpit.form.controls["engines"].value == ["null", "onnx"]
    assert cockpit.file.placeholder == "quickstart.yaml"
    cockpit.config.value = cockpit.config.options[0]
    assert cockpit.form.answers() == ({}, {})


@pytest.mark.parametrize(
    ("text", "told"), [("]", "is not YAML"), ("bacth_sizes: [1]", "did you mean &#x27;batch_sizes&#x27;")]
)
def test_a_broken_parameter_file_is_told_of_and_cannot_be_started(
    cockpit: Cockpit, text: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text(text)
    monkeypatch.setattr("inferkit.cockpit.panel.configurations", lambda: {"quickstart": broken})
    wait_for(lambda: not cockpit.start.disabled, 60)
    cockpit.config.value = "quickstart"
    assert told in cockpit.plan.value
    assert cockpit.start.disabled


def test_start_to_end_leaves_a_notebook_records_and_the_parameters(cockpit: Cockpit, tmp_path: Path) -> None:
    ask(cockpit, data=write_data(tmp_path), duration_s=0.3, repeats=2)
    cockpit.notebooks["03a"].value = True
    wait_for(lambda: not cockpit.start.disabled, 60)
    cockpit.start.click()
    assert (cockpit.start.disabled, cockpit.stop.disabled, cockpit.settings.value) == (True, False, False)
    wait_for(lambda: cockpit.running is None, 120)
    wait_for(lambda: not cockpit.start.disabled, 10)
    (stored,) = load_runs(tmp_path / "runs")
    assert cockpit.live.runs == [stored.run]
    assert cockpit.stop.disabled
    assert f"Done: 1 {stored.run.verdict}" in cockpit.status.value
    report = cockpit._report()
    assert str(stored.notebook) in report
    assert "duration_s: 0.3" in report


def test_what_the_run_refuses_stands_beside_its_field(cockpit: Cockpit, tmp_path: Path) -> None:
    """As when a disk is unmounted between the plan and Start."""
    data = Path(write_data(tmp_path))
    ask(cockpit, data=str(data))
    cockpit.notebooks["03a"].value = True
    wait_for(lambda: not cockpit.start.disabled, 60)
    data.rename(tmp_path / "gone")
    cockpit.start.click()
    wait_for(lambda: cockpit.running is None, 120)
    assert "Refused before anything ran" in cockpit.status.value
    wait_for(lambda: "data: " in cockpit.form.controls["data"]._beside.value, 10)
    assert cockpit.settings.value is True
    assert "standard input" not in cockpit._report()


def test_a_cell_that_is_run_again_shows_the_form_and_what_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that was loaded again has lost all that it showed; the kernel has not."""
    monkeypatch.setattr("inferkit.cockpit.panel.attended", lambda: True)
    monkeypatch.setattr("inferkit.cockpit.panel._shown", [])
    shown: list[Cockpit] = []
    monkeypatch.setattr(Cockpit, "show", lambda each: shown.append(each))
    panel.cockpit()
    panel.cockpit()
    assert shown[0] is shown[1]


def test_stop_says_what_the_next_press_does(cockpit: Cockpit, tmp_path: Path) -> None:
    ask(cockpit, data=write_data(tmp_path), duration_s=60.0)
    cockpit.notebooks["03a"].value = True
    wait_for(lambda: not cockpit.start.disabled, 60)
    cockpit.start.click()
    wait_for(lambda: "Throughput" in cockpit.moving.value, 60)
    assert cockpit.stop.description == "Stop after this point"
    for _ in range(3):  # a double click, and more: one press
        cockpit.stop.click()
    assert cockpit.stop.description == "Stop at once"
    time.sleep(2 * TWICE_S)
    cockpit.stop.click()
    assert cockpit.stop.description == "Kill the notebook"
    wait_for(lambda: cockpit.running is None, 60)
    assert "1 FAILED" in cockpit.status.value
    assert (cockpit.stop.disabled, cockpit.stop.description) == (True, "Stop after this point")


def test_no_output_widget_is_used(cockpit: Cockpit) -> None:
    made = ipywidgets.widgets.widget._instances.values()
    assert not [widget for widget in made if isinstance(widget, ipywidgets.Output)]


def test_start_ipynb_is_a_sentence_and_one_folded_cell() -> None:
    words, code = nbformat.read(START, as_version=4).cells
    assert "Shift + Enter" in words.source
    assert code.metadata["jupyter"]["source_hidden"] is True
    assert not code.outputs


def test_executed_without_a_person_it_says_what_to_do_and_shows_no_widget(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "jupyter", "nbconvert", "--execute", "--to", "notebook", str(START)]
    done = subprocess.run(
        [*command, "--output-dir", str(tmp_path)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    content = json.loads((tmp_path / "start.ipynb").read_text())
    (output,) = content["cells"][1]["outputs"]
    assert set(output["data"]) == {"text/html", "text/plain"}
    assert "make lab" in "".join(output["data"]["text/plain"])
    assert "widgets" not in content["metadata"]
