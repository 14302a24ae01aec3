"""What was asked for, as a file: what goes in comes out, through the form and through `inferkit run`'s reader."""

from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from inferkit.cli.configure import planned
from inferkit.cli.parameter_files import configurations, read
from inferkit.cockpit.form import Form
from inferkit.cockpit.parameter_file import as_yaml, save
from inferkit.cockpit.questions import Question, questions
from inferkit.errors import ParameterError
from inferkit.records.faults import faults
from inferkit.records.params import MEASURING

WORD = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=8)
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Zl", "Zp"]), min_size=1, max_size=40).filter(
    lambda text: text.strip()
)
COUNT = st.integers(1, 128)
RULES = st.lists(st.dictionaries(st.sampled_from(["when", "set", "skip"]), st.booleans(), min_size=1), min_size=1)


def answer(asked: Question) -> st.SearchStrategy[Any]:
    """Return values that may be given to a question."""
    if asked.kind in {"choice", "several"}:
        one = st.sampled_from(asked.options)
        return one if asked.kind == "choice" else st.lists(one, min_size=1, unique=True)
    if asked.kind == "rules":
        return RULES
    if asked.name in {"gpu_counts", "ranks"}:
        return st.just("auto") | st.lists(COUNT, min_size=1)
    of_types = {str: TEXT, int: COUNT, float: st.floats(1e-6, 6e5)}
    if asked.name == "s3_endpoint":
        return st.sampled_from(["http://10.0.0.7:9000", "https://s3.example.org"])
    if asked.name == "storage":
        return WORD.filter(lambda word: not set(word) & set("/\\") and word not in {".", ".."})
    if not isinstance(asked.default, list):
        return of_types[type(asked.default)]
    if asked.name == "shape":
        return st.lists(COUNT, min_size=1, max_size=4)
    if asked.name in {"mean", "std"}:
        return st.lists(of_types[float], min_size=1)
    return st.lists(TEXT if asked.name in {"models", "placement"} else COUNT, min_size=1)


ANSWERS = st.fixed_dictionaries({}, optional={name: answer(asked) for name, asked in questions().items()})
FORM = Form(lambda: None)


@given(ANSWERS)
def test_what_is_filled_in_is_what_the_file_says(values: dict[str, Any]) -> None:
    FORM.fill(values)
    answers, wrong = FORM.answers()
    assert wrong == {}
    assert answers == values
    assert list(map(type, answers.values())) == [type(values[name]) for name in answers]
    assert yaml.safe_load(as_yaml(answers)) == (values or None)
    assert faults(values, MEASURING.values()) == {}


@pytest.mark.parametrize("name", sorted(configurations()))
def test_the_projects_files_go_through_the_form_unchanged(name: str, tmp_path: Path) -> None:
    values = read(configurations()[name])
    FORM.fill(values)
    path = tmp_path / "again.yaml"
    path.write_text(as_yaml(FORM.answers()[0]))
    assert read(path) == values


def test_what_is_saved_is_listed_and_may_be_written_over_and_nothing_else_may(tmp_path: Path) -> None:
    for folder in ("parameters", "notebooks"):
        (tmp_path / folder).mkdir()
    theirs = tmp_path / "parameters" / "theirs.yaml"
    theirs.write_text("# by hand\nstorage: theirs\n")
    with mock.patch("inferkit.cockpit.parameter_file.project_root", return_value=tmp_path):
        path = save({"storage": "mine", "threads": [1]}, "mine")
        assert path == save({"storage": "mine", "threads": [2]}, "mine.yaml") == tmp_path / "parameters" / "mine.yaml"
        assert read(path) == {"storage": "mine", "threads": [2]}
        for name in ("theirs.yaml", "theirs", "", ".", "..", "a/b", "../up", "\0"):
            with pytest.raises(ParameterError):
                save({"storage": "mine"}, name)
    assert sorted(file.name for file in (tmp_path / "parameters").iterdir()) == ["mine.yaml", "theirs.yaml"]
    assert theirs.read_text().startswith("# by hand")


def test_a_folder_that_cannot_be_written_to_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "parameters").touch()
    with (
        mock.patch("inferkit.cockpit.parameter_file.project_root", return_value=tmp_path),
        pytest.raises(ParameterError, match=r"mine\.yaml cannot be written: File exists"),
    ):
        save({"storage": "mine"}, "mine")


def test_a_long_list_is_read_back_whole(tmp_path: Path) -> None:
    values = {"storage": "x", "batch_sizes": list(range(1, 400))}
    assert yaml.safe_load(as_yaml(values)) == values
    assert planned(values, Path("form"), tmp_path, only=["01"]).notebooks
