import re

import pytest

from inferkit.errors import RecordError
from inferkit.report.reference import normal_for, normal_text, references


def test_every_row_is_complete() -> None:
    for row in references():
        assert row.gpu
        assert row.figure
        assert row.source
        assert row.value > 0
        assert row.unit in ("bytes/s", "images/s")
        re.compile(row.match)


@pytest.mark.parametrize(
    ("gpu", "figure", "values"),
    [
        ("NVIDIA H100 80GB HBM3", "h2d_pinned", [55.3e9, 54.2e9, 50.9e9]),
        ("NVIDIA H100 80GB HBM3", "resnet50_int8", [91826, 88714, 88052]),
        ("NVIDIA H100 PCIe", "resnet50_int8", [54851]),
        ("NVIDIA H100 NVL", "h2d_pinned", []),
        ("NVIDIA H200", "h2d_pinned_pass_mark", [48e9]),
        ("Tesla V100-SXM2-16GB", "resnet50_8_gpus_adjusted", [41321]),
        ("NVIDIA L4", "h2d_pinned", []),
        ("", "h2d_pinned", []),
        ("", "jpeg_decode_per_thread", [860, 720]),
        ("NVIDIA L4", "jpeg_decode_per_thread", []),
    ],
)
def test_a_gpu_gets_its_own_figures_only(gpu: str, figure: str, values: list[float]) -> None:
    assert [row.value for row in normal_for(gpu, figure)] == values


def test_an_unknown_figure_is_refused() -> None:
    with pytest.raises(RecordError, match="h2d_pageable"):
        normal_for("NVIDIA H100 PCIe", "h2d")


def test_text_names_range_and_source() -> None:
    assert normal_text("NVIDIA H200", "resnet50_int8").startswith(
        "normal for H200: 94,620 images/s (MLPerf inference results v4.1"
    )
    assert normal_text("", "jpeg_decode_per_thread").startswith(
        "normal for any CPU: 720 images/s to 860 images/s (ternaus"
    )
    assert normal_text("NVIDIA L4", "h2d_pinned") == ""
