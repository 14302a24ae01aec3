"""The answer at the top of a notebook, in a real kernel: what later cells put there."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.displaypub import CapturingDisplayPublisher

from inferkit.records.run import MIME, STOPPED, Failure, Run
from inferkit.report.answer import NO_ANSWER, WAITING, Answer
from tests.report.conftest import ExecuteCells, MakeRun
from tests.report.test_record import SURVIVES, Html

pytestmark = pytest.mark.xdist_group("kernel that reports")  # it takes seconds to start

TOP = "from inferkit.report.answer import Answer\nanswer = Answer()"
MEASURE = """
import json
from pathlib import Path
from inferkit.records.run import Run
records = map(Run.from_dict, json.loads(Path({path!r}).read_text()))
"""
SHOW = "runs = answer.show_all(records)"
STOP = """
def stopped():
    yield next(records)
    raise KeyboardInterrupt
answer.show_all(stopped())
"""


@pytest.fixture
def execute(tmp_path: Path, execute_cells: ExecuteCells) -> ExecuteCells:
    """Execute a notebook whose first cell is the answer, over such records, and return the cells."""

    def executed(runs: list[Run], *cells: str, raises: bool = False) -> list[Any]:
        path = tmp_path / "records.json"
        path.write_text(json.dumps([run.to_dict() for run in runs]))
        return execute_cells(TOP, MEASURE.format(path=str(path)), *cells, raises=raises)

    return executed


def head_of(cells: list[Any]) -> str:
    text: str = cells[0].outputs[0].data["text/plain"]
    return text


def test_sentence_picture_and_table_stand_in_the_first_cell(execute: ExecuteCells, make_run: MakeRun) -> None:
    runs = [make_run(rate, point={"engine": "onnx", "threads": n}) for n, rate in enumerate((40, 58), 1)]
    cells = execute(runs, SHOW)
    head, line, picture, points = cells[0].outputs
    assert head.data["text/plain"].startswith("This server infers 58.00 ± 0.58 images/s")
    assert "VALID · not for quoting" in head.data["text/plain"]
    assert "58.00 ± 0.58 images/s" in head.data["text/html"]
    assert line.data == {"text/plain": ""}
    assert {"image/png", "application/vnd.vegalite.v5+json"} <= set(picture.data)
    assert points.data["text/html"].count("<tr>") >= len(runs)
    shown = [output.data for output in cells[2].outputs]
    assert [data[MIME]["id"] for data in shown if MIME in data] == [run.id for run in runs]
    assert len(shown) == len(runs)


def test_one_point_has_no_table_and_a_figure_of_its_own_no_picture(execute: ExecuteCells, make_run: MakeRun) -> None:
    cells = execute([make_run(notebook="01", measure="dataset", facts={"images": 3})], SHOW)
    head, _, picture, points = cells[0].outputs
    assert head.data["text/plain"].startswith("The data set of 3 images")
    assert picture.data == points.data == {"text/plain": ""}


def test_failures_and_nothing_valid_are_said(execute: ExecuteCells, make_run: MakeRun, failed: Run) -> None:
    bad = make_run(26, verdict="INVALID", reasons=["served from memory"])
    cells = execute([bad, failed], SHOW)
    sentence, below = head_of(cells).split("\n")
    assert sentence.startswith("No valid figure: none of 2 points is VALID.")
    assert "served from memory" in sentence
    assert below.startswith(f"{NO_ANSWER} · ")
    assert "0 of 2 points VALID, 1 INVALID, 1 FAILED" in below
    assert "image/png" in cells[0].outputs[2].data  # the ceilings of what was measured, and its verdict


def test_an_interrupt_leaves_what_was_measured_and_says_so(execute: ExecuteCells, make_run: MakeRun) -> None:
    cells = execute([make_run(58), make_run(99)], STOP, raises=True)
    assert head_of(cells).startswith("Stopped before the end. So far: This server infers 58.00 ± 0.58 images/s")
    assert "image/png" in cells[0].outputs[2].data


def test_a_first_interrupt_finishes_its_point_and_the_answer_says_that_the_rest_lacks(
    execute: ExecuteCells, make_run: MakeRun, failed: Run
) -> None:
    failure = Failure(kind=STOPPED, message="stopped by the user: 2 points were not measured")
    rest = failed.model_copy(update={"measure": "plan", "failure": failure})
    assert head_of(execute([make_run(58), rest], SHOW)).startswith("Stopped before the end. So far: This server infers")


def test_without_records_the_answer_says_so(execute: ExecuteCells) -> None:
    assert head_of(execute([])) == WAITING
    assert head_of(execute([], SHOW)).startswith("Nothing is measured yet.")


def test_while_points_are_measured_it_tells_how_far_it_is(
    make_run: MakeRun, published: CapturingDisplayPublisher
) -> None:
    heads = []

    def measuring() -> Iterator[Run]:
        for rate in (40.0, 58.0):
            yield make_run(rate, point={"engine": "onnx", "threads": int(rate)})
            heads.append([o["data"]["text/plain"] for o in published.outputs if "This server" in str(o["data"])][-1])

    Answer().show_all(measuring())
    assert [head.split("images/s")[0] for head in heads] == [
        "So far: This server infers 40.00 ± 0.40 ",
        "So far: This server infers 58.00 ± 0.58 ",
    ]
    assert not any("So far" in output["data"].get("text/plain", "") for output in published.outputs[-3:])


def test_the_answer_survives_an_untrusted_notebook(make_run: MakeRun, published: CapturingDisplayPublisher) -> None:
    evil = "<script>alert(1)</script>"
    point = {"engine": "onnx", "model": evil}
    Answer().show_all([make_run(58, storage=evil, point=point | {"threads": n}, bottleneck=evil) for n in (1, 2)])
    last = {str(output["transient"]): output["data"] for output in published.outputs if output["transient"]}
    for data in last.values():
        html = Html(data.get("text/html", ""))
        assert html.open == []
        assert html.tags <= SURVIVES | {"p", "script"}
        assert html.attributes <= {"style", "class", "cellpadding"}
        assert "alert(1)</script>" not in data.get("text/html", "")
