"""Numbers as people read them: GB = 1e9 bytes, GiB = 2**30 bytes, seconds and their parts."""

from math import floor, log10

_DECIMAL = ("", "k", "M", "G", "T", "P")
_BINARY = ("", "Ki", "Mi", "Gi", "Ti", "Pi")


def _scaled(value: float, base: int, prefixes: tuple[str, ...]) -> tuple[float, str]:
    for prefix in prefixes[:-1]:
        if abs(value) < base * 0.9995:
            return value, prefix
        value /= base
    return value, prefixes[-1]


def _digits(value: float) -> str:
    """Three significant digits, never an exponent."""
    magnitude = abs(value)
    if magnitude >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if magnitude >= 10 else f"{value:.2f}"


def gigabytes(nbytes: float) -> str:
    """Format bytes in decimal units: ``1500000000`` is ``"1.50 GB"``."""
    value, prefix = _scaled(nbytes, 1000, _DECIMAL)
    return f"{_digits(value)} {prefix}B"


def gibibytes(nbytes: float) -> str:
    """Format bytes in binary units, as sizes of memory and buffers are: ``2**20`` is ``"1 MiB"``."""
    value, prefix = _scaled(nbytes, 1024, _BINARY)
    return f"{_digits(value)} {prefix}B"


def bandwidth(bytes_per_s: float) -> str:
    """Format a bandwidth in decimal units: ``5.5e10`` is ``"55 GB/s"``."""
    return f"{gigabytes(bytes_per_s)}/s"


def scaled_bandwidth(bytes_per_s: float) -> tuple[float, str]:
    """Return a bandwidth in the decimal unit in which it is read, and that unit: ``5.5e10`` is ``(55.0, "GB/s")``."""
    value, prefix = _scaled(bytes_per_s, 1000, _DECIMAL)
    return value, f"{prefix}B/s"


def rate(images_per_s: float) -> str:
    """Format images per second: ``21547.9`` is ``"21,548 images/s"``."""
    return f"{_digits(images_per_s)} images/s"


def duration(seconds: float) -> str:
    """Format a time span from nanoseconds to hours: ``0.00052`` is ``"520 us"``, ``3700`` is ``"1 h 1 min"``."""
    if seconds >= 3600:
        return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"
    if seconds >= 60:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    if not seconds:
        return "0 s"
    for scale, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        if seconds >= scale:
            return f"{_digits(seconds / scale)} {unit}"
    return f"{_digits(seconds / 1e-9)} ns"


def percent(share: float) -> str:
    """Format a share: ``0.987`` is ``"98.7 %"``; what is little is not nothing: ``0.00021`` is ``"0.021 %"``."""
    value = share * 100
    little = 0 < abs(value) < 0.05
    return f"{value:.{min(6, 1 - floor(log10(abs(value)))) if little else 1}f} %"
