"""Records of a notebook, packed and whole again; and as notebooks of schema 3 have them."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferkit.errors import RecordError
from inferkit.records.figures import Json, Series
from inferkit.records.host import Host
from inferkit.records.notebooks import change_records, load_runs, read_notebook
from inferkit.records.packed import MOST_TEXT, pack, unpack
from inferkit.records.run import MIME, Run
from tests.report.conftest import notebook_of

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.sampled_from([0, 100, 1200, -70, 10**30])
    | st.floats(0, 1e11)
    | st.text(max_size=3)
)
objects = st.dictionaries(st.sampled_from("abc"), scalars | st.lists(scalars, max_size=2), max_size=3)
gpus = st.dictionaries(st.sampled_from("0123"), st.fixed_dictionaries({"x": scalars, "y": scalars}) | objects)
series = st.dictionaries(
    st.sampled_from(["images_per_s", "gpu0_busy", "gpu1_busy", "gpu10_power_w", "gpu2_busy"]), objects
)
records = st.fixed_dictionaries(
    {"schema": st.just(2), "id": st.sampled_from("pqrstu")},
    optional={
        "host": objects,
        "params": objects,
        "facts": st.fixed_dictionaries({}, optional={"gpus": gpus | scalars, "cpus": objects}) | scalars,
        "series": series | scalars,
        "measure": st.sampled_from(["read", "copy"]),
        "repeats": st.lists(objects, max_size=3) | scalars,
    },
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["of", "same", "each", "zeros", "p"]), inner)
    ),
)
anything = values | st.fixed_dictionaries(
    {"schema": st.sampled_from([2, 3, 4]), "id": st.sampled_from("pqr") | values},
    optional={
        "like": st.sampled_from("pqr") | values,
        "text": st.sampled_from(["{}", '{"p":{"p":1}}', '{"repeats":{"p":[1]}}', "[", "1", "[" * 999]) | values,
        "without": st.lists(st.lists(st.sampled_from("pq"), max_size=3) | values, max_size=2) | values,
        "repeats": values,
        "host": values,
        "params": values,
        "facts": st.fixed_dictionaries({"gpus": values}) | values,
        "series": st.dictionaries(st.sampled_from(["gpu*_busy", "x"]), values) | values,
    },
)


def run(facts: Json = None, **series: Series) -> Run:
    told = {"notebook": "03b", "measure": "read", "verdict": "INVALID", "reasons": ["x"], "params": {"seed": 1}}
    return Run.model_validate({**told, "host": Host(cpu="a CPU"), "facts": facts or {}, "series": series})


def holding(*told: Json) -> dict[str, Any]:
    """Return a notebook's content with such records."""
    shown = [{"output_type": "display_data", "metadata": {}, "data": {MIME: record}} for record in told]
    return {"cells": [{"cell_type": "code", "outputs": shown}], "metadata": {}, "nbformat": 4, "nbformat_minor": 4}


def text(told: Json) -> str:
    return json.dumps(told, sort_keys=True)


@given(st.lists(records, max_size=6))
def test_what_is_packed_is_the_same_again(told: list[Json]) -> None:
    packed = json.loads(json.dumps(pack(told)))
    assert text(unpack(packed)) == text(told)
    assert text(pack(packed)) == text(packed)


@given(st.lists(anything, max_size=4))
def test_no_record_of_a_stranger_breaks_it(told: list[Json]) -> None:
    assert len(unpack(told)) == len(pack(told)) == len(told)


FIRST = {
    "schema": 3,
    "id": "one",
    "notebook": "03b",
    "measure": "read",
    "verdict": "INVALID",
    "reasons": ["x"],
    "host": {"cpu": "a CPU"},
    "params": {"seed": 1},
    "unverified": ["pages"],
}
SECOND = FIRST | {
    "id": "two",
    "host": "one",
    "params": "one",
    "unverified": "one",
    "facts": {"gpus": {"of": "0 1", "same": {"others": []}, "each": {"hz": [198, 199]}, "zeros": {"hz": 7}}},
    "series": {"gpu*_busy": {"of": "0 1", "same": {"unit": "share"}, "each": {"values": [[0], [1]]}, "zeros": {}}},
}
"""Two records as a notebook of schema 3 has them."""


