"""Numbers as people read them."""

import pytest

from inferkit.units import bandwidth, duration, gibibytes, gigabytes, percent, rate


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (1_500_000_000, "1.50 GB"), (999_999, "1.00 MB"), (55.3e9, "55.3 GB")],
)
def test_decimal_bytes(nbytes: float, text: str) -> None:
    assert gigabytes(nbytes) == text


@pytest.mark.parametrize(
    ("nbytes", "text"), [(1023, "1,023 B"), (1024, "1 KiB"), (4816896, "4.59 MiB"), (2**30, "1 GiB")]
)
def test_binary_bytes(nbytes: float, text: str) -> None:
    assert gibibytes(nbytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (5e-9, "5 ns"), (0.00052, "520 us"), (0.0125, "12.5 ms"), (61, "1 min 1 s"), (3700, "1 h 1 min")],
)  # fmt: skip
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_rates_and_shares() -> None:
    assert rate(21547.9) == "21,548 images/s"
    assert bandwidth(5.5e10) == "55 GB/s"
    assert percent(0.987) == "98.7 %"
