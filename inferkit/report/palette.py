"""One stage, one colour, everywhere; this is the place.

The palette is that of Okabe and Ito, which people with any of the common colour vision deficiencies can tell apart
(M. Okabe and K. Ito, "Color Universal Design", 2008). Its yellow is too pale for lines: the ninth is a brown that lies
as far from the others.
"""

from collections.abc import Iterable

from inferkit.records.run import CEILINGS

STAGE_COLOURS = {
    "read": "#0072B2",
    "decode": "#CC79A7",
    "copy": "#E69F00",
    "infer": "#009E73",
    "out": "#56B4E9",
    "feed": "#D55E00",
    "device": "#662200",
    "cpu": "#666666",
    "memory": "#000000",
}
NO_STAGE = "unknown"
NO_STAGE_COLOUR = "#C4C4C4"
SERIES_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#666666")
VERDICT_COLOURS = {"VALID": "#00664B", "INVALID": "#A34700", "FAILED": "#9B1C1C"}
ALARM = "#A34700"
INK = "#222222"
GREY = "#555555"


def stage_order(names: Iterable[str]) -> list[str]:
    """Return stages in the order in which a batch meets them; the vocabulary is open, so unknown ones follow."""
    present = set(names)
    return [name for name in CEILINGS if name in present] + sorted(present - set(CEILINGS))
