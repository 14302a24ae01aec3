"""HTML tables that open anywhere: with inline styles only.

JupyterLab shows an executed notebook as untrusted at first: it strips ``<style>``, scripts and inline SVG, while inline
styles and ``<details>`` survive.
"""

from collections.abc import Iterable, Sequence
from html import escape

from inferkit.text import text_table

CELL = "text-align:left"
HEAD = f"{CELL};border-bottom:1px solid #999999;font-weight:600"


def html_table(
    rows: Iterable[Sequence[str]], head: Sequence[str] = (), *, numbers: Sequence[int] = (), wide: int | None = None
) -> str:
    """Return an HTML table of plain text, which is escaped here.

    Parameters
    ----------
    rows, head
        Cells; no heading where ``head`` is empty.
    numbers
        Columns to align to the right; none of them breaks.
    wide
        The column that keeps room for several words a line, however narrow the page is.
    """
    top = "".join(f'<th style="{_style(i, numbers, HEAD)}">{escape(cell)}</th>' for i, cell in enumerate(head))
    body = "".join(f"<tr>{_cells(row, numbers, wide)}</tr>" for row in rows)
    heading = f"<thead><tr>{top}</tr></thead>" if head else ""
    return (
        f'<table cellpadding="4" style="border-collapse:collapse;margin:4px 0">{heading}<tbody>{body}</tbody></table>'
    )


def _cells(row: Sequence[str], numbers: Sequence[int], wide: int | None) -> str:
    styles = [
        f"{_style(i, numbers, CELL)}{';min-width:11em;overflow-wrap:anywhere' if i == wide else ''}"
        for i in range(len(row))
    ]
    return "".join(f'<td style="{style}">{escape(cell)}</td>' for style, cell in zip(styles, row, strict=True))


def _style(column: int, numbers: Sequence[int], style: str) -> str:
    return f"{style.replace('left', 'right')};white-space:nowrap" if column in numbers else style


def badge(text: str, colour: str) -> str:
    """Return a word in white on a colour; the word carries the meaning, the colour only repeats it."""
    style = f"background:{colour};color:#ffffff;padding:1px 8px;border-radius:3px;font-weight:600"
    return f'<span style="{style}">{escape(text)}</span>'


def folded(summary: str, html: str) -> str:
    """Return HTML that opens on a click."""
    return f'<details style="margin:2px 0"><summary>{escape(summary)}</summary>{html}</details>'


WORDS = {"network", "reader", "work", "setting", "stored as", "verdict", "slowest node"}
"""Columns that hold words; all others hold numbers, and are aligned to the right."""


class Table:
    """A table that a notebook shows as HTML and a terminal as text; ``empty`` stands in place of one without rows."""

    def __init__(self, head: Sequence[str], rows: Sequence[Sequence[str]], empty: str) -> None:
        self.head, self.rows, self._empty = list(head), [list(row) for row in rows], empty

    def _numbers(self) -> list[int]:
        return [i for i, name in enumerate(self.head) if name not in WORDS]

    def __str__(self) -> str:
        return "\n".join(text_table(self.rows, self.head, numbers=self._numbers())) if self.rows else self._empty

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        """Return what a notebook shows (the name is IPython's)."""
        html = html_table(self.rows, self.head, numbers=self._numbers()) if self.rows else f"<p>{self._empty}</p>"
        return {"text/html": html, "text/plain": str(self)}
