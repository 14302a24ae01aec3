"""Choose among many records with a few widgets. They only select: tables and charts hold everything without them.

What is chosen replaces displays of the cell, and no ``ipywidgets.Output`` is used: where a notebook is executed
without a browser, nbclient answers such a widget on the channel on which it waits for the cell's end, and on a busy
machine that end can then be missed for ever (libzmq tells of a message once; sending takes the sign away).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from inferkit.records.run import rounded
from inferkit.report.attended import attended
from inferkit.report.charts.explored import MISSING, NONE, explored, words
from inferkit.report.charts.theme import Nothing
from inferkit.report.display import chart_bundle

ANY = "all"
FILTERS = ("storage", "notebook", "measure", "model", "reader", "verdict", "machine", "date")
AXES = ("threads", "batch_size", "storage", "model", "reader", "engine", "transfer_bytes", "date")
"""What goes to the right, if records differ in it: the first of these unless another is chosen."""
APART = ("storage", "reader", "model", "engine", "machine")
"""What tells records apart: by colour what they differ in first, by shape what they differ in next."""
SHOWN = (
    *("storage", "notebook", "measure", "engine", "model", "reader", "threads", "batch_size"),
    *("images_per_s", "half_width", "predicted_images_per_s", "reached", "bottleneck", "verdict", "machine", "started"),
)


def select(frame: pd.DataFrame, chosen: Mapping[str, str]) -> pd.DataFrame:
    """Return the rows whose columns have the chosen values; ``all`` takes every one."""
    for column, value in chosen.items():
        if value != ANY:
            frame = frame[frame[column].astype(str) == value]
    return frame


def choices(frame: pd.DataFrame, column: str) -> Sequence[str]:
    """Return what can be chosen in a column."""
    return [ANY, *sorted({str(value) for value in frame[column].dropna()} - {""})]


def described(frame: pd.DataFrame) -> pd.DataFrame:
    """Add what records can be chosen by as well: the ``machine`` (its GPU, else its CPU) and the ``date``."""
    machine = frame["gpu"].where(frame["gpu"].fillna("") != "", frame["cpu"])
    return frame.assign(machine=machine, date=frame["started"].str.slice(0, 10))


def encodings(frame: pd.DataFrame) -> dict[str, list[str]]:
    """Return the columns that can be chosen for each part of the chart, the one that is taken at first in front."""
    several = [str(name) for name in frame.columns if len(choices(frame, str(name))) > 2]
    numbers = [str(name) for name in frame.select_dtypes("number").columns if frame[name].notna().any()]
    right = [name for name in AXES if name in several] + [name for name in numbers if name in several]
    apart = [name for name in dict.fromkeys((*APART, *FILTERS)) if name in several]
    x = list(dict.fromkeys(right or ["storage"]))
    rest = [name for name in apart if name != x[0]]
    return {
        "x": x,
        "y": list(dict.fromkeys(["images_per_s", *numbers])),
        "colour": [*rest, NONE],
        "shape": [*rest[1:], *rest[:1], NONE] if rest[1:] else [NONE, *rest],
        "row": [NONE, *rest],
    }


def explore(frame: pd.DataFrame) -> dict[str, Any]:
    """Display menus over records (:func:`inferkit.report.store.load`), and what they choose: a chart, and a table.

    One row of menus is of filters, one of the chart's axes, colours, shapes and rows. Where nobody sits who could
    choose, as when papermill executes the notebook, the menus are not shown; without ipywidgets there are none.

    Returns
    -------
    menus
        By column the filters, and ``x``, ``y``, ``colour``, ``shape``, ``row``, so that code can choose as well.
    """
    from IPython.display import display

    frame = described(frame)
    columns = [column for column in SHOWN if column in frame.columns]
    first = {name: options[0] for name, options in encodings(frame).items()}
    filters, parts = _menus(frame)
    if attended():
        display(_laid_out(filters, parts))

    def chart(rows: pd.DataFrame) -> dict[str, Any]:
        made = explored(rows, first | {name: menu.value for name, menu in parts.items()})
        return {"text/plain": made.why} if isinstance(made, Nothing) else chart_bundle(made)

    drawn = display(chart(frame), raw=True, display_id=True)  # right below its menus
    table = display(frame[columns].map(_told), display_id=True)

    def choose(_: Any) -> None:
        rows = select(frame, {column: menu.value for column, menu in filters.items()})
        drawn.update(chart(rows), raw=True)
        table.update(rows[columns].map(_told))

    for menu in (*filters.values(), *parts.values()):
        menu.observe(choose, names="value")
    return {**filters, **parts}


def _told(value: Any) -> Any:
    """Return what a table shows of a value: no more digits than matter, and a dash for what is not there."""
    if value is None or value == "" or value != value:
        return MISSING
    return rounded(float(value)) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _menus(frame: pd.DataFrame) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return menus of filters by column, and of the chart's parts; without ipywidgets none."""
    try:
        from ipywidgets import Dropdown
    except ImportError:
        return {}, {}
    filters = {
        column: Dropdown(options=choices(frame, column), description=column)
        for column in FILTERS
        if column in frame.columns
    }
    parts = {
        name: Dropdown(options=[(words(column), column) for column in options], description=name)
        for name, options in encodings(frame).items()
    }
    return filters, parts


def _laid_out(filters: Mapping[str, Any], parts: Mapping[str, Any]) -> Any:
    """Return what shows the menus, or says what they need."""
    if not parts:
        from IPython.display import Pretty

        return Pretty("Menus need ipywidgets: pip install 'inferkit[lab]', then start the kernel anew.")
    from ipywidgets import HTML, HBox, VBox

    rows = [HBox(list(menus.values()), layout={"flex_flow": "row wrap"}) for menus in (filters, parts)]
    return VBox([HTML("<b>Records</b>"), rows[0], HTML("<b>Chart</b>"), rows[1]])
