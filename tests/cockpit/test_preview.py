"""The plan that is shown while the form is filled in."""

import os
import queue
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest

from inferkit.cli.configure import Configuration, configure, planned
from inferkit.cockpit import preview as preview_module
from inferkit.cockpit.preview import Planner, blamed, plan_or_refusal, preview
from inferkit.cockpit.questions import questions
from tests.cli.conftest import write_config, write_data
from tests.processes import wait_for

pytestmark = pytest.mark.xdist_group("default data set")  # which two cannot make at a time
TINY = {"storage": "tiny", "engines": ["null"], "batch_sizes": [8]}


def test_points_and_time_are_those_of_a_dry_run(tmp_path: Path) -> None:
    path = write_config(tmp_path, storage="disk", batch_sizes=[8, 16])
    of_file = configure(str(path), only=["02", "03b"], out=tmp_path)
    values: dict[str, Any] = {"storage": "disk", "engines": ["null"], "transfer_bytes": [4096], "batch_sizes": [8, 16]}
    values |= {"warmup_s": 0.05, "duration_s": 0.1, "repeats": 1}
    found = plan_or_refusal(values, ["02", "03b"], str(tmp_path))
    assert isinstance(found, Configuration)
    assert {name: str(plan) for name, plan in found.plans.items()} == {
        name: str(plan) for name, plan in of_file.plans.items()
    }
    html = preview(found)
    for plan in found.plans.values():
        assert f">{len(plan.todo)}</td>" in html
    assert f">{sum(len(plan.todo) for plan in found.plans.values())}</td>" in html


def test_what_does_not_run_is_said_with_the_reason(tmp_path: Path) -> None:
    found = plan_or_refusal({**TINY, "readers": ["memory"]}, [], str(tmp_path))
    assert isinstance(found, Configuration)
    assert "01 data set does not run: reader memory needs no data set" in preview(found)


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"readers": ["dircet"]}, "readers"),
        ({"models": ["resnt18"], "engines": ["onnx"]}, "models"),
        ({"evict": True, "readers": ["memory"]}, "evict"),
        ({"data": "/nowhere/at/all"}, "data"),
        ({"data": "s3://x"}, "readers"),
        ({"data": "s3://x/y", "readers": ["s3"]}, "data"),
        ({"data": "gs://bucket/set"}, "data"),
        ({"models": ["/nowhere/a model.onnx"], "engines": ["onnx"]}, "models"),
        ({"images": "nowhere", "readers": ["jpeg"]}, "images"),
        ({"std": [1.0], "models": ["resnet18"], "engines": ["onnx"]}, "std"),
        ({"batch_log": "http://logs"}, "batch_log"),
    ],
)
def test_what_cannot_be_planned_is_told_of_beside_the_field_that_it_names(
    values: dict[str, object], name: str, tmp_path: Path
) -> None:
    if not values.keys() & {"data", "images"}:
        values = {"data": write_data(tmp_path), **values}  # of its own: others make the default set at the same time
    refusal = plan_or_refusal({**TINY, **values}, ["03b"], str(tmp_path))
    assert isinstance(refusal, str)
    assert not refusal.startswith("form")
    assert blamed(refusal, {**TINY, **values}, questions()) == [name], refusal


def test_all_fields_of_which_a_refusal_tells_are_named(tmp_path: Path) -> None:
    data = {"data": write_data(tmp_path), "storage": "tiny"}
    for values, names in (
        ({"shape": [3, 9, 9]}, ["shape"]),
        ({"dtype": "float32"}, ["dtype"]),
        ({"ranks": [700], "threads": [3]}, ["ranks", "threads"]),
        ({"threads": list(range(1, 300)), "batch_sizes": list(range(1, 300))}, ["threads", "batch_sizes"]),
    ):
        asked = {**TINY, **data, **values}
        refusal = plan_or_refusal(asked, ["03c"], str(tmp_path))
        assert isinstance(refusal, str)
        assert sorted(blamed(refusal, asked, questions())) == sorted(names), refusal


@pytest.mark.parametrize(
    ("notebook", "values", "name"),
    [
        ("03c", {"ranks": [1], "placement": ["rank=1 cpus=0"]}, "placement"),
        ("03c", {"ranks": [1], "cores": 4000}, "cores"),
        ("03d", {"scheduler": ""}, "scheduler"),
        ("03d", {"scheduler": "/nowhere/at/all/scheduler.json"}, "scheduler"),
        ("03d", {"scheduler": "tcp://127.0.0.1:9"}, "scheduler"),
        ("03a", {"batch_log": "pyproject.toml/log"}, "batch_log"),
    ],
)
def test_what_the_run_itself_would_refuse_is_told_of_beside_its_field(
    notebook: str, values: dict[str, object], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inferkit.cluster.workers.CONNECT_S", 0.2)
    asked = {**TINY, "data": write_data(tmp_path), **values}
    refusal = plan_or_refusal(asked, [notebook], str(tmp_path))
    assert isinstance(refusal, str)
    assert blamed(refusal, asked, questions()) == [name], refusal


def test_what_machines_plan_themselves_is_said_to_come_later(tmp_path: Path) -> None:
    asked = {**TINY, "data": write_data(tmp_path), "scheduler": str(tmp_path / "scheduler.json")}
    found = plan_or_refusal(asked, ["03d"], str(tmp_path))
    assert isinstance(found, Configuration)
    assert "planned by its machines, once they have come" in preview(found)


def test_only_what_was_asked_for_last_is_planned_and_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview_module, "SETTLED_S", 0.02)
    shown: list[Configuration | str] = []
    done = threading.Event()

    def show(found: Configuration | str) -> None:
        shown.append(found)
        done.set()

    planner = Planner(show)
    for batch in range(1, 20):
        planner.ask({**TINY, "batch_sizes": [batch]}, ["03a"], str(tmp_path))
    assert done.wait(60)
    (found,) = shown
    assert isinstance(found, Configuration)
    assert [point.axes["batch_size"] for point in found.plans["03a"].points] == [19]
    done.clear()
    planner.ask(TINY, ["03a"], str(tmp_path))
    planner.forget()
    assert not done.wait(0.3)


@pytest.mark.parametrize("out", ["~nobody-of-this-name/runs", "/", "s3://bucket/runs"])
def test_a_place_for_results_that_leads_nowhere_is_told(out: str) -> None:
    assert repr(out) in str(plan_or_refusal(TINY, ["03a"], out))


def test_storage_that_never_answers_holds_up_no_plan_but_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preview_module, "SETTLED_S", 0.0)
    silent = tmp_path / "silent"
    os.mkfifo(silent)

    def hanging(values: Any, *more: Any, **options: Any) -> Configuration:
        if values["data"]:
            silent.read_bytes()
        return planned(values, *more, **options)

    monkeypatch.setattr(preview_module, "planned", hanging)
    shown: queue.Queue[Configuration | str] = queue.Queue()
    planner = Planner(shown.put)
    planner.ask({**TINY, "data": str(silent)}, ["03a"], str(tmp_path))
    wait_for(lambda: bool(psutil.Process().children()), 20)
    planner.ask({**TINY, "data": ""}, ["03a"], str(tmp_path))
    assert isinstance(shown.get(timeout=60), Configuration)
    assert shown.empty()
