"""Nobody hears of a run: no library that inferkit imports asks a network, or keeps a diary in the home."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

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


DOCUMENTED = (".cache/inferkit", ".local/share/jupyter")
"""Networks and engines; the signatures of executed notebooks. README tells of both."""


def internet(command: list[str], log: Path, **how: Any) -> list[str]:
    """Run a command, and return what it and all that it started sent to a network, or tried to reach there."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed: it shows what a process sends")
    traced = ["strace", "-f", "-qq", "--seccomp-bpf", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o", str(log)]
    done = subprocess.run([*traced, *command], check=False, capture_output=True, text=True, **how)
    if "Operation not permitted" in done.stderr:
        pytest.skip("this machine does not let strace follow a process")
    assert done.returncode in (0, 3), done.stderr  # 3: the machine was noisy
    return [line for line in log.read_text().splitlines() if "AF_INET" in line]


def test_inference_asks_no_network(home: dict[str, str], tmp_path: Path) -> None:
    assert internet([sys.executable, "-c", USE], tmp_path / "calls", env=home) == []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_demo_asks_no_network_and_leaves_in_the_home_what_is_documented(
    home: dict[str, str], tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "inferkit.cli.main", "run", "quickstart", "--out", str(tmp_path / "out")]
    assert internet(command, tmp_path / "calls", env=home, cwd=tmp_path) == []
    places = {name: [path for path in (tmp_path / name).rglob("*") if path.is_file()] for name in ("home", "tmp")}
    known = [tmp_path / "home" / name for name in DOCUMENTED]
    assert places["home"]
    assert [path for path in places["home"] if not any(path.is_relative_to(each) for each in known)] == []
    assert places["tmp"] == []
