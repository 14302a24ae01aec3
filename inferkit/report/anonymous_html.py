"""HTML of which every text is written anew, while its elements stay."""

from collections.abc import Callable
from html import escape
from html.parser import HTMLParser

from inferkit.report.sanitize import sanitized


def rewritten(html: str, change: Callable[[str], str]) -> str:
    """Return HTML, sanitized, in which ``change`` was made to every text between elements and in their attributes."""
    parser = _Rewriter(change)
    parser.feed(sanitized(html))
    parser.close()
    return parser.html()


class _Rewriter(HTMLParser):
    """Writes what it reads; it is given what a sanitizer wrote, so all elements are closed and there is no script."""

    def __init__(self, change: Callable[[str], str]) -> None:
        super().__init__(convert_charrefs=True)
        self._change = change
        self._parts: list[str] = []
        self._text: list[str] = []

    def html(self) -> str:
        self._flush()
        return "".join(self._parts)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._flush()
        changed = [(name, value or "", self._change(value or "")) for name, value in attrs]
        kept = [(name, new) for name, old, new in changed if name != "href" or new == old]  # a stand-in is no address
        told = "".join(f' {name}="{escape(new)}"' for name, new in kept)
        self._parts.append(f"<{tag}{told}>")

    def handle_endtag(self, tag: str) -> None:
        self._flush()
        self._parts.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        self._text.append(data)

    def _flush(self) -> None:
        self._parts.append(escape(self._change("".join(self._text)), quote=False))
        self._text.clear()
