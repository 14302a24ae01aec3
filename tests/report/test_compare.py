from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from inferkit.errors import RecordError
from inferkit.records.figures import Figure
from inferkit.records.host import Host
from inferkit.records.notebooks import Stored
from inferkit.records.run import Run
from inferkit.report.compare import best, compare, one_per_point, text
from inferkit.report.store import table
from tests.report.conftest import MakeRun


def frame_of(*runs: Run) -> pd.DataFrame:
    return table(Stored(run, Path("a.ipynb")) for run in runs)


@pytest.fixture
def storages(make_run: MakeRun, failed: Run) -> pd.DataFrame:
    point = {"engine": "onnx", "model": "resnet18", "precision": "float32"}
    return frame_of(
        make_run(58, point={**point, "batch_size": 8}),
        make_run(61, point={**point, "batch_size": 32}),
        make_run(500, verdict="INVALID", reasons=["cache"]),
        make_run(40, storage="nas", verdict="INVALID", reasons=["cache"]),
        make_run(44, storage="nas", verdict="INVALID", reasons=["cache"]),
        make_run(9999, measure="read", storage="nas"),
        failed,
    )


def test_each_storage_is_told_by_its_best_valid_point(storages: pd.DataFrame) -> None:
    wide = compare(storages)
    row, failed = dict(zip(wide.index, wide.to_dict("records"), strict=True)).values()
    assert list(dict.fromkeys(wide.columns.get_level_values(0))) == ["shm", "nas"]
    assert (row["shm", "images_per_s"], row["shm", "batch_size"], row["shm", "verdict"]) == (61, 32, "VALID")
    assert (row["nas", "images_per_s"], row["nas", "verdict"]) == (44, "INVALID")
    assert row["shm", "bottleneck"] == "infer"
    assert row["shm", "ceiling_read"] == pytest.approx(61 * 22)
    assert list(wide.index) == [("onnx", "resnet18", "float32"), ("onnx", "vgg19", "")]
    assert failed["shm", "verdict"] == "FAILED"


def test_other_rows_can_be_asked_for(storages: pd.DataFrame) -> None:
    chosen = best(storages[storages["storage"] == "shm"], by=["batch_size"])
    assert sorted(chosen[["batch_size", "images_per_s"]].dropna().to_numpy().tolist()) == [["32", 61.0], ["8", 58.0]]
    assert list(compare(storages, by=["model"]).index) == ["resnet18", "vgg19"]


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("cpu", {"host": Host.model_validate({"cpu": "another CPU"})}),
        ("cpus", {"host": Host.model_validate({"threads": 128})}),
        ("dtype", {"params": {"dtype": "float32", "shape": [3, 224, 224], "device": "cpu"}}),
        ("shape", {"params": {"dtype": "uint8", "shape": [3, 299, 299], "device": "cpu"}}),
        ("shape", {"facts": {"shape": [3, 299, 299]}}),
    ],
)
def test_what_differs_in_more_than_the_storage_is_refused_or_marked(
    name: str, changes: dict[str, Any], make_run: MakeRun
) -> None:
    frame = frame_of(make_run(58), make_run(70, storage="nas", **changes))
    with pytest.raises(RecordError, match=rf"- {name}: .*\(shm\).*\(nas\)"):
        compare(frame)
    wide = compare(frame, allow_different=True)
    assert f"{name}: {frame[name][1]}" in wide.iloc[0]["nas", "differs"]
    assert f"nas: {name}: {frame[name][1]}" in text(wide)


def test_different_gpus_are_refused(make_run: MakeRun) -> None:
    hosts = [Host.model_validate({"cpu": "x", "gpus": [{"index": 0, "name": name}]}) for name in ("H100", "H200")]
    cuda: dict[str, Any] = {"params": {"device": "cuda"}}
    frame = frame_of(make_run(host=hosts[0], **cuda), make_run(host=hosts[1], storage="nas", **cuda))
    with pytest.raises(RecordError, match=r"gpu: H100 \(shm\), H200 \(nas\)"):
        compare(frame)


def test_what_a_record_does_not_tell_is_not_held_against_it(make_run: MakeRun) -> None:
    compare(frame_of(make_run(), make_run(storage="nas", params={})))


