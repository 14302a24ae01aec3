"""Executed notebooks appear whole: beside, then renamed. What cannot be written ends no measurement."""

import json
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

from papermill.engines import NotebookExecutionManager
from papermill.execute import ERROR_MARKER_TAG
from papermill.iorw import LocalHandler, papermill_io

from inferkit.errors import RankError, ReadError
from inferkit.files import say_once, write_whole
from inferkit.machine.watched import watched
from inferkit.os_errors import explained

AGAIN_S = 600.0
"""Storage that gave no answer is asked again after so long, and once the notebook is finished: each costs a minute."""

SAVED_S = 5.0
"""Between two writes of a notebook while its cells come and go: each takes a fork and all of its records as JSON."""


class WholeNotebooks(LocalHandler):
    """Writes notebooks for papermill, which would write over them in place and stop where the disk is full.

    Attributes
    ----------
    failure
        Why what was to be written last is not there; empty if it is.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.failure = ""
        self._path, self._content = Path(), b""
        self._no_answer = ""
        self._again_s = 0.0

    def write(self, content: str, path: str) -> None:
        """Write a notebook; if that fails, the one that was there stays."""
        self._path, self._content = Path(path), compact(answer_first(json.loads(content)))
        if self._no_answer and monotonic() < self._again_s:
            self.failure = f"{path} cannot be written: {self._no_answer}"
        else:
            self._write()

    def finish(self) -> None:
        """Write the last notebook where its storage gave no answer before."""
        if self.failure and self._no_answer:
            self._write()

    def _write(self) -> None:
        why = self._no_answer = ""
        try:
            watched(lambda _: write_whole(self._path, self._content), deaf=True)
        except OSError as error:
            why = explained(error)
        except RankError as error:
            why = str(error)
        except ReadError as error:
            why = self._no_answer = str(error)
            self._again_s = monotonic() + AGAIN_S
        self.failure = f"{self._path} cannot be written: {why}" if why else ""
        if why:
            say_once(f"{self.failure}; measuring goes on")


class Manager(NotebookExecutionManager):
    """A notebook that is executed; papermill would write all of it twice a cell, where ten cells take a second too."""

    def __init__(self, nb: Any, output_path: str | None) -> None:
        super().__init__(nb, output_path, progress_bar=False)  # type: ignore[no-untyped-call]
        self.last_save_time = datetime.fromtimestamp(0, UTC)  # so that it lies there from the start

    def save(self, **kwargs: Any) -> None:
        """Write the notebook, if this is its end or it has not been written for a while."""
        if self.end_time or (datetime.now(UTC) - self.last_save_time).total_seconds() >= SAVED_S:
            super().save(**kwargs)


def answer_first(content: dict[str, Any]) -> dict[str, Any]:
    """Move papermill's note that a cell failed, which it puts above everything, to below the cell with the answer."""
    first, *cells = content["cells"] or [{}]
    if ERROR_MARKER_TAG not in first.get("metadata", {}).get("tags", ()):
        return content
    below = next((index + 1 for index, cell in enumerate(cells) if cell["cell_type"] == "code"), 0)
    return {**content, "cells": [*cells[:below], first, *cells[below:]]}


def compact(content: dict[str, Any]) -> bytes:
    """Return a notebook's JSON without indentation and cut lines: else they are much of it."""
    for output in (output for cell in content["cells"] for output in cell.get("outputs", ())):
        data = output.get("data", {})
        data |= {mime: "".join(told) for mime, told in data.items() if mime.startswith("text/")}
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


NOTEBOOKS = WholeNotebooks()
"""Writes every notebook whose path is absolute, as all of ours are."""
papermill_io.register("/", NOTEBOOKS)
