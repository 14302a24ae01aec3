"""Choose among many records with a few widgets. They only select: tables and charts hold everything without them."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from inferkit.errors import ParameterError
from inferkit.report.charts.pipeline import comparison
from inferkit.report.display import display_chart

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


def explore(frame: pd.DataFrame) -> Any:
    """Show menus over a table of records (:func:`inferkit.report.store.load`), and what they choose.

    Returns
    -------
    panel
        An ipywidgets box.

    Raises
    ------
    ParameterError
        If ipywidgets is not installed.
    """
    try:
        import ipywidgets as widgets
    except ImportError as error:
        message = "explore needs ipywidgets: pip install 'inferkit[lab]'"
        raise ParameterError(message) from error
    menus = {
        column: widgets.Dropdown(options=choices(frame, column), description=column)
        for column in AXES
        if column in frame.columns
    }

    def show(**chosen: str) -> None:
        from IPython.display import display

        rows = select(frame, chosen)
        display(rows[[column for column in SHOWN if column in rows.columns]])
        if (rows["measure"] == "pipeline").any():
            display_chart(comparison(rows))

    return widgets.VBox([widgets.HBox(list(menus.values()), layout={"flex_flow": "row wrap"}),
                         widgets.interactive_output(show, menus)])  # fmt: skip
