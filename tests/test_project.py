"""What holds the project together: its files agree with one another."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml
from packaging.specifiers import SpecifierSet

from inferkit.engines import ENGINES, engine_class
from inferkit.records.params import NOTEBOOKS
from inferkit.records.project import project_root

ROOT = project_root()
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def name_of(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found is not None
    return found[0].lower().replace("_", "-")


def declared() -> dict[str, str]:
    lists = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    found = {name_of(requirement): requirement for requirements in lists for requirement in requirements}
    return {name: requirement for name, requirement in found.items() if name != "inferkit"}


def test_all_that_the_project_is_built_on_is_declared() -> None:
    built_on = {"jupyterlab", "papermill", "ipywidgets", "tensorrt", "pycuda", "numpy", "pandas", "altair"}
    assert built_on <= set(declared())
    extras = {"measure", "lab", "demo", "tensorrt", "tensorrt-rtx", "s3", "nvjpeg", "gds", "cluster", "dev"}
    assert set(PROJECT["optional-dependencies"]) == extras


CONDA = re.compile(r"^(playwright)-python\b")
"""conda-forge's `playwright` is the one for Node."""


def test_environment_yml_holds_the_same_as_pyproject() -> None:
    dependencies = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    dependencies = [CONDA.sub(r"\1", entry) if isinstance(entry, str) else entry for entry in dependencies]
    (from_pip,) = [entry["pip"] for entry in dependencies if isinstance(entry, dict)]
    entries = [entry for entry in [*dependencies, *from_pip] if isinstance(entry, str) and entry != "-e ."]
    names = {name_of(entry) for entry in entries} - {"python", "pip", "numactl"}
    assert names == set(declared()) - {"tensorrt-rtx"}
    wanted = {name: entry.partition(";")[0].strip() for name, entry in declared().items()}
    for entry in entries:  # conda spells ml_dtypes with an underscore
        if name_of(entry) in names:
            assert entry.replace("_", "-") == wanted[name_of(entry)].replace("_", "-")


def test_constraints_pin_every_dependency_exactly_and_name_no_address() -> None:
    lines = (ROOT / "constraints.txt").read_text().split()
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+]+", line) for line in lines)
    pinned = {name_of(line) for line in lines}
    elsewhere = {name_of(r) for extra in ("tensorrt", "tensorrt-rtx") for r in PROJECT["optional-dependencies"][extra]}
    assert set(declared()) - elsewhere <= pinned


def test_what_is_pinned_runs_on_the_oldest_python_that_is_promised() -> None:
    """Debian 12 has Python 3.11.2; what is installed here otherwise than it is pinned says nothing."""
    pinned = set((ROOT / "constraints.txt").read_text().split())
    told = {
        f"{name_of(d.name)}=={d.version}": "".join(d.metadata.get_all("Requires-Python") or []) for d in distributions()
    }
    refusing = [pin for pin, versions in told.items() if pin in pinned and "3.11.2" not in SpecifierSet(versions)]
    assert refusing == []


@pytest.mark.parametrize("model", NOTEBOOKS.values(), ids=lambda model: model.notebook)
def test_a_template_notebook_is_short_stripped_and_free_of_logic(model: Any) -> None:
    notebook = nbformat.read(ROOT / "notebooks" / f"{model.file_stem}.ipynb", as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for cell in cells:
        assert not cell.outputs
        assert cell.execution_count is None
        if "parameters" not in cell.metadata.get("tags", []):
            assert len(cell.source.splitlines()) <= 15
        assert not re.search(r"^\s*(def|class|for|while|if|try|!|%)", cell.source, re.MULTILINE)
    params = next(k for k, cell in enumerate(cells) if "parameters" in cell.metadata.get("tags", []))
    assert all("import " not in cell.source for cell in cells[params:])
    assert set(notebook.metadata) == {"kernelspec", "language_info"}


@pytest.mark.parametrize("model", [model for model in NOTEBOOKS.values() if model.notebook[0].isdigit()])
def test_a_notebook_that_measures_has_its_answer_first_and_its_code_folded_away(model: Any) -> None:
    notebook = nbformat.read(ROOT / "notebooks" / f"{model.file_stem}.ipynb", as_version=4)
    title, answer, *_ = notebook.cells
    assert title.cell_type == "markdown"
    assert title.source.startswith(f"# {model.notebook} · ")
    assert answer.source == "from inferkit.report.answer import Answer\n\nanswer = Answer()"
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.metadata["jupyter"]["source_hidden"] for cell in code)
    assert sum("parameters" in cell.metadata.get("tags", []) for cell in code) == 1
    assert sum("answer.show_all(" in cell.source for cell in code) == 1
    assert [cell.source for cell in code[-3:]] == ["conclude(runs)", "about(runs)", "raise_for_failures(runs)"]


