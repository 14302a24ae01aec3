"""Menus over records: what they choose replaces what is displayed, in a kernel as in JupyterLab."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inferkit.records.notebooks import Stored
from inferkit.report.charts.explored import NONE, explored
from inferkit.report.charts.theme import Nothing
from inferkit.report.explore import FILTERS, described, encodings, select
from inferkit.report.store import table
from tests.report.conftest import ExecuteCells, MakeRun, WriteNotebook

pytestmark = pytest.mark.xdist_group("kernel that reports")  # it takes seconds to start

EXPLORE = """
from inferkit.report.explore import explore
from inferkit.report.store import load
menus = explore(load(["{folder}"]))
"""


@pytest.fixture
def executed(execute_cells: ExecuteCells) -> Callable[..., list[Any]]:
    """Execute cells in a kernel and return the outputs of the first."""
    return lambda folder, *cells: execute_cells(EXPLORE.format(folder=folder), *cells)[0].outputs


def test_what_a_menu_chooses_replaces_table_and_chart(
    executed: Callable[..., list[Any]], make_run: MakeRun, write_notebook: WriteNotebook
) -> None:
    folder = write_notebook(make_run(storage="nvme"), make_run(storage="shm")).parent
    table, chart = executed(folder)
    assert {"nvme", "shm"} <= set(table.data["text/plain"].split())
    assert "image/png" in chart.data
    table, chosen = executed(folder, "menus['storage'].value = 'shm'")
    assert "nvme" not in table.data["text/plain"].split()
    assert chosen.data["image/png"] != chart.data["image/png"]
    _, drawn = executed(folder, "menus['y'].value = 'bytes_per_s'")
    assert drawn.data["image/png"] != chart.data["image/png"]


def test_where_nobody_can_choose_no_menu_is_shown(
    executed: Callable[..., list[Any]], make_run: MakeRun, write_notebook: WriteNotebook
) -> None:
    folder = write_notebook(make_run()).parent
    outputs = executed(folder, "import ipywidgets; assert not any(isinstance(w, ipywidgets.Output) for w in "
                               "ipywidgets.widgets.widget._instances.values())")  # fmt: skip
    assert len(outputs) == 2
    assert not [output for output in outputs if "application/vnd.jupyter.widget-view+json" in output.data]


WITHOUT_WIDGETS = """
import sys
kept, sys.modules["ipywidgets"] = sys.modules.get("ipywidgets"), None
try:
    {explore}
finally:
    sys.modules["ipywidgets"] = kept
    if kept is None:
        del sys.modules["ipywidgets"]
assert menus == {{}}
"""


def test_without_ipywidgets_everything_is_shown(
    execute_cells: ExecuteCells, make_run: MakeRun, write_notebook: WriteNotebook
) -> None:
    folder = write_notebook(make_run(storage="nvme"), make_run(storage="shm")).parent
    explore = EXPLORE.format(folder=folder).strip().replace("\n", "\n    ")
    table, chart = execute_cells(WITHOUT_WIDGETS.format(explore=explore))[0].outputs
    assert {"nvme", "shm"} <= set(table.data["text/plain"].split())
    assert "image/png" in chart.data


def frame_of(*runs: Any) -> Any:
    return described(table([Stored(run, Path("x.ipynb")) for run in runs]))


def test_records_can_be_chosen_by_machine_and_date(make_run: MakeRun) -> None:
    old = make_run(storage="a", started="2026-01-02T03:04:05+00:00")
    frame = frame_of(old, make_run(storage="b", started="2026-05-06T07:08:09+00:00"))
    assert set(FILTERS) - set(frame.columns) <= {"model", "reader"}
    (machine,) = set(frame["machine"])
    assert machine
    assert list(select(frame, {"date": "2026-01-02", "machine": machine})["storage"]) == ["a"]


def test_what_is_offered_differs_among_records(make_run: MakeRun) -> None:
    frame = frame_of(make_run(storage="a"), make_run(storage="b"))
    offered = encodings(frame)
    assert offered["x"][0] == "storage"
    assert offered["y"][0] == "images_per_s"
    assert "storage" not in offered["colour"]
    assert {offered["colour"][-1], offered["row"][0]} == {NONE}
    one = encodings(frame_of(make_run()))
    assert one["colour"] == one["row"] == [NONE]


@pytest.mark.parametrize("row", [NONE, "storage"])
def test_each_record_is_a_point_with_its_interval(make_run: MakeRun, row: str) -> None:
    frame = frame_of(make_run(storage="a"), make_run(storage="b"))
    chosen = {"x": "storage", "y": "images_per_s", "colour": "storage", "shape": "verdict", "row": row}
    chart = explored(frame, chosen)
    assert not isinstance(chart, Nothing)
    spec = chart.to_dict()
    (rows,) = [spec["data"]["values"]]
    assert [drawn["x"] for drawn in rows] == ["a", "b"]
    assert all(drawn["low"] < drawn["y"] < drawn["high"] for drawn in rows)
    assert ("facet" in spec) == (row != NONE)


def test_nothing_to_draw_is_said(make_run: MakeRun) -> None:
    frame = frame_of(make_run())
    frame["reached"] = None
    chosen = {"x": "storage", "y": "reached", "colour": NONE, "shape": NONE, "row": NONE}
    assert explored(frame, chosen) == Nothing("none of these records has both storage and reached")
