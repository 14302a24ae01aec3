"""Widgets taken out of a notebook: without their kernel they are nothing but their Python names."""

import re
from typing import Any

from inferkit.records.notebooks import bundles

VIEW = "application/vnd.jupyter.widget-view+json"
STATE = "application/vnd.jupyter.widget-state+json"
_REPR = re.compile(
    r"[\[(]*(?:Output\(\)|[A-Z]\w*\(\s*(?:children|value|description|layout|options|outputs|icon|titles|style|min|max|comm|"
    r"data|button_style|bar_style|format|msg_id|selected_index|figure)=.*|Error displaying widget.*)",
    re.DOTALL,
)
"""The text of a widget, or of a list of widgets: ``VBox(children=(…``, ``HTML(value='…``, ``Output()``."""


def without_widgets(content: dict[str, Any]) -> None:
    """Take the widgets out of a notebook's content, and their Python names. Their static counterparts stay."""
    if isinstance(content.get("metadata"), dict):
        content["metadata"].pop("widgets", None)
    for data in bundles(content):
        data.pop(VIEW, None)
        data.pop(STATE, None)
        if is_widget(joined(data.get("text/plain", ""))):
            del data["text/plain"]
        if is_widget(joined(data.get("text/html", ""))):
            del data["text/html"]
    for cell in content["cells"]:
        outputs = cell.get("outputs", [])
        cell["outputs"] = [output for output in outputs if not _nothing(output)]
        if "outputs" in cell and cell.get("cell_type") != "code":
            del cell["outputs"]


def is_widget(text: str) -> bool:
    """Tell whether a text is what Python prints of a widget, or what JupyterLab shows where it has none."""
    return _REPR.fullmatch(text.strip()) is not None


def joined(value: Any) -> str:
    """Return a text of a notebook, which may be a list of its lines; empty where it is no text."""
    if isinstance(value, list):
        return "".join(item for item in value if isinstance(item, str))
    return value if isinstance(value, str) else ""


def _nothing(output: dict[str, Any]) -> bool:
    """Tell whether an output shows nothing, or printed nothing but widgets."""
    if output.get("output_type") == "stream":
        return is_widget(joined(output.get("text", "")))
    return "data" in output and not output["data"]
