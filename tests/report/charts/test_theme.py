"""One look of all charts, readable on JupyterLab's dark ground as on paper."""

from typing import Any

import pytest

from inferkit.report.charts import CHARTS
from inferkit.report.charts.theme import Nothing
from tests.report.charts.test_pipeline import drawn, encodings, mixed
from tests.report.conftest import spec_of

__all__ = ["drawn", "mixed"]

NAMED = {
    "axis": ("labelColor", "titleColor", "domainColor", "tickColor", "gridColor"),
    "legend": ("labelColor", "titleColor"),
    "title": ("color", "subtitleColor"),
    "header": ("labelColor",),
    "text": ("color",),
    "rule": ("color",),
}
"""What a dark theme paints in its own colours where a spec leaves it open."""


def luminance(colour: str) -> float:
    """Return the relative luminance (WCAG 2.1) of a colour such as ``#222222``."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_names_every_colour_that_a_dark_theme_would_choose(name: str, drawn: dict[str, Any]) -> None:
    spec = spec_of(CHARTS[name](drawn[name]))
    assert spec["config"]["background"] == "white"
    for part, keys in NAMED.items():
        assert set(keys) <= set(spec["config"][part])
    words = [
        spec["config"][part][key] for part, keys in NAMED.items() for key in keys if key.endswith(("lColor", "eColor"))
    ]
    for colour in [*words, spec["title"]["color"], spec["title"]["subtitleColor"]]:
        assert 1.05 / (luminance(colour) + 0.05) >= 4.5  # WCAG 2.1, 1.4.3: contrast of text on white
    assert spec["title"]["text"].rstrip(")").split(" (")[0].endswith("?")


@pytest.mark.parametrize("name", CHARTS)
def test_what_is_drawn_in_colours_says_which_colour_is_which(name: str, drawn: dict[str, Any]) -> None:
    for colour in encodings(spec_of(CHARTS[name](drawn[name])), "color"):
        if colour.get("type") == "nominal":
            assert len(colour["scale"]["domain"]) <= len(colour["scale"]["range"])


@pytest.mark.parametrize("name", ["batch_sizes", "energy", "transfer_sweep", "read_sweep"])
def test_of_one_point_there_is_no_chart(name: str, drawn: dict[str, Any]) -> None:
    assert isinstance(CHARTS[name](drawn[name][:1]), Nothing)
