"""Menus over records: what they choose replaces what is displayed, in a kernel as in JupyterLab."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inferkit.records.host import Host
from inferkit.records.notebooks import Stored
from inferkit.records.run import Failure
from inferkit.report.charts.explored import NONE, explored
from inferkit.report.charts.theme import Nothing
from inferkit.report.explore import FILTERS, choices, described, encodings, select
from inferkit.report.palette import VERDICT_COLOURS
from inferkit.report.store import table
from tests.report.conftest import ExecuteCells, MakeRun, WriteNotebook, spec_of, why

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
    chart, table = executed(folder)
    assert {"nvme", "shm"} <= set(table.data["text/plain"].split())
    assert "image/png" in chart.data
    chosen, table = executed(folder, "menus['storage'].value = 'shm'")
    assert "nvme" not in table.data["text/plain"].split()
    assert chosen.data["image/png"] != chart.data["image/png"]
    drawn, _ = executed(folder, "menus['y'].value = 'bytes_per_s'")
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
    chart, table = execute_cells(WITHOUT_WIDGETS.format(explore=explore))[0].outputs
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
    assert "cov" in frame.columns
    assert "cov" not in offered["y"]  # no record has it
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


def drawn(frame: Any, **chosen: str) -> dict[str, Any]:
    """Return the spec of a chart of records; what is not chosen is not used."""
    parts = {"x": "storage", "y": "images_per_s", "colour": NONE, "shape": NONE, "row": NONE}
    return spec_of(explored(frame, parts | chosen))


def encoding(spec: dict[str, Any], channel: str) -> dict[str, Any]:
    """Return how a chart's points show one thing."""
    found: dict[str, Any] = spec["layer"][1]["encoding"][channel]
    return found


def test_an_axis_tells_shares_in_percent_whole_numbers_whole_and_large_ones_short(make_run: MakeRun) -> None:
    frame = frame_of(make_run(point={"threads": 1}), make_run(point={"threads": 4}))
    frame["data_bytes"] = [10**9, 10**10]
    assert encoding(drawn(frame, x="threads"), "x")["axis"]["values"] == [0, 1, 2, 3, 4]
    assert encoding(drawn(frame, x="data_bytes"), "x")["axis"]["format"] == "~s"
    assert encoding(drawn(frame, y="reached"), "y")["axis"]["format"] == "%"
    assert encoding(drawn(frame, y="reached"), "y")["title"] == "measured ÷ predicted"


def test_what_a_record_does_not_have_is_a_dash_on_the_axis_as_well(make_run: MakeRun) -> None:
    frame = frame_of(make_run(), make_run())
    frame["model"] = ["resnet18", ""]
    assert [row["x"] for row in drawn(frame, x="model")["data"]["values"]] == ["resnet18", "–"]


def test_colour_and_shape_of_one_column_share_a_legend_and_verdicts_have_their_colours(make_run: MakeRun) -> None:
    frame = frame_of(make_run(), make_run(verdict="INVALID", reasons=["short"]))
    spec = drawn(frame, colour="verdict", shape="verdict")
    colour, shape = encoding(spec, "color"), encoding(spec, "shape")
    assert (colour["field"], colour["title"]) == (shape["field"], shape["title"])
    assert colour["scale"]["domain"] == shape["scale"]["domain"]
    assert colour["scale"]["range"] == [VERDICT_COLOURS["INVALID"], VERDICT_COLOURS["VALID"]]


def test_rows_are_in_order(make_run: MakeRun) -> None:
    frame = frame_of(make_run(storage="b"), make_run(storage="a"))
    assert drawn(frame, row="storage")["facet"]["sort"] == ["storage a", "storage b"]


def test_a_column_over_itself_is_no_chart(make_run: MakeRun) -> None:
    chosen = {"x": "threads", "y": "threads", "colour": NONE, "shape": NONE, "row": NONE}
    assert why(explored(frame_of(make_run()), chosen)).startswith("x and y are both threads")


def test_every_choice_of_every_menu_gives_a_chart_or_a_word(make_run: MakeRun) -> None:
    """Records of all kinds: without figure, network, reader or threads, and of two machines."""
    old, failed = Host(cpu="an old CPU"), {"verdict": "FAILED", "failure": Failure(kind="X", message="x")}
    runs = [
        make_run(point={"threads": 1, "reader": "direct", "batch_size": 8}),
        make_run(point={"threads": 2, "reader": "buffered", "batch_size": 16}, host=old, storage="nas"),
        make_run(measure="copy", notebook="02", point={"transfer_bytes": 4096, "direction": "in"}),
        make_run(measured=None, **failed),
    ]
    frame = frame_of(*runs)
    offered = encodings(frame)
    first = {name: options[0] for name, options in offered.items()}
    chosen = [first | {name: option} for name, options in offered.items() for option in options]
    filtered = [select(frame, {column: value}) for column in FILTERS for value in choices(frame, column)]
    for rows, parts in [*((frame, parts) for parts in chosen), *((rows, first) for rows in filtered)]:
        chart = explored(rows, parts)
        assert why(chart) if isinstance(chart, Nothing) else spec_of(chart)


def test_nothing_to_draw_is_said(make_run: MakeRun) -> None:
    frame = frame_of(make_run())
    frame["reached"] = None
    chosen = {"x": "storage", "y": "reached", "colour": NONE, "shape": NONE, "row": NONE}
    assert explored(frame, chosen) == Nothing("none of these records has both storage and measured ÷ predicted")
