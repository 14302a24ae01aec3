"""A record that contradicts itself, because its figure was edited by hand, is refused where it is read."""

from pathlib import Path
from typing import Any

import pytest

from inferkit.errors import RecordError
from inferkit.records.consistent import PREDICTING
from inferkit.records.figures import Figure, Repeat, Stage
from inferkit.records.host import Host
from inferkit.records.notebooks import raw_records
from inferkit.records.run import CEILINGS, Run

SCHEMA_1 = Path(__file__).parents[1] / "fixtures/schema_1"
Data = dict[str, Any]


def windows(*images: int, seconds: float = 30.0) -> list[Repeat]:
    """Return windows of images of 100 bytes, the first of which is the warm-up."""
    return [
        Repeat(start_s=k * seconds, seconds=seconds, images=own, nbytes=own * 100, batches=1, warmup=k == 0)
        for k, own in enumerate(images)
    ]


def record(**changes: Any) -> Data:
    """Return the JSON of a pipeline that reached 10 images/s of the 12 that its ceilings allow."""
    about: Data = {
        "notebook": "03b",
        "measure": "pipeline",
        "profile": "quick",
        "host": Host(),
        "params": {"profile": "quick"},
        "repeats": windows(90, 290, 310, 300),
        "measured": Figure(images_per_s=10.0, bytes_per_s=1000.0, half_width=0.02),
        "predicted": Figure(images_per_s=12.0),
        "ceilings": {"read": Figure(images_per_s=12.0), "infer": Figure(images_per_s=40.0)},
        "facts": {"processes": [290 / 30, 310 / 30, 300 / 30]},
        "verdict": "VALID",
    }
    return Run.model_validate(about | changes).to_dict()


def group(rates: list[float], overlap: float, **changes: Any) -> Data:
    facts = {"ranks": [{"rank": k, "rate": rate} for k, rate in enumerate(rates)], "group": {"overlap": overlap}}
    return record(facts=facts, **changes)


def copies(**changes: Any) -> Data:
    """Return the JSON of bare copies, between which as much time passed as they took."""
    own: Data = {"notebook": "02", "measure": "copy", "ceilings": {}, "predicted": None, "facts": {"processes": [1.0]}}
    own |= {"measured": Figure(bytes_per_s=2000.0), "stages": {"copy": Stage(bytes_per_s=2000.0, busy=0.5)}}
    return record(**own | changes)


def edited(data: Data, path: str, value: object) -> Data:
    """Return JSON with one thing altered."""
    *way, last = path.split(".")
    inner = data
    for name in way:
        inner = inner[name]
    inner[last] = value
    return data


@pytest.mark.parametrize(
    "data",
    [
        record(),
        copies(),
        record(facts={}),
        record(measured=Figure(images_per_s=10.0001, half_width=0.02)),
        group([4.0, 6.0], 1.0),
        group([4.0, 6.0], 0.95, repeats=windows(90, 280, 300, 290)),
        group([4.0, 6.0], 0.0, repeats=windows(90, 1, 1, 1), verdict="INVALID", reasons=["no windows in common"]),
        record(ceilings={"read": Figure(images_per_s=20.0), "decode": Figure(images_per_s=30.0)}),
        record(ceilings={"read": Figure(images_per_s=11.0), "feed": Figure(images_per_s=12.0)}),
        record(ceilings={"infer": Figure(images_per_s=13.0), "device": Figure(images_per_s=12.0)}),
        record(ceilings={"link": Figure(bytes_per_s=1.0)}, predicted=Figure(bytes_per_s=1.0)),
        record(ceilings={}, predicted=None),
        record(verdict="FAILED", repeats=[], measured=None),
        record(notebook="01", measure="dataset", repeats=[], facts={}),
    ],
)
def test_what_fits_together_is_read(data: Data) -> None:
    assert Run.from_dict(data).to_dict() == data


@pytest.mark.parametrize("times", [1.01, 100, 0.5])
@pytest.mark.parametrize("name", ["images_per_s", "bytes_per_s"])
@pytest.mark.parametrize("verdict", [{"verdict": "VALID"}, {"verdict": "INVALID", "reasons": ["busy"]}])
def test_a_figure_that_its_windows_do_not_give(verdict: Data, name: str, times: float) -> None:
    data = record(**verdict, predicted=None)
    data["measured"][name] *= times
    with pytest.raises(RecordError, match=f"its {name} is .*, and its windows give 10.*: was it edited"):
        Run.from_dict(data)


def test_what_several_processes_reached_is_the_mean_of_theirs() -> None:
    longer = [own.model_copy(update={"seconds": 60.0}) for own in windows(9, 300)[1:]]
    own: Data = {"repeats": [*windows(90, 300, 450), *longer], "predicted": None}
    told: Data = {"facts": {"processes": [10.0, 15.0, 5.0]}}
    assert Run.from_dict(record(**own, **told))
    with pytest.raises(RecordError, match=r"its images_per_s is 10, and its windows give 8\.75"):
        Run.from_dict(record(**own, facts={}))
    with pytest.raises(RecordError, match="its figure is 10, and its processes give 20"):
        Run.from_dict(record(**own, facts={"processes": [20.0, 20.0, 20.0]}))


