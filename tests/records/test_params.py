"""Parameters: strict, the same everywhere, and the same in the notebooks' cells as in the models."""

from typing import Any

import nbformat
import papermill
import pytest
import yaml

from inferkit.errors import ParameterError
from inferkit.records.groups import Group
from inferkit.records.params import NOTEBOOKS, HostToDevice, MakeDataset, SingleProcess
from inferkit.records.project import project_root, resolve

MODELS = list(NOTEBOOKS.values())
HEADINGS = (
    *("Data", "Reading", "Device", "Copies", "Processes", "Machines", "Networks", "Peers", "How long"),
    *("Measured before", "Object store", "Rarely changed"),
)


def cell_of(model: type[Group]) -> str:
    notebook = nbformat.read(project_root() / "notebooks" / f"{model.file_stem}.ipynb", as_version=4)
    (cell,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    return str(cell.source)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.notebook)
def test_a_notebooks_cell_and_its_model_declare_the_same(model: type[Group]) -> None:
    namespace: dict[str, Any] = {}
    exec(cell_of(model), namespace)
    cell = {name: namespace[name] for name in namespace["__annotations__"]}
    assert cell == {name: field.default for name, field in model.model_fields.items()}
    assert namespace["__annotations__"] == {name: type(value) for name, value in cell.items()}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.notebook)
def test_papermill_explains_every_parameter_of_a_notebook(model: type[Group]) -> None:
    told = papermill.inspect_notebook(str(project_root() / "notebooks" / f"{model.file_stem}.ipynb"))
    assert {name: entry["help"] for name, entry in told.items()} == {
        name: field.description for name, field in model.model_fields.items()
    }


def test_a_cell_is_grouped_in_the_order_in_which_a_person_decides() -> None:
    headings: dict[str, set[str]] = {}
    for model in MODELS:
        order, heading = [], ""
        for line in cell_of(model).splitlines():
            if line.startswith("# "):
                heading = line.removeprefix("# ")
                order.append(heading)
            else:
                headings.setdefault(line.partition(":")[0], set()).add(heading)
        assert order == [known for known in HEADINGS if known in order], model.notebook
    assert {name: found for name, found in headings.items() if len(found) > 1 or not found <= set(HEADINGS)} == {}


def test_a_name_means_the_same_in_every_notebook() -> None:
    for name in {name for model in MODELS for name in model.model_fields}:
        meanings = {
            (str(m.model_fields[name].annotation), repr(m.model_fields[name].default), m.model_fields[name].description)
            for m in MODELS
            if name in m.model_fields
        }
        assert len(meanings) == 1, name


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.notebook)
def test_defaults_are_valid(model: type[Group]) -> None:
    assert model.check({}) == model()


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"batch_size": [1]}, "did you mean 'batch_sizes'"),
        ({"batch_sizes": "128"}, "batch_sizes is '128'"),
        ({"batch_sizes": ["128"]}, "batch_sizes.0 is '128'"),
        ({"batch_sizes": [0]}, "greater than 0"),
        ({"batch_sizes": []}, "at least 1"),
        ({"overlap": 1}, "overlap is 1"),
        ({"threads": [True]}, "threads.0 is True"),
        ({"profile": "fast"}, "'demo', 'quick' or 'mlperf'"),
        ({"peer": "dd"}, "'fio', 'nvbandwidth' or 'trtexec'"),
        ({"device": "tpu"}, "'cpu' or 'cuda'"),
        ({"scale": 0.0}, "greater than or equal to 0.000001"),
        ({"warmup_s": -1.0}, "greater than or equal to 0"),
    ],
)
def test_a_wrong_value_is_refused_with_key_found_and_allowed(values: dict[str, Any], told: str) -> None:
    with pytest.raises(ParameterError, match=r"here\.yaml") as caught:
        SingleProcess.check(values, where="here.yaml")
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("given", "peers"), [("", []), ("fio", ["fio"]), (["fio", "trtexec"], ["fio", "trtexec"]), ([], [])]
)
def test_one_peer_is_as_good_as_a_list_of_them(given: object, peers: list[str]) -> None:
    for model in (HostToDevice, SingleProcess):
        assert model.check({"peer": given}) == model.check({"peer": peers})


def test_every_wrong_value_is_told_at_once() -> None:
    with pytest.raises(ParameterError) as caught:
        SingleProcess.check({"threads": [0], "device": "tpu"})
    assert "threads" in str(caught.value)
    assert "device" in str(caught.value)


def test_papermills_yaml_reads_1e6_as_text_and_the_message_says_so() -> None:
    with pytest.raises(ParameterError, match=r"YAML reads 1e6 as text"):
        HostToDevice.check({"transfer_bytes": [yaml.safe_load("1e6")]})


def test_papermills_p_passes_text_and_the_message_says_so() -> None:
    with pytest.raises(ParameterError, match=r"papermill -p passes text, use -y"):
        SingleProcess.check({"batch_sizes": "[256]"})


def test_a_bare_null_in_yaml_is_the_engine_of_that_name() -> None:
    assert SingleProcess.check(yaml.safe_load("engines: [null, onnx]")).engines == ["null", "onnx"]


def test_whole_numbers_are_good_seconds() -> None:
    assert SingleProcess.check({"warmup_s": 2}).warmup_s == 2.0


def test_collect_takes_what_the_notebook_declares_and_leaves_imports_alone() -> None:
    namespace = {"seed": 7, "In": ["x"], "Out": {}, "_private": 1, "yaml": yaml, "__annotations__": {}}
    assert MakeDataset.collect(namespace).seed == 7


def test_collect_takes_the_keys_of_other_notebooks_from_a_shared_parameter_file() -> None:
    assert HostToDevice.collect({"batch_sizes": [1], "seed": 3, "repeats": 2}).repeats == 2


def test_collect_refuses_a_name_that_no_notebook_declares() -> None:
    with pytest.raises(ParameterError, match="did you mean 'batch_sizes'"):
        SingleProcess.collect({"bacth_sizes": [99]})


def test_relative_paths_resolve_against_the_project(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve("data/x") == project_root() / "data" / "x"
    assert resolve("/data/x").as_posix() == "/data/x"
