"""What opening a door imports, and where records and their report open: seen in a process of its own, never timed."""

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from inferkit.records.project import project_root

NOTEBOOK = project_root() / "tests" / "fixtures" / "schema_1" / "03b_single_process.ipynb"
UNIX_ONLY = ("pwd", "grp", "fcntl", "resource", "termios")
FRAMES_AND_CHARTS = ("pandas", "altair", "IPython", "nbconvert", "nbformat", "papermill", "vl_convert", "PIL")
TERMINAL_AND_MACHINE = ("ipywidgets", "tqdm", "psutil", "pynvml", "yaml")
MEASURING = ("pycuda", "cuda", "tensorrt", "tensorrt_rtx", "onnx", "onnxruntime", "simplejpeg", "cv2", "spox", "pynvml")
HEAVY = {*FRAMES_AND_CHARTS, *TERMINAL_AND_MACHINE, *MEASURING, "numpy"}

DOOR = """
import sys
from inferkit.cli.main import main
main(standalone_mode=False)
print(*sys.modules, file=sys.stderr)
"""

EVERY_MODULE = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
names = [module.name for module in pkgutil.walk_packages(package.__path__, f"{sys.argv[1]}.")]
for name in names:
    importlib.import_module(name)
assert len(names) > 4, names
print(*sys.modules)
"""


def python(code: str, *words: object, blocked: Iterable[str] = ()) -> subprocess.CompletedProcess[str]:
    """Run code in a process that cannot import some modules."""
    guard = f"import sys\nsys.modules.update(dict.fromkeys({tuple(blocked)!r}))\n"
    command = [sys.executable, "-W", "error", "-c", guard + code, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


def imported_by(*words: object) -> set[str]:
    """Return the top-level modules that a command has imported when it is done."""
    return {name.partition(".")[0] for name in python(DOOR, *words).stderr.split()}


@pytest.mark.parametrize(
    "words",
    [("--help",), ("show", NOTEBOOK), ("show", NOTEBOOK, "--json"), ("runs", NOTEBOOK.parent)],
    ids=["help", "show", "json", "runs"],
)
def test_help_show_and_runs_import_nothing_heavy(words: tuple[object, ...]) -> None:
    assert not imported_by(*words) & HEAVY


def test_compare_needs_numbers_and_no_data_frame_or_chart() -> None:
    assert not imported_by("compare", NOTEBOOK) & (HEAVY - {"numpy"})


def test_help_needs_no_model_of_records_either() -> None:
    assert not imported_by("--help") & {"pydantic", "json"}


def test_models_imports_what_builds_networks_and_nothing_that_reports_or_runs_them() -> None:
    assert not imported_by("models") & (HEAVY - {"numpy", "onnx", "spox"})


def test_data_sets_are_made_verified_and_staged_without_what_infers(tmp_path: Path) -> None:
    infers = {"onnx", "onnxruntime", "spox", "tensorrt", "tensorrt_rtx", "pycuda", "cuda", "pandas", "altair"}
    folder = tmp_path / "set"
    for words in (("make", "", folder, "--limit", 3, "--size", 8), ("verify", folder), ("info", folder)):
        assert not imported_by("dataset", *words) & infers


def test_records_exported_as_json_import_no_data_frame(tmp_path: Path) -> None:
    assert not imported_by("export", NOTEBOOK, "--to", "json", "--out", tmp_path / "records.json") & HEAVY


def test_records_open_where_there_is_neither_unix_nor_any_of_our_libraries() -> None:
    python(EVERY_MODULE, "inferkit.records", blocked={*UNIX_ONLY, *HEAVY})
    reading = "from pathlib import Path; from inferkit.records.notebooks import read_notebook"
    done = python(f"{reading}; print(len(read_notebook(Path(sys.argv[1]))))", NOTEBOOK, blocked={*UNIX_ONLY, *HEAVY})
    assert done.stdout == "5\n"


def test_the_report_opens_on_a_laptop_and_meets_no_measuring_room() -> None:
    done = python(EVERY_MODULE, "inferkit.report", blocked={*UNIX_ONLY, "psutil", *MEASURING})
    rooms = ("pipeline", "readers", "devices", "engines", "models", "measure", "cluster", "ranks", "plan")
    met = {name for name in done.stdout.split() if name.startswith(tuple(f"inferkit.{room}" for room in rooms))}
    assert not met


def test_charts_of_runs_need_no_data_frame() -> None:
    python("import inferkit.report.charts, inferkit.report.scaling, inferkit.report.conclusion", blocked=["pandas"])


def test_only_who_measures_on_several_machines_needs_dask() -> None:
    python("import inferkit.cluster.workers, inferkit.measure.measure", blocked=["dask", "distributed"])
    assert not imported_by("run", "--help") & {"dask", "distributed"}
    assert not imported_by("show", NOTEBOOK) & {"dask", "distributed"}


def test_measuring_needs_nothing_that_reports() -> None:
    rooms = "import inferkit.measure.measure, inferkit.ranks.rank, inferkit.engines.onnx, inferkit.dataset.record"
    python(rooms, blocked=[*FRAMES_AND_CHARTS[:4], "papermill", "vl_convert", "ipywidgets", "click"])
    python("import inferkit.measure.progress", blocked=["tqdm", *FRAMES_AND_CHARTS])


def test_a_users_network_is_adapted_without_what_builds_ours() -> None:
    python("import inferkit.models.apart", blocked=["spox"])


def test_a_rank_starts_without_the_models_of_parameters() -> None:
    python("import inferkit.ranks.rank", blocked=["inferkit.records.params"])