def test_a_notebook_of_schema_3_is_read(tmp_path: Path) -> None:
    path = tmp_path / "packed.ipynb"
    path.write_text(json.dumps(holding(FIRST, SECOND)))
    first, second = read_notebook(path)
    assert (second.host, second.params, second.unverified) == (first.host, first.params, first.unverified)
    assert second.facts["gpus"]["1"] == {"others": [], "hz": 1_990_000_000}
    assert second.series["gpu1_busy"].values == [1]


def test_a_record_of_schema_3_that_was_torn_from_its_notebook_says_so(tmp_path: Path) -> None:
    path = tmp_path / "packed.ipynb"
    path.write_text(json.dumps(holding(SECOND)))
    with pytest.raises(RecordError, match="another one of its notebook has the same"):
        load_runs(path)


def test_a_record_tells_only_what_is_not_the_same_and_gpus_are_tables() -> None:
    facts = {
        "gpus": {
            str(k): {"others": [], "power_w_median": 300.0 + k, "clock_hz_median": 1.98e9 + k * 1e7} for k in range(8)
        }
    }
    busy = {f"gpu{k}_busy": Series(unit="share", values=[0.5, k / 8]) for k in range(8)}
    runs = [run(facts, **busy), run(facts)]
    first, second = pack(run.to_dict() for run in runs)
    assert set(second) == {"schema", "id", "like", "text", "without"}
    assert (second["like"], json.loads(second["text"])) == (runs[0].id, {"id": runs[1].id, "series": {}})
    assert second["without"] == [["series", "gpu*_busy"]]
    whole = json.loads(first["text"])
    assert whole["facts"]["gpus"] == {
        "of": "0 1 2 3 4 5 6 7",
        "same": {"others": []},
        "each": {"power_w_median": [300 + k for k in range(8)], "clock_hz_median": [198 + k for k in range(8)]},
        "zeros": {"clock_hz_median": 7},
    }
    values = [[0.5, k / 8 or 0] for k in range(8)]
    assert text(whole["series"]) == text(
        {"gpu*_busy": {"of": "0 1 2 3 4 5 6 7", "same": {"unit": "share"}, "each": {"values": values}, "zeros": {}}}
    )
    assert [Run.from_dict(record) for record in unpack([first, second])] == [Run.from_dict(r.to_dict()) for r in runs]


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """Write a notebook whose two records are packed."""
    content = notebook_of((run(), run()))
    change_records(content, pack)
    path = tmp_path / "packed.ipynb"
    path.write_text(json.dumps(content))
    return path, content


def test_a_packed_notebook_is_read_as_any_other(written: tuple[Path, dict[str, Any]]) -> None:
    path, _ = written
    assert '"schema": 4' in path.read_text()
    first, second = read_notebook(path)
    assert (first.host, first.params) == (second.host, second.params)
    assert len(load_runs(path)) == 2


def test_a_record_that_was_torn_from_its_notebook_says_so(written: tuple[Path, dict[str, Any]]) -> None:
    path, content = written
    del content["cells"][1]
    path.write_text(json.dumps(content))
    with pytest.raises(RecordError, match="another one of its notebook has the same machine or parameters"):
        load_runs(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 50_000, '{"a":' * 200 + "1" + "}" * 200, None])
def test_a_packed_record_whose_text_was_edited_is_named(tmp_path: Path, text: Json) -> None:
    path = tmp_path / "packed.ipynb"
    path.write_text(json.dumps(holding(run().to_dict(), {"schema": 4, "id": "edited", "text": text})))
    told: list[str] = []
    assert len(read_notebook(path, told.append)) == 1
    assert "record 'edited'" in told[0]
    assert "this one was edited" in told[0]


def test_a_few_bytes_do_not_stand_for_gigabytes() -> None:
    """A notebook of strangers may refer to one large record thousands of times."""
    told = json.dumps({"facts": {"x": "x" * 1_000_000}})
    large = {"schema": 4, "id": "large", "text": told}
    same = [{"schema": 4, "id": f"{k}", "like": "large", "text": "{}"} for k in range(100)]
    whole = [record for record in unpack([large, *same]) if "facts" in record]
    assert len(whole) == MOST_TEXT // len(told)
