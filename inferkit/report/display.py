"""Charts that open anywhere: the Vega-Lite spec for those who can draw it, and a small PNG for everybody else.

An untrusted notebook shows both, the spec interactively; HTML made offline shows the PNG. JupyterLab knows Vega-Lite up
to version 5. Nothing is loaded from a network. A PNG of 32 colours is about a sixth of one of all colours.
"""

import base64
import io
import json
import sys
from functools import lru_cache
from typing import Any

import altair as alt
import vl_convert
from PIL import Image

from inferkit.records.figures import Json
from inferkit.records.run import rounded
from inferkit.report.charts.theme import Chart, Nothing

VEGALITE_MIME = "application/vnd.vegalite.v5+json"
COLOURS = 32
APART = 16
"""How much two of the colours differ, of 255: shades nearer to a more frequent one are the edges of letters."""
SCALE = 1.1
"""Pixels of the PNG per pixel of the chart: sharp on a dense screen, small enough for a notebook."""

_VEGALITE = ".".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2])


def chart_bundle(chart: alt.TopLevelMixin) -> dict[str, Any]:
    """Return the MIME bundle of a chart: its spec, a PNG in base64 (where one can be drawn) and its text."""
    spec = _short(rounded(chart.to_dict(validate=False)))  # validating is half of a chart's time; the tests do it
    image = {"image/png": base64.b64encode(png(spec)).decode("ascii")} if may_draw() else {}
    return {VEGALITE_MIME: spec, **image, "text/plain": spec.get("description", "chart")}


def _short(spec: Json) -> Json:
    """Return a spec whose rows are JSON as text, which Vega-Lite reads too: a notebook has a line for each value."""
    if isinstance(spec, list):
        return [_short(part) for part in spec]
    if not isinstance(spec, dict):
        return spec
    made = {name: _short(part) for name, part in spec.items()}
    if isinstance(made.get("values"), list) and set(made) == {"values"}:
        rows = json.dumps(made["values"], ensure_ascii=False, separators=(",", ":"))
        return {"values": rows, "format": {"type": "json"}}
    return made


def may_draw() -> bool:
    """Tell whether a PNG can be drawn: V8 ends the process where its address space is limited (ulimit -v 40000000)."""
    if sys.platform == "win32":
        return True
    import resource

    return resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY


def png(spec: dict[str, Any]) -> bytes:
    """Draw a Vega-Lite spec as a PNG of few colours."""
    return _drawn(json.dumps(spec))


@lru_cache(maxsize=8)
def _drawn(spec: str) -> bytes:
    """Draw a spec once: the picture of a notebook's answer is one of its charts as well."""
    drawn = vl_convert.vegalite_to_png(spec, vl_version=_VEGALITE, scale=SCALE, allowed_base_urls=[])
    out = io.BytesIO()
    _reduced(Image.open(io.BytesIO(drawn)).convert("RGB")).save(out, "PNG", optimize=True)
    return out.getvalue()


def _reduced(image: Image.Image) -> Image.Image:
    """Return an image in the most frequent of its own colours, so that a stage's areas keep the stage's colour."""
    found: Any = image.getcolors(image.width * image.height)
    kept: list[tuple[int, ...]] = []
    for _, colour in sorted(found, reverse=True):
        if len(kept) < COLOURS and all(_distance(colour, other) > APART for other in kept):
            kept.append(colour)
    palette = Image.new("P", (1, 1))
    palette.putpalette([channel for colour in kept for channel in colour])
    return image.quantize(palette=palette, dither=Image.Dither.NONE)


def _distance(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def display_chart(chart: Chart) -> None:
    """Display a chart in the notebook's cell; of one that would show nothing, only why."""
    from IPython.display import display  # see record.show

    display({"text/plain": chart.why} if isinstance(chart, Nothing) else chart_bundle(chart), raw=True)
