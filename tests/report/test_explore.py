"""Menus over records: what they choose replaces what is displayed, in a kernel as in JupyterLab."""

from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from tests.report.conftest import MakeRun, WriteNotebook

EXPLORE = """
from inferkit.report.explore import explore
from inferkit.report.store import load
menus = explore(load(["{folder}"]))
"""


def executed(folder: Path, *cells: str) -> list[Any]:
    """Execute cells in a kernel and return the outputs of the first."""
    sources = [EXPLORE.format(folder=folder), *cells]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    NotebookClient(notebook, kernel_name="python3", timeout=120).execute()
    outputs: list[Any] = notebook.cells[0].outputs
    return outputs


def test_what_a_menu_chooses_replaces_table_and_chart(make_run: MakeRun, write_notebook: WriteNotebook) -> None:
    folder = write_notebook(make_run(storage="nvme"), make_run(storage="shm")).parent
    menus, table, chart = executed(folder)
    assert "application/vnd.jupyter.widget-view+json" in menus.data
    assert {"nvme", "shm"} <= set(table.data["text/plain"].split())
    assert "image/png" in chart.data
    _, table, chosen = executed(folder, "menus['storage'].value = 'shm'")
    assert "nvme" not in table.data["text/plain"].split()
    assert chosen.data["image/png"] != chart.data["image/png"]


def test_no_widget_answers_while_a_notebook_is_executed(make_run: MakeRun, write_notebook: WriteNotebook) -> None:
    folder = write_notebook(make_run()).parent
    outputs = executed(folder, "import ipywidgets; assert not any(isinstance(w, ipywidgets.Output) for w in "
                               "ipywidgets.widgets.widget._instances.values())")  # fmt: skip
    assert len(outputs) == 3
