from typing import Any

import pytest

from inferkit.report.gpus import gpus_text

ONE = {"busy_median": 0.92, "clock_hz_median": 1.98e9, "power_w_median": 603.2, "temperature_c_max": 64.0}


@pytest.mark.parametrize(
    ("gpus", "told"),
    [
        ({"0": ONE}, "92 % busy · 1.98 GHz · 603 W · 64 °C"),
        ({"0": ONE, "1": ONE | {"power_w_median": 610.0}}, "92 % busy · 1.98 GHz · 603 W to 610 W · 64 °C"),
        ({"0": {"pcie_in_median": 5.4e10, "others": None}, "1": {}}, "54 GB/s in"),
        ({"missing": "no NVML"}, "no NVML"),
        ({"0": 7, "1": {"busy_median": "much"}}, ""),
        (None, ""),
    ],
)
def test_gpus_are_told_by_the_least_and_the_most_of_each_quantity(gpus: Any, told: str) -> None:
    assert gpus_text(gpus).replace("54.0", "54") == told
