"""HTML of strangers, made harmless: what is not named here is gone. Nothing runs, nothing is loaded, nothing overlays.

nh3 (Ammonia) parses as browsers do and keeps what is listed. bleach, which nbconvert has, is no longer kept up.
"""

import re

import nh3


def _words(*lines: str) -> set[str]:
    return set(" ".join(lines).split())


TAGS = _words(
    "a abbr b blockquote br caption code col colgroup dd del details div dl dt em figcaption figure h1 h2 h3 h4 h5",
    "h6 hr i img ins kbd li mark ol p pre q s samp small span strong sub summary sup table tbody td tfoot th thead tr",
    "u ul var wbr",
)
WITH_CONTENT = _words(
    "applet audio canvas embed frame frameset iframe math noembed noframes noscript object script select style svg",
    "template textarea title video xmp",
)
"""Elements whose content is no text for people: it goes with them."""
_EVERYWHERE = {"class", "style", "title", "dir", "lang"}
ATTRIBUTES = {
    "*": _EVERYWHERE,
    "a": {"href"},
    "img": {"src", "alt", "width", "height"},
    "details": {"open"},
    "table": {"cellpadding"},
    "td": {"colspan", "rowspan", "align"},
    "th": {"colspan", "rowspan", "align", "scope"},
    "col": {"span", "width"},
    "ol": {"start", "type"},
}
PICTURE = re.compile(r"data:image/(?P<kind>png|jpeg|gif|webp);base64,(?P<data>[A-Za-z0-9+/=\s]+)", re.IGNORECASE)
"""The only pictures that stay: those that travel in the page. SVG is a program's text, and stays out."""
_LINK = re.compile(r"(?:https?://|mailto:|#)", re.IGNORECASE)
_PROPERTY = re.compile(
    r"(?:background-color|background|color|opacity|display|visibility|float|clear|box-sizing|box-shadow|overflow"
    r"|white-space|word-break|vertical-align|line-height|letter-spacing|list-style|table-layout|caption-side|columns"
    r"|row-gap|column-gap|gap|order|tab-size|print-color-adjust|aspect-ratio|object-fit|width|height"
    r"|(?:font|text|flex|grid|align|justify|place|border|padding|margin|outline|overflow|column|break|page|min|max)"
    r"(?:-[a-z-]+)?)"
)
_VALUE = re.compile(r"""(?:[\w\s.,%#()+*/!-]|"[\w\s-]*"|'[\w\s-]*')*""", re.ASCII)
_FUNCTION = re.compile(r"([\w-]*)\s*\(")
_FUNCTIONS = {"", "rgb", "rgba", "hsl", "hsla", "calc", "min", "max", "clamp", "repeat", "minmax", "light-dark"}
_NEGATIVE = re.compile(r"(?<![\w)-])-\s*[\d.]")


def sanitized(html: str) -> str:
    """Return HTML in which nothing runs, and that loads nothing: text, tables, inline styles and pictures stay."""
    clean: str = nh3.clean(
        html.encode("utf-8", "replace").decode(),  # JSON can hold half a character
        tags=TAGS,
        clean_content_tags=WITH_CONTENT,
        attributes=ATTRIBUTES,
        attribute_filter=_attribute,
        url_schemes={"http", "https", "mailto", "data"},
        link_rel="noopener noreferrer",
    )
    return clean


def _attribute(tag: str, name: str, value: str) -> str | None:
    """Return the value of an attribute as it may stay; None: it may not."""
    if name == "style":
        return _style(value) or None
    if name == "src":
        return value if PICTURE.fullmatch(value.strip()) else None
    if name == "href":
        return value if _LINK.match(value.strip()) else None
    return value


def _style(value: str) -> str:
    """Keep the declarations that draw in their own place, of values that name no other file and run nothing."""
    pairs = [declaration.partition(":") for declaration in value.split(";")]
    kept = [(name.strip().lower(), what.strip()) for name, _, what in pairs]
    return ";".join(f"{name}:{what}" for name, what in kept if _PROPERTY.fullmatch(name) and _draws(name, what))


def _draws(name: str, value: str) -> bool:
    known = {function.lower() for function in _FUNCTION.findall(value)} <= _FUNCTIONS
    moved = name.startswith(("margin", "text-indent")) and _NEGATIVE.search(value)
    return bool(value and known and not moved and _VALUE.fullmatch(value))
