"""A notebook as one HTML page: nothing of it runs, nothing is loaded, and it prints.

Everything that comes from the notebook passes through :func:`inferkit.report.sanitize.sanitized` as the last step, when
Markdown, colours and highlighting have become HTML. The page's policy forbids the browser whatever might be left.
"""

import re
from collections.abc import Callable, Iterator
from html import escape
from typing import Any
from urllib.parse import unquote

from nbconvert.filters import Highlight2HTML, ansi2html, markdown2html
from pygments.formatters import get_formatter_by_name

from inferkit.report.sanitize import sanitized
from inferkit.report.widgets import joined
from inferkit.text import plain

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""Content-Security-Policy: pictures inside the page and inline styles, and nothing else from anywhere."""
PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp")
LEFT_OUT = "(left out: {})"
"""Stands for an output that only a program could show."""
_ATTACHMENT = re.compile(r"attachment:([^)\s\"'>]+)")
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#1f2328;background:#ffffff;overflow-wrap:break-word}
body{max-width:1060px;margin:24px auto;padding:0 20px}
h1,h2,h3{line-height:1.25;margin:1.4em 0 .5em}
pre{font:13px/1.45 ui-monospace,monospace;white-space:pre-wrap;overflow-wrap:anywhere;margin:6px 0}
code{font:13px ui-monospace,monospace}
details.code{color:#59636e;font-size:13px}
details.code pre,pre.error{background:#f6f8fa;padding:8px 12px;border-radius:4px}
pre.error{border-left:3px solid #b42318}
summary{cursor:pointer;font-size:13px}
.anchor-link{display:none}
img{max-width:100%;height:auto}
table{border-collapse:collapse;display:block;overflow-x:auto;font-size:13px}
td,th{padding:2px 12px 2px 0;text-align:left;vertical-align:top}
.cell{margin:10px 0}
@page{size:A4;margin:14mm}
@media print{body{margin:0;padding:0;max-width:none;font-size:11px}details.code{display:none}
img,tr{break-inside:avoid}img{max-height:255mm;width:auto}h1,h2,h3{break-after:avoid}
table{display:table;overflow-wrap:anywhere;font-size:9px}pre,code{font-size:9px}
.inferkit-points{max-height:none!important;overflow:visible!important}
.inferkit-points td,.inferkit-points th{overflow-wrap:normal}.inferkit-points td:nth-child(2){overflow-wrap:anywhere}}
"""
_ANSI = {
    "black": "#3e424d",
    "red": "#b42318",
    "green": "#00704a",
    "yellow": "#8a6100",
    "blue": "#1f5fae",
    "magenta": "#8a2f8f",
    "cyan": "#006b75",
    "white": "#59636e",
}
"""Colours of printed text that can be read on white."""


def page(content: dict[str, Any], title: str) -> str:
    """Return a notebook as an HTML page.

    Parameters
    ----------
    content
        A notebook of format 4 that is valid, without widgets.
    title
        Of the page.
    """
    ansi = "".join(f".ansi-{name}-fg,.ansi-{name}-intense-fg{{color:{colour}}}" for name, colour in _ANSI.items())
    style = f"{_STYLE}{_highlighting()}{ansi}.ansi-bold{{font-weight:bold}}"
    # Each cell by itself: none can close what it did not open.
    cells = [plain(sanitized(_cell(cell)), lines=True) for cell in content["cells"]]
    body = "\n".join(f'<div class="cell">{cell}</div>' for cell in cells if cell.strip())
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="referrer" content="no-referrer">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(plain(title))}</title>\n<style>{style}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _highlighting() -> str:
    return str(get_formatter_by_name("html").get_style_defs("details.code"))


def _cell(cell: dict[str, Any]) -> str:
    source = joined(cell["source"])
    if cell["cell_type"] == "markdown":
        return _markdown(source, cell.get("attachments") or {})
    if cell["cell_type"] != "code":
        return f"<pre>{escape(source)}</pre>"
    count = cell.get("execution_count")
    summary = f"<summary>Code [{'' if count is None else escape(str(count))}]</summary>"
    code = f'<details class="code">{summary}{Highlight2HTML()(source)}</details>' if source.strip() else ""
    return code + "\n".join(map(_output, cell["outputs"]))


def _markdown(source: str, attachments: dict[str, Any]) -> str:
    def embedded(found: re.Match[str]) -> str:
        forms = attachments.get(unquote(found[1])) or {}
        return next((_address(kind, forms[kind]) for kind in PICTURES if kind in forms), "")

    return str(markdown2html(_ATTACHMENT.sub(embedded, source)))


def _output(output: dict[str, Any]) -> str:
    if output["output_type"] == "stream":
        return _pre(output["text"])
    if output["output_type"] == "error":
        text = "\n".join(output["traceback"]) or f"{output['ename']}: {output['evalue']}"
        return f'<pre class="error">{_coloured(text)}</pre>'
    return next(_forms(output["data"]), "")


def _forms(data: dict[str, Any]) -> Iterator[str]:
    """Yield what can be shown of an output, the richest form first; then what stands for what cannot."""
    yield from (f'<img alt="{_about(data)}" src="{_address(kind, data[kind])}">' for kind in PICTURES if kind in data)
    yield from (draw(joined(data[kind])) for kind, draw in _DRAWN.items() if joined(data.get(kind)).strip())
    if data and not data.keys() & _DRAWN.keys():  # an empty text is shown as nothing
        yield f"<p>{escape(LEFT_OUT.format(', '.join(data)))}</p>"


def _address(kind: str, data: Any) -> str:
    return f"data:{kind};base64,{escape(''.join(joined(data).split()))}"


def _about(data: dict[str, Any]) -> str:
    """Return the text of a picture, for those who cannot see it."""
    text = plain(joined(data.get("text/plain")))
    return "" if text.startswith("<") else escape(text)


def _coloured(text: str) -> str:
    return str(ansi2html(text))


def _pre(text: Any) -> str:
    return f"<pre>{_coloured(joined(text))}</pre>"


_DRAWN: dict[str, Callable[[str], str]] = {
    "text/html": str,
    "text/markdown": lambda text: _markdown(text, {}),
    "text/latex": _pre,
    "text/plain": _pre,
}
"""How texts are drawn, the richest first."""
