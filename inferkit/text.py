"""Plain tables and plain texts for a terminal. Every room shows some, so this imports nothing of ours."""

import os
import re
from collections.abc import Iterable, Sequence

_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, the cursor
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"  # titles, links, the clipboard
    r"|\x1b[ -/]*[0-~]"  # all other escapes
)
"""Sequences by which a text commands a terminal (ECMA-48, 5.4 and 5.6)."""
_BREAKS = re.compile(r"\r\n?|[\n\t\x0b\x0c\x85\u2028\u2029]")
_UNSEEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 and C1
    r"\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]"  # what turns or hides letters
)
_HALVES = re.compile(r"[\ud800-\udfff]")


def plain(text: str, *, lines: bool = False) -> str:
    """Return a text that cannot command a terminal, nor show letters in an order that they do not have.

    Whatever comes out of a record or a notebook passes through here before it is printed: others may have written it.

    Parameters
    ----------
    lines
        Keep line breaks and tabs, which are blanks otherwise: a name is one line, and cannot draw rows of a table.
    """
    text = _HALVES.sub("\ufffd", _SEQUENCES.sub("", text))
    return _UNSEEN.sub("", text if lines else _BREAKS.sub(" ", text))


def printable(text: str) -> str:
    r"""Return a file's name as a terminal and JSON can hold it: what is no character to print is written as \x1b."""
    return "".join(character if character.isprintable() else _escaped(character) for character in text)


def _escaped(character: str) -> str:
    return (
        os.fsencode(character).decode(errors="backslashreplace")
        if "\udc80" <= character <= "\udcff"
        else (character.encode("unicode_escape").decode())
    )


def text_table(rows: Iterable[Sequence[str]], head: Sequence[str] = (), *, numbers: Sequence[int] = ()) -> list[str]:
    """Return lines of aligned columns, two spaces apart, without trailing blanks; cells are made :func:`plain`.

    Parameters
    ----------
    rows, head
        Cells; no heading where ``head`` is empty.
    numbers
        Columns to align to the right.
    """
    cells = [[plain(cell) for cell in row] for row in ([head, *rows] if head else rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(_padded(row, widths, numbers)).rstrip() for row in cells]


def _padded(row: Sequence[str], widths: Sequence[int], numbers: Sequence[int]) -> list[str]:
    pairs = enumerate(zip(row, widths, strict=True))
    return [cell.rjust(width) if i in numbers else cell.ljust(width) for i, (cell, width) in pairs]
