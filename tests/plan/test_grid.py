"""The rules of a grid: which points are left, what is set, and what is refused."""

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from inferkit.errors import ParameterError
from inferkit.plan.grid import AXES, Grid, windowed
from inferkit.plan.networks import aliases
from inferkit.records.params import SingleProcess
from inferkit.records.windows import Window

POINT: dict[str, Any] = {"model": "resnet50", "batch_size": 128, "engine": "null", "precision": "int8", "gpus": 2}


def settle(text: str, **changes: Any) -> Any:
    return Grid(yaml.safe_load(text)).settle({**POINT, **changes})


def test_without_rules_every_point_is_left() -> None:
    assert settle("[]") == {}


@pytest.mark.parametrize(
    ("when", "holds"),
    [
        ("{}", True),
        ("{model: resnet50}", True),
        ("{model: resnet18}", False),
        ("{model: /models/resnet50.onnx}", False),
        ("{batch_size: [64, 128]}", True),
        ("{batch_size: ['128']}", False),
        ("{batch_size: 128.0}", False),
        ("{gpus: true}", False),
        ("{engine: null}", True),
        ("{model: resnet50, batch_size: 64}", False),
        ("{model: resnet50, precision: [int8, fp8]}", True),
        ("{threads: 4}", False),
    ],
)
def test_a_rule_holds_where_all_its_axes_have_one_of_its_values(when: str, holds: bool) -> None:
    assert (settle(f"[{{when: {when}, skip: true}}]") is None) == holds


@pytest.mark.parametrize(
    "name", ["b/net", "net", "/models/b/net.onnx", "/models/a/../b/net.onnx", "/models/a/net.onnx"]
)
def test_a_rule_may_name_a_users_model_by_label_stem_or_path(name: str) -> None:
    rule = yaml.safe_load(f"[{{when: {{model: {name}}}, skip: true}}]")
    found = Grid(rule).settle(POINT | {"model": "b/net"}, aliases("/models/b/net.onnx"))
    assert (found is None) == ("/a/net" not in name)


def test_later_rules_win() -> None:
    text = """
    - skip: true
    - {when: {model: resnet50}, skip: false, set: {batches: 300, repeats: 5}}
    - {when: {batch_size: 128}, set: {batches: 250}}
    """
    assert settle(text) == {"batches": 250, "repeats": 5}
    assert settle(text, batch_size=64) == {"batches": 300, "repeats": 5}
    assert settle(text, model="vgg16") is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[{when: {modle: resnet50}, skip: true}]", "rule 1, when: 'modle' is unknown: did you mean 'model'"),
        ("[{skip: true}, {whem: {}, skip: true}]", "rule 2: 'whem' is unknown: did you mean 'when'"),
        ("[{set: {batchs: 3}}]", "rule 1, set: 'batchs' is unknown: did you mean 'batches'"),
        ("[{when: {zzz: 1}, skip: true}]", "'zzz' is unknown: allowed are device, gpus"),
        ("[{when: {model: resnet50}}]", "neither skip: true and set"),
        ("[{skip: true, set: {batches: 1}}]", "both skip: true and set"),
        ("[{skip: 1}]", "skip is 1; expected true or false"),
        ("[{when: [model], skip: true}]", r"when is \['model'\]; expected `name: value` pairs"),
        ("[{when: {model: []}, skip: true}]", r"when: model is \[\]; expected a value"),
        ("[{when: {model: {a: 1}}, skip: true}]", "expected a value, or a list of values"),
        ("[{set: {batches: 0}}]", "batches is 0; expected a whole number above 0"),
        ("[{set: {batches: 2.5}}]", "batches is 2.5; expected a whole number"),
        ("[{set: {batches: true}}]", "batches is True; expected a whole number"),
        ("[{set: {duration_s: '5'}}]", "duration_s is '5'; expected seconds above 0"),
        ("[{set: {slots: 4}}]", "'slots' is unknown"),
    ],
)
def test_a_wrong_rule_is_refused_with_what_was_meant(text: str, told: str) -> None:
    with pytest.raises(ParameterError, match=told):
        Grid(yaml.safe_load(text))


def test_a_parameter_file_holds_rules_in_a_list() -> None:
    with pytest.raises(ParameterError, match="grid"):
        SingleProcess.check({"grid": {"skip": True}})


def test_idle_rules_and_what_was_left_out_are_told() -> None:
    grid = Grid(yaml.safe_load("[{when: {batch_size: 64}, skip: true}, {when: {model: vgg16}, set: {batches: 9}}]"))
    for size in (64, 128):
        grid.settle({**POINT, "batch_size": size})
    assert grid.remarks == ("grid: 1 points of the product are left out", "grid, rule 2 is about no point")


@given(batches=st.integers(1, 10**6), images=st.integers(1, 10**4), least=st.sampled_from([0, 24_576]))
def test_a_window_lasts_so_many_batches_and_never_less_than_the_profile_wants(
    batches: int, images: int, least: int
) -> None:
    window = windowed(Window(images=least, duration_s=3.0), {"batches": batches, "repeats": 2}, images)
    assert window.images == max(least, batches * images)
    assert (window.duration_s, window.repeats) == (3.0, 2)


def test_every_axis_of_a_pipeline_can_be_asked_for() -> None:
    from inferkit.dataset.tensors import Dataset
    from inferkit.plan.build import plan

    planned = plan(SingleProcess(readers=["memory"], engines=["null"], shape=[3, 8, 8]))
    assert isinstance(planned.dataset, Dataset)
    assert {name for point in planned.points if point.measure == "pipeline" for name in point.axes} <= set(AXES)
