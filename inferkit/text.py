"""Plain tables and plain texts for a terminal. Every room shows some, so this imports nothing of ours."""

import re
import reprlib
import textwrap
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
    r"""Return a text that cannot command a terminal, nor show letters in an order that they do not have.

    Whatever comes out of a record, a notebook or a folder passes through here before it is printed: others may have
    written it. Bytes of a file's name that are no UTF-8 are written as \xff, and halves of characters as \ud800.

    Parameters
    ----------
    lines
        Keep line breaks and tabs, which are blanks otherwise: a name is one line, and cannot draw rows of a table.
    """
    text = _HALVES.sub(_escaped, _SEQUENCES.sub("", text))
    return _UNSEEN.sub("", text if lines else _BREAKS.sub(" ", text))


def _escaped(half: re.Match[str]) -> str:
    name = f"{ord(half[0]):x}"
    return f"\\x{name[2:]}" if "\udc80" <= half[0] <= "\udcff" else f"\\u{name}"


def spelled(name: str) -> str:
    r"""Return a file's name so that it can be found again: what is no character to print is written as \x1b or \n."""
    shown = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in _HALVES.sub(_escaped, name))
    return "".join(shown)


MOST, MOST_LINES = 1000, 200
"""Characters of a line, and lines of a message, that people read; longer ones were made to fill the screen."""
WIDEST = 300
"""Characters of a table's cell: every row is padded to the longest."""


def shortened(text: str, most: int = MOST) -> str:
    """Return a text of about so many characters at most: of a longer one both ends, for the fix often stands last."""
    if len(text) <= most:
        return text
    return f"{text[: most // 2]} … ({len(text) - most:,} more characters) … {text[-(most // 2) :]}"


def readable(message: str) -> str:
    """Return a message that fits a screen: its first :data:`MOST_LINES` lines, each :func:`shortened`."""
    lines = message.split("\n")
    more = [f"… and {len(lines) - MOST_LINES:,} more lines"] if len(lines) > MOST_LINES else []
    return "\n".join([*map(shortened, lines[:MOST_LINES]), *more])


_short = reprlib.Repr()
_short.maxstring = _short.maxother = _short.maxlong = 80


def quoted(value: object) -> str:
    """Write a value that was found where another was expected, as Python does: some 80 characters of each part."""
    return _short.repr(value)


def text_table(rows: Iterable[Sequence[str]], head: Sequence[str] = (), *, numbers: Sequence[int] = ()) -> list[str]:
    """Return lines of aligned columns, two spaces apart, without trailing blanks; cells are :func:`plain` and short.

    Parameters
    ----------
    rows, head
        Cells; no heading where ``head`` is empty.
    numbers
        Columns to align to the right.
    """
    cells = [[shortened(plain(cell), WIDEST) for cell in row] for row in ([head, *rows] if head else rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(_padded(row, widths, numbers)).rstrip() for row in cells]


def _padded(row: Sequence[str], widths: Sequence[int], numbers: Sequence[int]) -> list[str]:
    pairs = enumerate(zip(row, widths, strict=True))
    return [cell.rjust(width) if i in numbers else cell.ljust(width) for i, (cell, width) in pairs]


COLUMNS = 80
"""Width of a terminal that nobody has to make wider."""


def wrapped(text: str, first: str = "", further: str | None = None) -> list[str]:
    """Return lines of at most :data:`COLUMNS`; a name is never cut, so that one which is longer has a longer line.

    The text is made :func:`plain`, and one that is no sentence any more is cut.

    Parameters
    ----------
    first, further
        What the first line and all others begin with; the others are two blanks deeper if it is not given.
    """
    deeper = f"{first}  " if further is None else further
    return textwrap.wrap(
        shortened(plain(text), 4 * MOST),
        COLUMNS,
        initial_indent=first,
        subsequent_indent=deeper,
        break_long_words=False,
        break_on_hyphens=False,
    )
