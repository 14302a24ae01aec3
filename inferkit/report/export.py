"""Hand an executed notebook on: as HTML that loads nothing from a network, or its records as CSV or JSON."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from inferkit.errors import RecordError
from inferkit.records.notebooks import Stored, load_runs, read_notebook
from inferkit.records.run import MIME

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


def export(notebook: Path, to: Format, out: Path, *, identity: bool = True) -> Path:
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

    Raises
    ------
    RecordError
        If the notebook cannot be read, holds no record (csv and json), ``to`` is unknown, or ``out`` cannot be written.
    """
    if to not in FORMATS:
        message = f"cannot export to {to!r}: choose one of {', '.join(FORMATS)}"
        raise RecordError(message)
    content = FORMATS[to](notebook, identity)
    try:
        out.write_text(content, encoding="utf-8")
    except OSError as error:
        message = f"{out} cannot be written: {error.strerror}; name a file in a folder that exists"
        raise RecordError(message) from error
    return out


def _html(notebook: Path, identity: bool) -> str:
    import nbformat  # the records' own forms need neither
    from nbconvert import HTMLExporter

    read_notebook(notebook)  # refuses what is no notebook, or holds a record that this version cannot read
    node = nbformat.read(notebook, as_version=4)
    # Widgets need scripts from a network; no result is shown by a widget alone.
    node.metadata.pop("widgets", None)
    if not identity:
        for data in _bundles(node):
            data.pop(MIME, None)
    exporter = HTMLExporter(**dict.fromkeys(_URLS, ""))
    exporter.embed_images = True
    body, _ = exporter.from_notebook_node(node, resources={"metadata": {"name": notebook.stem}})
    return str(body)


def _bundles(node: Any) -> list[dict[str, Any]]:
    outputs = [output for cell in node.cells for output in cell.get("outputs", ())]
    return [output["data"] for output in outputs if "data" in output]


def _csv(notebook: Path, identity: bool) -> str:
    from inferkit.report.store import table  # pandas

    stored = [Stored(run, path if identity else Path(path.name)) for run, path in load_runs(notebook)]
    return str(table(stored).to_csv(index=False))


def _json(notebook: Path, identity: bool) -> str:
    records = [run.to_dict(identity=identity) for run, _ in load_runs(notebook)]
    return json.dumps(records, indent=1, allow_nan=False, ensure_ascii=False)


FORMATS: dict[str, Callable[[Path, bool], str]] = {"html": _html, "csv": _csv, "json": _json}
