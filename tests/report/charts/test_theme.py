"""One look of all charts, readable on JupyterLab's dark ground as on paper."""

from io import BytesIO
from typing import Any

import numpy as np
import pytest
import vl_convert
from PIL import Image

from inferkit.records.figures import Figure
from inferkit.report.charts import CHARTS
from inferkit.report.charts.theme import WIDEST, Nothing
from inferkit.report.display import APART, COLOURS, SCALE, png
from inferkit.report.labels import interval_of
from inferkit.report.palette import STAGE_COLOURS
from tests.report.charts.test_pipeline import Specs, drawn, encodings, mixed, rows_of, specs
from tests.report.conftest import MakeRun, spec_of

__all__ = ["drawn", "mixed", "specs"]

pytestmark = pytest.mark.xdist_group("charts")  # each is put together once

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
def test_a_chart_names_every_colour_that_a_dark_theme_would_choose(name: str, specs: Specs) -> None:
    spec = specs(name)
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
def test_what_is_drawn_in_colours_says_which_colour_is_which(name: str, specs: Specs) -> None:
    for colour in encodings(specs(name), "color"):
        if colour.get("type") == "nominal":
            assert len(colour["scale"]["domain"]) <= len(colour["scale"]["range"])


@pytest.mark.parametrize("name", ["batch_sizes", "energy", "transfer_sweep", "read_sweep", "scaling", "speedup"])
def test_of_one_point_there_is_no_chart(name: str, drawn: dict[str, Any]) -> None:
    assert isinstance(CHARTS[name](drawn[name][:1]), Nothing)


def test_a_picture_has_the_colours_of_the_chart(make_run: MakeRun) -> None:
    """Of hundreds of shades a few stay; a stage's area never gets the colour of another stage."""
    limits = dict(zip(STAGE_COLOURS, (60.0, 70.0, 80.0, 90.0, 75.0, 65.0, 85.0, 95.0, 55.0), strict=True))
    ceilings = {name: Figure(images_per_s=rate) for name, rate in limits.items()}
    runs = [make_run(50, point={"engine": f"e{k}"}, ceilings=ceilings, bottleneck="read") for k in range(3)]
    spec = spec_of(CHARTS["ceilings"](runs))
    drawn = vl_convert.vegalite_to_png(spec, vl_version="5.20", scale=SCALE)
    full, few = (np.asarray(Image.open(BytesIO(data)).convert("RGB")).astype(int) for data in (drawn, png(spec)))
    shades, at, areas = np.unique(full.reshape(-1, 3), axis=0, return_inverse=True, return_counts=True)
    assert len(shades) > COLOURS >= len(np.unique(few.reshape(-1, 3), axis=0))
    wide = areas[at.ravel()] > 500  # pixels: a bar, a mark of the legend; not the edges of letters
    assert np.abs(full - few).reshape(-1, 3)[wide].max() <= APART


def test_an_interval_does_not_go_below_standing_still(make_run: MakeRun) -> None:
    rough = Figure(images_per_s=50.0, half_width=2.0, block_s=0.1)
    runs = [make_run(50, point={"engine": "null", "batch_size": b, "ranks": b}, measured=rough) for b in (1, 2)]
    for name in ("throughput", "batch_sizes", "scaling"):
        rows = [row for row in rows_of(spec_of(CHARTS[name](runs))) if "low" in row]
        assert [(row["low"], row["high"]) for row in rows] == [(0.0, 150.0)] * 2
    assert interval_of(runs[0]) == (0.0, 150.0)


def test_a_name_in_the_heading_of_its_bars_is_not_repeated_beside_each(make_run: MakeRun) -> None:
    runs = [make_run(50, point={"engine": "onnx", "model": model, "batch_size": 8}) for model in ("vgg19", "resnet50")]
    labels = {row["label"] for row in rows_of(spec_of(CHARTS["throughput"](runs))) if "label" in row}
    assert labels == {"batch size 8"}


LONG = "/somewhere/a_network_whose_name_somebody_made_as_long_as_a_whole_sentence_with_a_reason.onnx"
AXES: dict[str, Any] = {"engine": "tensorrt", "model": LONG, "precision": "float16"}


@pytest.mark.parametrize("name", sorted(CHARTS.keys() - {"comparison"}))
def test_no_name_makes_a_chart_wider_than_a_narrow_window(name: str, drawn: dict[str, Any]) -> None:
    """A window of 600 pixels leaves no more; in a wider chart JupyterLab would cut its right edge off."""
    runs = [run.model_copy(update={"point": run.point | AXES, "storage": LONG}) for run in drawn[name]]
    assert Image.open(BytesIO(png(spec_of(CHARTS[name](runs))))).width <= WIDEST * SCALE
