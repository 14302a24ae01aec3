"""What papermill writes, and when: of a notebook that failed the answer stays first."""

from pathlib import Path

import nbformat
import papermill
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from papermill.execute import raise_for_execution_errors

from inferkit.cli import whole

FAULT = new_output("error", ename="RecordError", evalue="1 point(s) failed", traceback=[])


@pytest.mark.parametrize("failed", [1, 2, 3])
def test_the_note_of_a_failed_cell_stands_below_the_answer(failed: int, tmp_path: Path) -> None:
    cells = [new_markdown_cell("# 03b"), new_code_cell("answer"), new_code_cell("measure"), new_code_cell("raise")]
    cells[failed]["outputs"] = [FAULT]
    source = cells[failed]["source"]
    path = tmp_path / "out.ipynb"
    assert whole.NOTEBOOKS  # takes what papermill writes to absolute paths
    with pytest.raises(papermill.PapermillExecutionError):
        raise_for_execution_errors(new_notebook(cells=cells), str(path))
    written = [cell["source"] for cell in nbformat.read(path, as_version=4)["cells"]]
    told = [text for text in written if "An Exception was encountered" in text]
    (mark,) = [text for text in written if "encountered an exception here" in text]
    assert written[0] == "# 03b"
    assert written.index("answer") + 1 == written.index(*told)
    assert written[written.index(mark) + 1 :][0] in (source, *told)


def test_a_notebook_without_cells_or_failures_is_as_it_was() -> None:
    for cells in ([], [new_markdown_cell("# 03b"), new_code_cell("answer")]):
        assert whole.answer_first(dict(new_notebook(cells=cells)))["cells"] == cells


def states(path: Path) -> list[str]:
    return [cell["metadata"]["papermill"]["status"] for cell in nbformat.read(path, as_version=4)["cells"]]


@pytest.mark.parametrize(("seconds", "between"), [(0.0, "running"), (600.0, "pending")])
def test_quick_cells_are_written_together(
    seconds: float, between: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole, "SAVED_S", seconds)
    notebook = new_notebook(cells=[new_code_cell("1")], metadata={"papermill": {}})
    manager = whole.Manager(notebook, str(path := tmp_path / "out.ipynb"))
    manager.notebook_start()
    assert states(path) == ["pending"]
    manager.cell_start(notebook.cells[0])
    assert states(path) == [between]
    manager.cell_complete(notebook.cells[0])
    manager.notebook_complete()
    assert states(path) == ["completed"]
