from pathlib import Path

import onnx
import pytest

from inferkit.models.precision import convert
from inferkit.models.reference import quantised_to
from tests.models.test_quantize import network, pixels


@pytest.mark.parametrize(("precision", "told"), [("float32", ""), ("float16", ""), ("int8", "int8"), ("fp8", "fp8")])
def test_what_a_graph_is_quantised_to(tmp_path: Path, precision: str, told: str) -> None:
    onnx.save(convert(network(), precision, pixels(16)), tmp_path / "network.onnx")
    assert quantised_to(tmp_path / "network.onnx") == told