def test_what_ranks_and_nodes_reached_is_their_sum() -> None:
    with pytest.raises(RecordError, match="its figure is 10, and its ranks give 9\\.9"):
        Run.from_dict(group([4.0, 5.9], 1.0))
    with pytest.raises(RecordError, match="its images_per_s is 10, and its windows give 13"):
        Run.from_dict(group([4.0, 6.0], 1.0, repeats=windows(90, 390, 390, 390)))
    nodes: Data = {"ranks": [{"rate": 7.0}], "nodes": [{"name": "a", "rate": 4.0}, {"name": "b", "rate": 6.0}]}
    assert Run.from_dict(record(facts=nodes))


def test_bare_copies_are_held_against_what_they_took() -> None:
    with pytest.raises(RecordError, match="its bytes_per_s is 4000, and its windows give 2000"):
        Run.from_dict(copies(measured=Figure(bytes_per_s=4000.0)))


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("predicted.images_per_s", 9.9, "it predicts 9.9 images/s, and its lowest ceiling is 12"),
        ("predicted.images_per_s", 40.0, "it predicts 40 images/s"),
        ("ceilings.read.images_per_s", 8.0, "it predicts 12 images/s, and its lowest ceiling is 8"),
        ("repeats", [], "it is VALID, and has no window that was measured"),
        ("profile", "demo", "its profile is 'demo', and that of its parameters 'quick'"),
        ("profile", "mlperf", "its profile is 'mlperf', and that of its parameters 'quick'"),
        ("measured.half_width", 0.2, "it is VALID and known to ± 20.0 %, and profile quick demands ± 2.5 %"),
    ],
)
def test_what_else_does_not_fit(path: str, value: object, told: str) -> None:
    with pytest.raises(RecordError, match=f"is not well-formed: {told}.*: was it edited"):
        Run.from_dict(edited(record(), path, value))


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        (
            {"dtype": "uint8", "shape": [3, 224, 224]},
            "windows have images of 100 bytes, and its dtype and shape give 1505",
        ),
        (
            {"dtype": "float32", "shape": [1, 10, 10]},
            "windows have images of 100 bytes, and its dtype and shape give 400",
        ),
        ({"storage": {"from_storage": 0.12}}, "VALID with source storage, and 12.0 % of its bytes came from it"),
        (
            {"storage": {"from_storage": None, "in_memory": True}},
            "VALID with source storage, and its files lay in memory",
        ),
    ],
)
def test_parameters_and_facts_that_were_edited(facts: Data, told: str) -> None:
    """Memory does not become storage by a word in the parameters, nor a small image a large one."""
    declared: Data = {"params": {"source": "storage", "readers": ["direct"]}, "point": {"reader": "direct"}}
    with pytest.raises(RecordError, match=told):
        Run.from_dict(record(facts=facts, **declared))
    sound: Data = {"dtype": "uint8", "shape": [1, 10, 10], "storage": {"from_storage": 0.95, "in_memory": False}}
    assert Run.from_dict(record(facts=sound, **declared))
    refused: Data = {"verdict": "INVALID", "reasons": ["only 12 % came from storage"]}
    assert "storage" not in facts or Run.from_dict(record(facts=facts, **declared, **refused))


def test_what_is_valid_is_of_its_profiles_windows_and_not_over_its_ceiling() -> None:
    short = {"repeats": windows(3, 10, 10, 10, seconds=1.0), "facts": {}}
    with pytest.raises(RecordError, match="VALID with a window of 1 s, and profile quick demands 30 s"):
        Run.from_dict(record(**short))
    with pytest.raises(RecordError, match="VALID with 1 windows, and profile quick demands 3"):
        Run.from_dict(record(repeats=windows(3, 300), facts={}))
    over: Data = {"predicted": Figure(images_per_s=8.0), "ceilings": {"read": Figure(images_per_s=8.0)}}
    with pytest.raises(RecordError, match=r"VALID with 125\.0 % of its prediction, expected 103\.0 % at the most"):
        Run.from_dict(record(**over))
    assert Run.from_dict(record(**over, **short, profile="demo", params={}))
    assert Run.from_dict(record(**over, **short, verdict="INVALID", reasons=["faster than its own ceiling"]))


@pytest.mark.parametrize("notebook", sorted(SCHEMA_1.glob("*.ipynb")), ids=lambda path: path.name[:3])
def test_each_figure_of_a_notebook_that_is_altered_is_found_out(notebook: Path) -> None:
    for data in raw_records(notebook):
        assert Run.from_dict(data)
        if figure := data.get("measured"):
            altered = data | {"measured": figure | {name: 100 * (figure.get(name) or 0) for name in figure}}
            with pytest.raises(RecordError, match="was it edited"):
                Run.from_dict(altered)


def test_every_ceiling_counts() -> None:
    assert set(PREDICTING) == set(CEILINGS)