def test_without_a_pipeline_there_is_nothing_to_compare(make_run: MakeRun) -> None:
    with pytest.raises(RecordError, match="03b"):
        compare(frame_of(make_run(measure="read")))


def test_text_for_a_terminal(storages: pd.DataFrame) -> None:
    lines = text(compare(storages)).splitlines()
    assert lines[:5] == [
        "onnx · resnet18 · float32",
        "  storage      images/s  runs  predicted  reached  bottleneck   read  infer  verdict",
        "  shm      61.00 ± 0.61     1       63.4     96 %  infer       1,342   63.4  VALID",
        "  nas           44 ± 27     2       45.8     96 %  infer         968   45.8  INVALID",
        "  demo profile: not for quoting",
    ]
    assert "FAILED" in lines[-3]
    assert lines[-2].endswith("not measured")
    assert max(map(len, lines)) <= 100


def times(count: int) -> list[str]:
    return [f"2026-01-{day + 1:02d}T00:00:00+00:00" for day in range(count)]


def test_measuring_often_makes_no_storage_faster(make_run: MakeRun) -> None:
    rates, same = (60, 66, 58, 61), {"profile": "quick"}
    often = [make_run(rate, started=time, **same) for rate, time in zip(rates, times(4), strict=True)]
    once = make_run(64, storage="nas", started=times(1)[0], **same)
    row = compare(frame_of(*reversed(often), once, often[1])).iloc[0]
    assert (row["shm", "images_per_s"], row["shm", "runs"]) == (61, 4)
    assert row["shm", "error"] == pytest.approx(3.182 * 3.4034 / 61.25 / 2, rel=0.02)
    assert (row["nas", "images_per_s"], row["nas", "runs"]) == (64, 1)
    assert "  no difference found: shm and nas" in text(compare(frame_of(*often, once))).splitlines()


def test_the_longest_profile_is_taken_then_the_newest(make_run: MakeRun) -> None:
    early, late = times(2)
    long = make_run(50, profile="mlperf", started=early)
    hasty = make_run(90, profile="demo", started=late)
    other = make_run(95, profile="quick", point={"engine": "onnx", "model": "resnet18", "precision": "float32"})
    row = compare(frame_of(long, hasty, other)).iloc[0]
    assert (row["shm", "images_per_s"], row["shm", "profile"], row["shm", "runs"]) == (50, "mlperf", 1)
    broken = make_run(10, profile="mlperf", started=late, verdict="INVALID", reasons=["x"])
    assert compare(frame_of(long, broken)).iloc[0]["shm", "images_per_s"] == 50


def test_storages_that_are_apart_are_not_called_equal(make_run: MakeRun) -> None:
    assert "no difference" not in text(compare(frame_of(make_run(58), make_run(80, storage="nas"))))
    unknown = make_run(80, storage="nas", measured=Figure(images_per_s=80.0))
    assert "no difference found: shm and nas" in text(compare(frame_of(make_run(58), unknown)))


def test_what_was_asked_for_otherwise_is_no_repetition(make_run: MakeRun) -> None:
    params = {"dtype": "uint8", "shape": [3, 224, 224], "device": "cpu", "source": "memory"}
    runs = [make_run(rate, params={**params, "evict": evict}) for rate, evict in ((90, True), (30, False), (31, False))]
    frame = frame_of(*runs)
    assert one_per_point(frame)[["images_per_s", "runs"]].to_numpy().tolist() == [[31, 2], [90, 1]]


def test_a_comparison_says_what_must_stand_beside_a_figure(make_run: MakeRun) -> None:
    odd = "outputs: the same for 8 different images: does the network look at them?"
    told = text(compare(frame_of(make_run(58, warnings=[odd]), make_run(40, storage="nas"))))
    assert f"  shm: {odd}" in told.splitlines()


def test_other_settings_are_more_than_another_storage(make_run: MakeRun) -> None:
    params = {"dtype": "uint8", "shape": [3, 224, 224], "device": "cpu"}
    runs = [
        make_run(58, params={**params, "overlap": True}),
        make_run(40, params={**params, "overlap": False}, storage="nas"),
    ]
    with pytest.raises(RecordError, match=r"settings: overlap: True \(shm\), overlap: False \(nas\)"):
        compare(frame_of(*runs))
