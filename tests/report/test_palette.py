"""The colours, as people see them who lack one kind of cones."""

from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from inferkit.report.palette import NO_STAGE, NO_STAGE_COLOUR, SERIES_COLOURS, STAGE_COLOURS, VERDICT_COLOURS

Vector = npt.NDArray[np.float64]

# G. M. Machado, M. M. Oliveira, L. A. F. Fernandes, "A Physiologically-based Model for Simulation of Color Vision
# Deficiency", 2009: what is left of linear RGB at severity 1.
SEEN = {
    "all cones": np.eye(3),
    "no red": np.array([[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]),
    "no green": np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]),
    "no blue": np.array([[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]]),
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
"""Linear sRGB to CIE XYZ (IEC 61966-2-1)."""
PALETTES: dict[str, dict[Any, str]] = {
    "stages": {**STAGE_COLOURS, NO_STAGE: NO_STAGE_COLOUR},
    "series": dict(enumerate(SERIES_COLOURS)),
    "verdicts": VERDICT_COLOURS,
}
LEAST = 14.0
"""Of the distance in CIE L*a*b*, of which some 2.3 is just noticed side by side."""


def linear(colour: str) -> Vector:
    parts = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def lab(rgb: Vector) -> Vector:
    white = XYZ @ np.ones(3)
    ratios = XYZ @ np.clip(rgb, 0, 1) / white
    x, y, z = np.where(ratios > 0.008856, np.cbrt(ratios), 7.787 * ratios + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("kind", SEEN)
@pytest.mark.parametrize("palette", PALETTES)
def test_no_two_colours_look_alike(palette: str, kind: str) -> None:
    shown = {name: lab(SEEN[kind] @ linear(colour)) for name, colour in PALETTES[palette].items()}
    for one, other in combinations(shown, 2):
        assert np.linalg.norm(shown[one] - shown[other]) > LEAST, (one, other)
