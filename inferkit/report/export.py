"""Hand executed notebooks on: as pages that load nothing, on paper, as CSV or JSON, or as anonymous notebooks."""

import json
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal, NamedTuple
from warnings import warn

from inferkit.errors import RecordError
from inferkit.files import write_whole
from inferkit.os_errors import explained
from inferkit.records.notebooks import (
    Stored,
    Tell,
    bundles,
    change_records,
    load_content,
    read_content,
    records_in,
    runs_in,
)
from inferkit.records.packed import pack
from inferkit.records.run import Run
from inferkit.report.asking import ask

Format = Literal["html", "pdf", "csv", "json", "ipynb"]
PAGES = ("html", "pdf")
ANONYMOUS = "anonymous"
"""What the name of a file tells beside the notebook's, where nothing in it identifies anybody."""


class _Shown(NamedTuple):
    """A notebook that is to be written: under which name it goes, its content, and its records."""

    name: Path
    content: dict[str, Any]
    runs: list[Run]


def export(
    notebooks: Sequence[Path], to: Format, out: Path | None = None, *, anonymize: bool = False, tell: Tell = warn
) -> list[Path]:
    """Write notebooks, or their records, to files.

    Parameters
    ----------
    notebooks
        Executed notebooks.
    to
        ``html``: the whole notebook as one page; ``pdf``: the same on paper; ``csv``: one row per run; ``json``: the
        records; ``ipynb``: a notebook again, without what identifies.
    out
        The file to write, or a folder for several; None: beside each notebook.
    anonymize
        Leave out what identifies a machine or a person: see :class:`inferkit.report.anonymize.Anonymizer`.
    tell
        Is told of every record that cannot be read (csv and json leave it out), and what anonymizing had to leave.

    Returns
    -------
    files
        What was written, in the order of the notebooks.

    Raises
    ------
    RecordError
        If a notebook cannot be read or holds no record (for a page: shows nothing), ``to`` is unknown, or a file cannot
        be written. What can be found out before anything is written, is.
    ReadError
        If storage gave no answer.
    """
    _check(to, anonymize=anonymize)
    targets = ask(lambda _: _targets(notebooks, to, out, anonymize=anonymize))
    load = _page_of if to in PAGES and not anonymize else load_content
    shown = ask(lambda told: [_Shown(notebook, *load(notebook, told)) for notebook in notebooks], tell)
    if anonymize:
        shown = _anonymous(shown, tell)
    for each, target in zip(shown, targets, strict=True):
        _write(target, FORMATS[to](each))
    return targets


def _page_of(notebook: Path, tell: Tell) -> tuple[dict[str, Any], list[Run]]:
    """Read a notebook for a page; one that was executed and measures nothing, such as compare.ipynb, is one as well."""
    content = read_content(notebook)
    return (content, []) if not records_in(content) and any(bundles(content)) else load_content(notebook, tell)


def _check(to: str, *, anonymize: bool) -> None:
    if to not in FORMATS:
        message = f"cannot export to {to!r}: choose one of {', '.join(FORMATS)}"
        raise RecordError(message)
    if to == "ipynb" and not anonymize:
        message = "a notebook exported to ipynb would be itself: copy it, or add --anonymize"
        raise RecordError(message)


def _targets(notebooks: Sequence[Path], to: str, out: Path | None, *, anonymize: bool) -> list[Path]:
    """Return the file that each notebook is written to; no two are the same, and none is a notebook that is read."""
    ending = f".{ANONYMOUS}.{to}" if anonymize else f".{to}"
    if out is not None and len(notebooks) == 1 and not out.is_dir():
        targets = [out]
    else:
        targets = [(out or notebook.parent) / f"{notebook.stem}{ending}" for notebook in notebooks]
    if out is not None and len(notebooks) > 1 and not out.is_dir():
        message = f"{out}: is no folder, expected one for {len(notebooks)} files: make it first"
        raise RecordError(message)
    twice = {target for target in targets if targets.count(target) > 1 or target.resolve() in _resolved(notebooks)}
    if twice:
        message = f"{min(twice)}: would be written over: name another file or folder by --out"
        raise RecordError(message)
    return targets


def _resolved(paths: Sequence[Path]) -> set[Path]:
    return {path.resolve() for path in paths}


def _anonymous(shown: Sequence[_Shown], tell: Tell) -> list[_Shown]:
    from inferkit.report.anonymize import Anonymizer  # pictures: the records' own forms do not need it

    anonymizer = Anonymizer([each.content for each in shown], tell)
    made = []
    for each in shown:
        content = anonymizer(each.content)
        name = Path(anonymizer.text(each.name.name))
        made.append(_Shown(name, content, runs_in(content, each.name, tell)))
    return made


def _write(target: Path, content: bytes) -> None:
    try:
        if not ask(lambda _: _kept(target, content)):
            target.write_bytes(content)  # a pipe takes it, as slowly as somebody reads; a folder refuses it
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        why = f"{error.strerror}: name a file in a folder that exists" if missing else explained(error)
        message = f"{target} cannot be written: {why}"
        raise RecordError(message) from error


def _kept(target: Path, content: bytes) -> bool:
    """Write a file, unless something else has its name."""
    if target.exists() and not target.is_file():
        return False
    write_whole(target, content)
    return True


def _text(content: str) -> bytes:
    """Return UTF-8; half of a character, which JSON can hold, has none."""
    return content.encode("utf-8", "replace")


def _page(shown: _Shown) -> str:
    from inferkit.report.page import page  # nbconvert: the records' own forms do not need it
    from inferkit.report.widgets import without_widgets

    content = _valid(shown)
    without_widgets(content)
    return page(content, shown.name.stem)


def _html(shown: _Shown) -> bytes:
    return _text(_page(shown))


def _pdf(shown: _Shown) -> bytes:
    from inferkit.report.pdf import pdf

    return pdf(_page(shown))


def _ipynb(shown: _Shown) -> bytes:
    content = deepcopy(shown.content)
    change_records(content, pack)
    return _text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _valid(shown: _Shown) -> dict[str, Any]:
    """Return a notebook of which every cell has what the format demands, which records alone need not have."""
    import nbformat

    # As of format 4.4, which knows no ids of cells: some notebooks lack or repeat them. No page needs them, nor what
    # programs noted about cells.
    cells = [{key: value for key, value in cell.items() if key != "id"} for cell in shown.content["cells"]]
    bare = [{**cell, "metadata": {}} if "metadata" in cell else cell for cell in cells]
    content = {"cells": bare, "metadata": {}, "nbformat": 4, "nbformat_minor": 4}
    try:
        nbformat.validate(content)
    except (nbformat.ValidationError, TypeError, KeyError, AttributeError) as error:  # it stumbles over what is no cell
        fault = getattr(error, "message", "a cell is none")
        message = f"{shown.name}: is not a notebook of format 4 ({fault}): execute it again, or export json"
        raise RecordError(message) from error
    return dict(nbformat.v4.reads(json.dumps(content)))


def _csv(shown: _Shown) -> bytes:
    from inferkit.report.store import table  # pandas

    return _text(str(table(Stored(run, shown.name) for run in shown.runs).to_csv(index=False)))


def _json(shown: _Shown) -> bytes:
    records = [run.to_dict() for run in shown.runs]
    return _text(json.dumps(records, indent=1, allow_nan=False, ensure_ascii=False))


FORMATS: dict[str, Callable[[_Shown], bytes]] = {
    "html": _html,
    "pdf": _pdf,
    "csv": _csv,
    "json": _json,
    "ipynb": _ipynb,
}
