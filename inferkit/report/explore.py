"""Choose among many records with a few widgets. They only select: tables and charts hold everything without them.

What is chosen replaces displays of the cell, and no ``ipywidgets.Output`` is used: where a notebook is executed
without a browser, nbclient answers such a widget on the channel on which it waits for the cell's end, and on a busy
machine that end can then be missed for ever (libzmq tells of a message once; sending takes the sign away).
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from inferkit.errors import ParameterError
from inferkit.report.charts.pipeline import comparison
from inferkit.report.charts.theme import Chart, Nothing
from inferkit.report.display import chart_bundle

ANY = "all"
AXES = ("storage", "notebook", "measure", "model", "reader", "verdict")
SHOWN = (
    *("storage", "notebook", "measure", "engine", "model", "reader", "threads", "batch_size"),
    *("images_per_s", "predicted_images_per_s", "reached", "bottleneck", "verdict"),
)


def select(frame: pd.DataFrame, chosen: dict[str, str]) -> pd.DataFrame:
    """Return the rows whose columns have the chosen values; ``all`` takes every one."""
    for column, value in chosen.items():
        if value != ANY:
            frame = frame[frame[column].astype(str) == value]
    return frame


def choices(frame: pd.DataFrame, column: str) -> Sequence[str]:
    """Return what can be chosen in a column."""
    return [ANY, *sorted({str(value) for value in frame[column].dropna()} - {""})]


def chosen_chart(rows: pd.DataFrame) -> Chart:
    """Draw the pipelines of some records beside each other, or say that there are none."""
    if not (rows["measure"] == "pipeline").any():
        return Nothing("no pipeline among these records")
    return comparison(rows)


def _bundle(rows: pd.DataFrame) -> dict[str, Any]:
    chart = chosen_chart(rows)
    return {"text/plain": chart.why} if isinstance(chart, Nothing) else chart_bundle(chart)


def explore(frame: pd.DataFrame) -> dict[str, Any]:
    """Display menus over a table of records (:func:`inferkit.report.store.load`), and what they choose.

    Returns
    -------
    menus
        The menu of each column, so that code can choose as well.

    Raises
    ------
    ParameterError
        If ipywidgets is not installed.
    """
    try:
        import ipywidgets as widgets
    except ImportError as error:
        needs = "explore needs ipywidgets: pip install 'inferkit[lab]'"
        raise ParameterError(needs) from error
    from IPython.display import display

    menus = {
        column: widgets.Dropdown(options=choices(frame, column), description=column)
        for column in AXES
        if column in frame.columns
    }
    columns = [column for column in SHOWN if column in frame.columns]
    display(widgets.HBox(list(menus.values()), layout={"flex_flow": "row wrap"}))
    table = display(frame[columns], display_id=True)
    chart = display(_bundle(frame), raw=True, display_id=True)

    def choose(_: Any) -> None:
        rows = select(frame, {column: menu.value for column, menu in menus.items()})
        table.update(rows[columns])
        chart.update(_bundle(rows), raw=True)

    for menu in menus.values():
        menu.observe(choose, names="value")
    return menus
