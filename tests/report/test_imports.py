import subprocess
import sys
from pathlib import Path

from tests.report.conftest import MakeRun, WriteNotebook

SCRIPT = """
import importlib, pkgutil, sys
BLOCKED = {"pycuda", "tensorrt", "tensorrt_rtx", "cuda", "onnxruntime", "simplejpeg", "cv2", "pynvml", "spox"}
ROOMS = ("pipeline", "readers", "devices", "engines", "models", "probes", "dataset")
READ_ONLY = {f"inferkit.dataset{name}" for name in ("", ".format", ".manifest", ".tensors")}  # for the contact sheet

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocker())
import inferkit.report
names = [module.name for module in pkgutil.iter_modules(inferkit.report.__path__, "inferkit.report.")]
for name in names:
    importlib.import_module(name)
frame = sys.modules["inferkit.report.store"].load(sys.argv[1])
print(sys.modules["inferkit.report.compare"].text(sys.modules["inferkit.report.compare"].compare(frame)))
walls = {name for name in sys.modules if name.startswith(tuple(f"inferkit.{room}" for room in ROOMS))}
assert walls <= READ_ONLY, walls
assert len(names) > 10, names
"""

RECORD_ONLY = """
import sys
import inferkit.report.record
heavy = {"altair", "pandas", "IPython", "nbconvert", "vl_convert"} & set(sys.modules)
assert not heavy, heavy
"""


def run(script: str, *arguments: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_reading_wing_opens_without_the_measuring_one(make_run: MakeRun, write_notebook: WriteNotebook) -> None:
    assert "resnet18" in run(SCRIPT, write_notebook(make_run()))


def test_showing_a_record_loads_neither_tables_nor_charts() -> None:
    run(RECORD_ONLY)
