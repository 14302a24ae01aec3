"""Hand an executed notebook on: as HTML that loads nothing from a network, or its records as CSV or JSON."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal
from warnings import warn

from inferkit.errors import RecordError
from inferkit.records.notebooks import Stored, Tell, load_notebook
from inferkit.records.run import MIME, Run

Format = Literal["html", "csv", "json"]

_URLS = (
    "mathjax_url",
    "require_js_url",
    "jquery_url",
    "jupyter_widgets_base_url",
    "widget_renderer_url",
    "mermaid_js_url",
    "mermaid_layout_elk_js_url",
)


def export(notebook: Path, to: Format, out: Path, *, identity: bool = True, tell: Tell = warn) -> Path:
    """Write a notebook, or its records, to a file.

    Parameters
    ----------
    notebook
        An executed notebook.
    to
        ``html``: the whole notebook, offline; ``csv``: one row per run; ``json``: the records.
    out
        The file to write.
    identity
        Keep what identifies a machine or a person: the host's identity and the notebook's folder. What people wrote
        into cells stays, and so do paths in parameters.
    tell
        Is told of every record that cannot be read; csv and json leave it out.

    Raises
    ------
    RecordError
        If the notebook cannot be read, holds no record, ``to`` is unknown, or ``out`` cannot be written.
    """
    if to not in FORMATS:
        message = f"cannot export to {to!r}: choose one of {', '.join(FORMATS)}"
        raise RecordError(message)
    runs = load_notebook(notebook, tell)
    content = FORMATS[to](notebook, runs, identity)
    try:
        out.write_text(content, encoding="utf-8")
    except OSError as error:
        message = f"{out} cannot be written: {error.strerror}; name a file in a folder that exists"
        raise RecordError(message) from error
    return out


def _html(notebook: Path, runs: list[Run], identity: bool) -> str:
    from nbconvert import HTMLExporter  # the records' own forms do not need it

    node = _valid(notebook)
    # Widgets need scripts from a network; no result is shown by a widget alone.
    node.metadata.pop("widgets", None)
    if not identity:
        for data in _bundles(node):
            data.pop(MIME, None)
    exporter = HTMLExporter(**dict.fromkeys(_URLS, ""))
    exporter.embed_images = True
    body, _ = exporter.from_notebook_node(node, resources={"metadata": {"name": notebook.stem}})
    return str(body)


def _valid(notebook: Path) -> Any:
    """Return a notebook of which every cell has what the format demands, which records alone need not have."""
    import nbformat

    # As of format 4.4, which knows no ids of cells: some notebooks lack them or repeat them, and no HTML needs them.
    content = json.loads(notebook.read_text(encoding="utf-8")) | {"nbformat": 4, "nbformat_minor": 4}
    for cell in content["cells"]:
        cell.pop("id", None)
    try:
        nbformat.validate(content)
    except nbformat.ValidationError as error:
        message = f"{notebook}: is not a notebook of format 4 ({error.message}): execute it again, or export json"
        raise RecordError(message) from error
    return nbformat.v4.reads(json.dumps(content))


def _bundles(node: Any) -> list[dict[str, Any]]:
    outputs = [output for cell in node.cells for output in cell.get("outputs", ())]
    return [output["data"] for output in outputs if "data" in output]


def _csv(notebook: Path, runs: list[Run], identity: bool) -> str:
    from inferkit.report.store import table  # pandas

    if identity:
        return str(table(Stored(run, notebook) for run in runs).to_csv(index=False))
    nameless = [Run.from_dict(run.to_dict(identity=False)) for run in runs]
    return str(table(Stored(run, Path(notebook.name)) for run in nameless).to_csv(index=False))


def _json(notebook: Path, runs: list[Run], identity: bool) -> str:
    records = [run.to_dict(identity=identity) for run in runs]
    return json.dumps(records, indent=1, allow_nan=False, ensure_ascii=False)


FORMATS: dict[str, Callable[[Path, list[Run], bool], str]] = {"html": _html, "csv": _csv, "json": _json}
