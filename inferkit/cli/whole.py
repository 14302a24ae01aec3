"""Executed notebooks appear whole: beside, then renamed. What cannot be written ends no measurement."""

import json
from pathlib import Path
from typing import Any

from papermill.execute import ERROR_MARKER_TAG
from papermill.iorw import LocalHandler, papermill_io

from inferkit.files import say_once, write_whole
from inferkit.os_errors import explained
from inferkit.records.notebooks import change_records
from inferkit.records.packed import pack


class WholeNotebooks(LocalHandler):
    """Writes notebooks for papermill, which would write over them in place and stop where the disk is full.

    Attributes
    ----------
    failure
        Why the last write failed; empty if it did not.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.failure = ""

    def write(self, content: str, path: str) -> None:
        """Write a notebook; if that fails, the one that was there stays."""
        self.failure = ""
        try:
            write_whole(Path(path), compact(answer_first(json.loads(content))))
        except OSError as error:
            self.failure = f"{path} cannot be written: {explained(error)}"
            say_once(f"{self.failure}; measuring goes on")


def answer_first(content: dict[str, Any]) -> dict[str, Any]:
    """Move papermill's note that a cell failed, which it puts above everything, to below the cell with the answer."""
    first, *cells = content["cells"] or [{}]
    if ERROR_MARKER_TAG not in first.get("metadata", {}).get("tags", ()):
        return content
    below = next((index + 1 for index, cell in enumerate(cells) if cell["cell_type"] == "code"), 0)
    return {**content, "cells": [*cells[:below], first, *cells[below:]]}


def compact(content: dict[str, Any]) -> bytes:
    """Return a notebook's JSON, its records packed, without indentation and cut lines: else they are most of it."""
    for output in (output for cell in content["cells"] for output in cell.get("outputs", ())):
        data = output.get("data", {})
        data |= {mime: "".join(told) for mime, told in data.items() if mime.startswith("text/")}
    change_records(content, pack)
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


NOTEBOOKS = WholeNotebooks()
"""Writes every notebook whose path is absolute, as all of ours are."""
papermill_io.register("/", NOTEBOOKS)
