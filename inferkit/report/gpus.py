"""What GPUs did under a point, in words: the least and the most of each quantity."""

from collections.abc import Callable

from inferkit.records.figures import Json
from inferkit.report.labels import share_text
from inferkit.units import bandwidth

_TOLD: dict[str, Callable[[float], str]] = {
    "busy_median": lambda value: f"{share_text(value)} busy",
    "clock_hz_median": lambda value: f"{value / 1e9:.2f} GHz",
    "power_w_median": lambda value: f"{value:.0f} W",
    "temperature_c_max": lambda value: f"{value:.0f} °C",
    "pcie_in_median": lambda value: f"{bandwidth(value)} in",
    "pcie_out_median": lambda value: f"{bandwidth(value)} out",
}
"""By the names that a record's facts have for each GPU; a record has more."""


def gpus_text(gpus: Json) -> str:
    """Word the facts of a record's GPUs: ``92 % busy · 603 W to 610 W``; why there are none, if that is said."""
    if not isinstance(gpus, dict):
        return ""
    if "missing" in gpus:
        return str(gpus["missing"])
    rows = [row for row in gpus.values() if isinstance(row, dict)]
    told = []
    for name, word in _TOLD.items():
        values = [row[name] for row in rows if isinstance(row.get(name), int | float)]
        if values:
            told.append(" to ".join(dict.fromkeys(word(value) for value in (min(values), max(values)))))
    return " · ".join(told)
