"""Nobody hears of a run: no library that inferkit imports asks a network, or keeps a diary in the home."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

USE = (
    "import inferkit.engines.onnx, inferkit.models.agreement, inferkit.models.cache, inferkit.report.charts, time\n"
    "import numpy, onnx.helper as h, onnxruntime as ort\n"
    "x, y = (h.make_tensor_value_info(name, 1, [1]) for name in 'xy')\n"
    "net = h.make_model(h.make_graph([h.make_node('Relu', ['x'], ['y'])], 'g', [x], [y]), ir_version=9,\n"
    "                   opset_imports=[h.make_opsetid('', 17)])\n"
    "ort.InferenceSession(net.SerializeToString()).run(None, {'x': numpy.ones(1, numpy.float32)})\n"
    "time.sleep(2)\n"  # a diary is written by a thread of its own
)


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """Return an environment whose home and temporary folder are empty."""
    for name in ("home", "tmp"):
        (tmp_path / name).mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "XDG_"))}
    return kept | {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "tmp"), "PYTHONDONTWRITEBYTECODE": "1"}


def test_inference_leaves_no_file_behind(home: dict[str, str], tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", USE], env=home, check=True)
    left = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()]
    assert not left


def test_inference_asks_no_network(home: dict[str, str], tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed: it shows what a process sends")
    log = tmp_path / "calls"
    traced = ["strace", "-f", "-qq", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o", str(log)]
    done = subprocess.run([*traced, sys.executable, "-c", USE], env=home, check=False, capture_output=True, text=True)
    if "Operation not permitted" in done.stderr:
        pytest.skip("this machine does not let strace follow a process")
    assert done.returncode == 0, done.stderr
    assert [line for line in log.read_text().splitlines() if "AF_INET" in line] == []