def test_no_parameter_shadows_an_import() -> None:
    for model in NOTEBOOKS.values():
        notebook = nbformat.read(ROOT / "notebooks" / f"{model.file_stem}.ipynb", as_version=4)
        imports = "\n".join(cell.source for cell in notebook.cells if "import " in cell.source)
        imported = set(re.findall(r"\b[a-zA-Z_]\w*\b", re.sub(r"from \S+ import", "", imports)))
        assert not imported & set(model.model_fields), model.notebook


def test_every_notebook_has_a_model_and_every_model_a_notebook() -> None:
    asking = {"start"}  # the cockpit, which has none of its own
    stems = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert stems - asking == {m.file_stem for m in NOTEBOOKS.values()}


def guarded(modules: list[str], code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process that cannot import some modules."""
    guard = f"""
import sys
class Guard:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {modules!r}:
            raise ModuleNotFoundError(f"{{name}} is blocked", name=name)
for name in {modules!r}:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Guard())
{code}
"""
    return subprocess.run([sys.executable, "-W", "error", "-c", guard], capture_output=True, text=True, check=False)


def blocked(modules: list[str], code: str) -> None:
    """Run code in a process that cannot import some modules; it must succeed."""
    done = guarded(modules, code)
    assert done.returncode == 0, done.stderr


UNCLEAR = "?"
"""Stands for an import whose name is no text in the source."""

ONLY_THERE = {
    "pycuda": {"devices/contexts.py", "devices/cuda.py", "machine/doctor.py"},
    "cuda": {
        "devices/contexts.py",
        "devices/cuda.py",
        "devices/cuda_errors.py",
        "devices/graphs.py",
        "devices/nvjpeg.py",
        "devices/nvjpeg_batch.py",
        "devices/pinned.py",
        "devices/resize.py",
    },
    "kvikio": {"readers/gds.py"},
    "tensorrt": {"engines/tensorrt_library.py"},
    "tensorrt_rtx": {"engines/tensorrt_library.py"},
    "pynvml": {"machine/nvml.py"},
    UNCLEAR: {"engines/tensorrt_library.py", "engines/__init__.py"},
}
"""The files that import each of NVIDIA's libraries, and those that could hide an import."""


def imported(source: str) -> set[str]:
    """Return the top packages that a source imports, by statement or by a call, wherever it does."""
    return {name.partition(".")[0] for node in ast.walk(ast.parse(source)) for name in _imported_by(node)}


def _imported_by(node: ast.AST) -> list[str]:
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module="importlib" | "builtins", names=names) if any(alias.asname for alias in names):
            return [UNCLEAR]
        case ast.ImportFrom(module=str(module), level=0):
            return [module]
        case ast.Call(func=ast.Name(id="import_module" | "__import__") | ast.Attribute(attr="import_module")):
            return _texts(node.args[0]) if node.args and isinstance(node.args[0], ast.Constant) else [UNCLEAR]
        case ast.FunctionDef() if any(UNCLEAR in _imported_by(inside) for inside in ast.walk(node) if inside != node):
            return _texts(node)  # one of these
    return []


def _texts(node: ast.AST) -> list[str]:
    constants = (each.value for each in ast.walk(node) if isinstance(each, ast.Constant))
    return [value for value in constants if isinstance(value, str)]


def test_nvidias_libraries_are_imported_where_that_is_said_and_nowhere_else() -> None:
    package = ROOT / "inferkit"
    found = {path.relative_to(package).as_posix(): imported(path.read_text()) for path in package.rglob("*.py")}
    assert {
        library: {file for file, names in found.items() if library in names} for library in ONLY_THERE
    } == ONLY_THERE


