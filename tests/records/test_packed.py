"""Records of a notebook, packed and whole again."""

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
from inferkit.records.packed import pack, unpack
from inferkit.records.run import Run
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
    },
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["of", "same", "each", "zeros", "p"]), inner)
    ),
)
anything = values | st.fixed_dictionaries(
    {"schema": st.sampled_from([2, 3]), "id": st.sampled_from("pqr") | values},
    optional={
        "host": values,
        "params": values,
        "facts": st.fixed_dictionaries({"gpus": values}) | values,
        "series": st.dictionaries(st.sampled_from(["gpu*_busy", "x"]), values) | values,
    },
)


def run(facts: Json = None, **series: Series) -> Run:
    told = {"notebook": "03b", "measure": "read", "verdict": "INVALID", "reasons": ["x"], "params": {"seed": 1}}
    return Run.model_validate({**told, "host": Host(cpu="a CPU"), "facts": facts or {}, "series": series})


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


def test_machine_and_parameters_stand_once_and_gpus_are_tables() -> None:
    facts = {
        "gpus": {
            str(k): {"others": [], "power_w_median": 300.0 + k, "clock_hz_median": 1.98e9 + k * 1e7} for k in range(8)
        }
    }
    busy = {f"gpu{k}_busy": Series(unit="share", values=[0.5, k / 8]) for k in range(8)}
    runs = [run(facts, **busy) for _ in range(2)]
    first, second = pack(run.to_dict() for run in runs)
    assert (second["host"], second["params"], second["unverified"]) == (runs[0].id,) * 3
    assert first["facts"]["gpus"] == {
        "of": "0 1 2 3 4 5 6 7",
        "same": {"others": []},
        "each": {"power_w_median": [300 + k for k in range(8)], "clock_hz_median": [198 + k for k in range(8)]},
        "zeros": {"clock_hz_median": 7},
    }
    values = [[0.5, k / 8 or 0] for k in range(8)]
    assert text(first["series"]) == text(
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
    assert '"schema": 3' in path.read_text()
    first, second = read_notebook(path)
    assert (first.host, first.params) == (second.host, second.params)
    assert len(load_runs(path)) == 2


def test_a_record_that_was_torn_from_its_notebook_says_so(written: tuple[Path, dict[str, Any]]) -> None:
    path, content = written
    del content["cells"][1]
    path.write_text(json.dumps(content))
    with pytest.raises(RecordError, match="another one of its notebook has the same machine or parameters"):
        load_runs(path)
