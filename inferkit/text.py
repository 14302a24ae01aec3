"""Plain tables for a terminal. Records, plans, data sets and reports show them, so this imports nothing of ours."""

import textwrap
from collections.abc import Iterable, Sequence


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


COLUMNS = 80
"""Width of a terminal that nobody has to make wider."""


def wrapped(text: str, first: str = "", further: str | None = None) -> list[str]:
    """Return lines of at most :data:`COLUMNS`; a name is never cut, so that one which is longer has a longer line.

    What a terminal would obey (control characters of a record that somebody else wrote) is shown as ``�``.

    Parameters
    ----------
    first, further
        What the first line and all others begin with; the others are two blanks deeper if it is not given.
    """
    deeper = f"{first}  " if further is None else further
    shown = "".join(letter if letter.isprintable() else " " if letter.isspace() else "�" for letter in text)
    return textwrap.wrap(
        shown,
        COLUMNS,
        initial_indent=first,
        subsequent_indent=deeper,
        break_long_words=False,
        break_on_hyphens=False,
    )
