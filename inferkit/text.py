"""Plain tables for a terminal. Records, plans, data sets and reports show them, so this imports nothing of ours."""

import os
from collections.abc import Iterable, Sequence


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
    """Return lines of aligned columns, two spaces apart, without trailing blanks.

    Parameters
    ----------
    rows, head
        Cells; no heading where ``head`` is empty.
    numbers
        Columns to align to the right.
    """
    cells = [list(head), *map(list, rows)] if head else [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(_padded(row, widths, numbers)).rstrip() for row in cells]


def _padded(row: Sequence[str], widths: Sequence[int], numbers: Sequence[int]) -> list[str]:
    pairs = enumerate(zip(row, widths, strict=True))
    return [cell.rjust(width) if i in numbers else cell.ljust(width) for i, (cell, width) in pairs]