@pytest.mark.parametrize("library", [library for library in ONLY_THERE if library != UNCLEAR])
@pytest.mark.parametrize(
    "planted",
    [
        "import {0}",
        "import os, {0}.driver as drv",
        "from {0} import driver",
        "from {0}.driver import Context",
        "def late():\n    import {0}",
        "try:\n    from {0} import driver\nexcept ImportError:\n    pass",
        "if TYPE_CHECKING:\n    import {0}",
        "import importlib\nimportlib.import_module('{0}.driver')",
        "from importlib import import_module\nclass A:\n    b = import_module('{0}')",
        "__import__('{0}')",
        "def load():\n    for name in ('{0}', 'other'):\n        return import_module(name)",
    ],
)
def test_a_planted_import_is_seen(planted: str, library: str) -> None:
    assert library in imported(planted.format(library))


@pytest.mark.parametrize(
    "planted",
    [
        "NAMES = ('pycuda',)\nfor name in NAMES:\n    import_module(name)",
        "__import__('py' + 'cuda')",
        "importlib.import_module(name=NAME)",
        "from importlib import import_module as load\nload('pycuda')",
    ],
)
def test_an_import_that_could_hide_a_library_is_seen(planted: str) -> None:
    assert UNCLEAR in imported(planted)


@pytest.mark.parametrize(
    "source",
    [
        "find_spec('pycuda')",
        "x = 'pycuda'",
        "from inferkit.devices import cuda",
        "from . import pynvml",
        "import cudax",
    ],
)
def test_what_only_looks_like_an_import_of_them_is_not_counted(source: str) -> None:
    assert not imported(source) & set(ONLY_THERE)


MEASURING = {
    {"opencv-python-headless": "cv2", "nvidia-ml-py": "pynvml"}.get(name, name.replace("-", "_"))
    for name in map(name_of, PROJECT["optional-dependencies"]["measure"])
}
"""The modules that the extra ``measure`` brings."""


@pytest.mark.parametrize(
    "command",
    ["show {0}/03b_single_process.ipynb", "compare {0}", "runs {0}"]
    + [f"export {{0}}/03b_single_process.ipynb --to {form} --out {{1}}/out" for form in ("html", "csv", "json")]
    + ["export {0}/03b_single_process.ipynb --to ipynb --anonymize --out {1}/out"],
)
def test_the_base_install_reads_notebooks_even_where_there_is_no_linux(command: str, tmp_path: Path) -> None:
    arguments = command.format(ROOT / "tests/fixtures/schema_1", tmp_path).split()
    known = "import sysconfig; sysconfig.get_config_vars()"  # of the platform that this Python was built for
    no_linux = f"{known}; sys.platform = 'freebsd14'; sys.modules['inferkit.linux'] = None"
    call = f"from inferkit.cli.main import main; main({arguments!r}, standalone_mode=False)"
    blocked([*MEASURING, "pwd", "fcntl", "resource"], f"{no_linux}\n{call}")


@pytest.mark.parametrize(
    ("command", "missing"), [("run quickstart", "cv2"), ("models", "onnx"), ("dataset make demo {0}", "cv2")]
)
def test_without_the_extra_a_command_that_measures_names_it(command: str, missing: str, tmp_path: Path) -> None:
    arguments = command.format(tmp_path / "set").split()
    code = f"from inferkit.cli.main import main; main({arguments!r}, prog_name='inferkit')"
    done = guarded([*MEASURING], code)
    words = command.removesuffix(" demo {0}").removesuffix(" quickstart")
    told = f"`inferkit {words}` needs {missing}, which is not here: pip install 'inferkit[measure]'"
    assert (done.returncode, done.stderr) == (2, f"inferkit: {told}\n")


def test_every_engine_of_the_cpu_can_be_imported() -> None:
    assert {engine_class(name).name for name in ENGINES if name != "tensorrt"} == set(ENGINES) - {"tensorrt"}


@pytest.mark.parametrize("folder", ["inferkit", "tests", "benchmarks"])
def test_a_function_fits_on_a_screen(folder: str) -> None:
    """A module may be as long as its subject."""
    long = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (node.end_lineno or 0) - node.lineno >= 60
    ]
    assert not long
