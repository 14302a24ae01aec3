"""Is this number normal? Figures that others, or we, reached on known hardware, with their source.

One row of ``reference.csv`` per GPU and figure; ``match`` is a regular expression on the GPU's name as NVML tells it
(``NVIDIA H100 80GB HBM3``), which is empty for figures of the CPU.
"""

import csv
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

from inferkit.errors import RecordError
from inferkit.units import bandwidth, rate

TABLE = Path(__file__).with_name("reference.csv")


class Reference(NamedTuple):
    """A reference figure: ``value`` in ``unit`` (bytes/s or images/s), reached on ``gpu`` over ``link``."""

    gpu: str
    match: str
    link: str
    figure: str
    value: float
    unit: str
    source: str


@cache
def references() -> tuple[Reference, ...]:
    """Return all rows of the table."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        return tuple(_reference(row) for row in csv.DictReader(file))


def _reference(row: dict[str, str]) -> Reference:
    value = float(row["value"])
    return Reference(row["gpu"], row["match"], row["link"], row["figure"], value, row["unit"], row["source"])


def normal_for(gpu_name: str, figure: str) -> list[Reference]:
    """Return the reference figures of a GPU, the largest first; none where there is no row for it.

    Parameters
    ----------
    gpu_name
        As NVML tells it; empty for figures of the CPU.
    figure
        Name of the figure, such as ``h2d_pinned``.

    Raises
    ------
    RecordError
        If no row has such a figure at all.
    """
    rows = [row for row in references() if row.figure == figure]
    if not rows:
        known = ", ".join(sorted({row.figure for row in references()}))
        message = f"no reference figure {figure!r}: {TABLE.name} has {known}"
        raise RecordError(message)
    return sorted((row for row in rows if re.search(row.match, gpu_name)), key=lambda row: -row.value)


def normal_text(gpu_name: str, figure: str) -> str:
    """Word the range of the reference figures of a GPU with their sources; empty where there is none."""
    rows = normal_for(gpu_name, figure)
    if not rows:
        return ""
    low, high = _text(rows[-1]), _text(rows[0])
    span = low if low == high else f"{low} to {high}"
    return f"normal for {rows[0].gpu}: {span} ({'; '.join(dict.fromkeys(row.source for row in rows))})"


def _text(row: Reference) -> str:
    return bandwidth(row.value) if row.unit == "bytes/s" else rate(row.value)
