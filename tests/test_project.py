"""What holds the project together: its files agree with one another."""

import re
import tomllib
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml

from inferkit.engines import ENGINES, engine_class
from inferkit.records.params import NOTEBOOKS, project_root

ROOT = project_root()
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def name_of(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found is not None
    return found[0].lower().replace("_", "-")


def declared() -> dict[str, str]:
    lists = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    return {name_of(requirement): requirement for requirements in lists for requirement in requirements}


def test_all_that_the_project_is_built_on_is_declared() -> None:
    built_on = {"jupyterlab", "papermill", "ipywidgets", "tensorrt", "pycuda", "numpy", "pandas", "altair"}
    assert built_on <= set(declared())
    assert set(PROJECT["optional-dependencies"]) == {"lab", "demo", "tensorrt", "tensorrt-rtx", "cluster", "dev"}


def test_environment_yml_holds_the_same_as_pyproject() -> None:
    dependencies = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
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
    elsewhere = {
        name_of(r) for extra in ("tensorrt", "tensorrt-rtx", "cluster") for r in PROJECT["optional-dependencies"][extra]
    }
    assert set(declared()) - elsewhere <= pinned


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
    assert all("import " not in cell.source for cell in cells[1:])
    assert set(notebook.metadata) == {"kernelspec", "language_info"}


def test_no_parameter_shadows_an_import() -> None:
    for model in NOTEBOOKS.values():
        notebook = nbformat.read(ROOT / "notebooks" / f"{model.file_stem}.ipynb", as_version=4)
        imports = next(cell.source for cell in notebook.cells if cell.cell_type == "code")
        imported = set(re.findall(r"\b[a-zA-Z_]\w*\b", re.sub(r"from \S+ import", "", imports)))
        assert not imported & set(model.model_fields), model.notebook


def test_every_notebook_has_a_model_and_every_model_a_notebook() -> None:
    assert {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")} == {m.file_stem for m in NOTEBOOKS.values()}


def test_only_one_file_each_imports_pycuda_and_tensorrt() -> None:
    for library, allowed in {
        "pycuda": {"inferkit/devices/cuda.py"},
        "tensorrt": {"inferkit/engines/tensorrt.py"},
    }.items():
        pattern = re.compile(rf"^\s*(import|from) {library}\b", re.MULTILINE)
        found = {
            path.relative_to(ROOT).as_posix()
            for path in (ROOT / "inferkit").rglob("*.py")
            if pattern.search(path.read_text())
        }
        assert found <= allowed, found


def test_every_engine_of_the_cpu_can_be_imported() -> None:
    assert {engine_class(name).name for name in ENGINES if name != "tensorrt"} == set(ENGINES) - {"tensorrt"}


@pytest.mark.parametrize(
    "path", sorted((ROOT / "inferkit").rglob("*.py")), ids=lambda p: p.relative_to(ROOT).as_posix()
)
def test_a_module_stays_small(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 320
