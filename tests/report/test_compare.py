"""Storages side by side: which point of each counts, what is refused and what is marked."""

from pathlib import Path
from typing import Any

import pytest

from inferkit.errors import RecordError
from inferkit.records.host import Host
from inferkit.records.notebooks import Stored
from inferkit.records.run import Run
from inferkit.report.compare import Comparison, compare
from inferkit.report.dates import moment
from inferkit.report.side_by_side import View
from inferkit.report.store import Row, rows, rows_of, table
from tests.report.conftest import MakeRun

POINT: dict[str, Any] = {"engine": "onnx", "model": "resnet18", "precision": "float32", "reader": "buffered"}
PARAMS: dict[str, Any] = {"dtype": "uint8", "shape": [3, 224, 224], "device": "cpu"}


def rows_from(*runs: Run) -> list[Row]:
    return rows(Stored(run, Path("a.ipynb")) for run in runs)


def compared(*runs: Run, **options: Any) -> Comparison:
    return compare(rows_from(*runs), **options)


def told(*runs: Run, **options: Any) -> str:
    return " ".join(str(View(compared(*runs, **options))).split())


def host(name: str, **facts: Any) -> Host:
    return Host.model_validate({"cpu": "x", "identity": {"hostname": name, "user": "u"}, **facts})


@pytest.fixture
def storages(make_run: MakeRun, failed: Run) -> list[Run]:
    return [
        make_run(58, point={**POINT, "batch_size": 8}),
        make_run(61, point={**POINT, "batch_size": 32}),
        make_run(500, verdict="INVALID", reasons=["cache"]),
        make_run(40, storage="nas", verdict="INVALID", reasons=["cache"]),
        make_run(44, storage="nas", verdict="INVALID", reasons=["cache"]),
        make_run(9999, measure="read", storage="nas"),
        failed,
    ]


def test_each_storage_is_told_by_its_best_valid_point(storages: list[Run]) -> None:
    resnet, vgg = compared(*storages).groups
    assert (resnet.network, vgg.network) == ("onnx resnet18 float32", "onnx vgg19")
    assert resnet.labels == ("shm", "nas")
    shm, nas = resnet.sides
    assert (shm.rate, shm.row["batch_size"], shm.row["verdict"]) == (61, 32, "VALID")
    assert (nas.rate, nas.row["verdict"], nas.n) == (42, "INVALID", 2)
    assert shm.row["ceiling_read"] == pytest.approx(61 * 22)
    assert (vgg.labels, vgg.missing, vgg.valid) == (("shm",), ("nas",), {})


def test_what_is_not_valid_is_compared_with_nothing(make_run: MakeRun) -> None:
    wrong = make_run(900, storage="nas", verdict="INVALID", reasons=["served from memory"])
    (group,) = compared(make_run(58), wrong, make_run(40, storage="nvme")).groups
    assert (group.labels, list(group.valid)) == (("shm", "nvme", "nas"), ["shm", "nvme"])
    assert [group.word(place) for place in range(3)] == ["FASTER", "SLOWER", ""]
    text = told(make_run(58), wrong)
    assert text.startswith("onnx resnet18 float32: nothing to compare shm with: 58.00 ± 0.58 images/s")
    assert "nas is INVALID" in text
    assert "served from memory" in text
    assert told(wrong).startswith("onnx resnet18 float32: no run is VALID; nas is INVALID")


def test_a_valid_run_is_taken_before_an_invalid_one_and_the_other_is_told(make_run: MakeRun) -> None:
    good = make_run(58, started="2026-01-01T00:00:00Z")
    bad = make_run(90, started="2026-01-02T00:00:00Z", verdict="INVALID", reasons=["x"])
    (side,) = compared(good, bad).groups[0].sides
    assert (side.rate, side.n, side.beside) == (58, 1, "1 INVALID run left out")


def test_other_groups_can_be_asked_for(storages: list[Run]) -> None:
    groups = compared(*storages, by=["batch_size"]).groups
    assert {group.network: group.sides[0].rate for group in groups if group.valid} == {
        "batch size 8": 58,
        "batch size 32": 61,
    }


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("cpu", {"host": Host.model_validate({"cpu": "another CPU"})}),
        ("cpus", {"host": Host.model_validate({"threads": 128})}),
        ("dtype", {"params": PARAMS | {"dtype": "float32"}}),
        ("shape", {"params": PARAMS | {"shape": [3, 299, 299]}}),
        ("shape", {"facts": {"shape": [3, 299, 299]}}),
        ("settings", {"params": PARAMS | {"overlap": False}}),
        ("device", {"point": {**POINT, "device": "cuda"}}),
    ],
)
def test_what_differs_in_more_than_the_storage_is_refused_or_marked(
    name: str, changes: dict[str, Any], make_run: MakeRun
) -> None:
    one = make_run(70, params=PARAMS | {"overlap": True}, point={**POINT, "device": "cpu"})
    other = make_run(58, **{"params": one.params, "point": one.point, "storage": "nas", **changes})
    with pytest.raises(RecordError, match=rf"- {name}: .*\(shm.*\(nas"):
        compared(one, other)
    assert f"{name} {rows_from(other)[0][name]} (shm" in told(one, other, allow_different=True)


def test_different_gpus_are_refused(make_run: MakeRun) -> None:
    hosts = [Host.model_validate({"cpu": "x", "gpus": [{"index": 0, "name": name}]}) for name in ("H100", "H200")]
    cuda: dict[str, Any] = {"params": {"device": "cuda"}}
    with pytest.raises(RecordError, match=r"gpu: H100 \(shm\), H200 \(nas\)"):
        compared(make_run(58, host=hosts[0], **cuda), make_run(40, host=hosts[1], storage="nas", **cuda))


def test_what_a_record_does_not_tell_is_not_held_against_it(make_run: MakeRun) -> None:
    compared(make_run(), make_run(storage="nas", params={}))


@pytest.mark.parametrize(
    ("changes", "mark"),
    [
        ({"profile": "quick"}, "profile quick (shm: demo)"),
        ({"notebook": "03c"}, "notebook 03c (shm: 03b)"),
        ({"host": Host.model_validate({"cpu": "x", "packages": {"inferkit": "0.2"}})}, "inferkit 0.2 (shm: 0.1)"),
        ({"facts": {"storage": {"dataset_bytes": 10**9}}}, "data set 1 GB (shm: 2 GB)"),
        ({"point": {**POINT, "batch_size": 64, "threads": 1}}, "threads 1 (shm: 2), batch size 64 (shm: 32)"),
        ({"point": {**POINT, "batch_size": 32, "threads": 2, "reader": "direct"}}, "reader direct (shm: buffered)"),
    ],
    ids=["profile", "notebook", "version", "data", "point", "reader"],
)
def test_what_may_differ_is_marked(changes: dict[str, Any], mark: str, make_run: MakeRun) -> None:
    own = {
        "host": Host.model_validate({"cpu": "x", "packages": {"inferkit": "0.1"}}),
        "facts": {"storage": {"dataset_bytes": 2 * 10**9}},
        "point": {**POINT, "batch_size": 32, "threads": 2},
    }
    one, other = make_run(70, **own), make_run(58, **{**own, "storage": "nas", **changes})
    (group,) = compared(one, other).groups
    assert (group.differences(0), ", ".join(group.differences(1))) == ([], mark)
    assert f"differs: {mark}" in told(one, other)


def test_servers_that_call_their_storage_the_same_are_two_rows(make_run: MakeRun) -> None:
    runs = [make_run(rate, storage="nvme", host=host(name)) for rate, name in ((58, "alpha"), (40, "beta"))]
    (group,) = compared(*runs).groups
    assert group.labels == ("nvme on alpha", "nvme on beta")
    assert "nvme on alpha is 45.0 ± 2.1 % faster than nvme on beta" in told(*runs)


def test_without_a_pipeline_there_is_nothing_to_compare(make_run: MakeRun) -> None:
    with pytest.raises(RecordError, match="03b"):
        compared(make_run(measure="read"))


def test_a_date_leaves_earlier_runs_out(make_run: MakeRun) -> None:
    runs = [make_run(rate, started=f"2026-01-0{day}T00:00:00Z") for day, rate in enumerate((60, 66, 58), 1)]
    assert compared(*runs).groups[0].sides[0].rate == 58
    (side,) = compared(*runs, since=moment("2026-01-02")).groups[0].sides
    assert (side.rate, side.n, side.beside) == (62, 2, "")
    with pytest.raises(RecordError, match=r"none of 3 pipeline runs .* since 2026-01-04 .* newest was at 2026-01-03"):
        compared(*runs, since=moment("2026-01-04"))


def test_the_fastest_can_be_asked_for_and_that_is_said(make_run: MakeRun) -> None:
    runs = [make_run(rate, started=f"2026-01-0{day}T00:00:00Z") for day, rate in enumerate((60, 66, 58), 1)]
    (side,) = compared(*runs, best=True).groups[0].sides
    assert (side.rate, side.n, side.beside) == (66, 1, "1 of 3 runs: the fastest, which flatters")


def test_a_data_frame_gives_the_same(storages: list[Run]) -> None:
    frame = table(Stored(run, Path("a.ipynb")) for run in storages)
    assert str(View(compare(rows_of(frame)))) == str(View(compared(*storages)))


def test_memory_beside_storage_is_marked(make_run: MakeRun) -> None:
    cached = make_run(100, storage="disk", params={**PARAMS, "source": "memory"})
    read = make_run(58, storage="nas", params={**PARAMS, "source": "storage"})
    assert "origin source: storage (disk: source: memory)" in told(cached, read)


def test_a_throttled_disk_and_a_part_of_a_data_set_are_marked(make_run: MakeRun) -> None:
    limited = {"covered": 0.005, "limits": [{"device": "vda", "bytes_per_s": 100}]}
    whole = make_run(100, storage="disk", facts={"storage": {"covered": 1.0, "limits": []}})
    part = make_run(58, storage="nas", facts={"storage": limited})
    words = " ".join(told(whole, part).split())
    assert "read a part of the data set (disk: all of the data set)" in words
    assert "limits of reads vda (disk: none)" in words
    assert "differs" not in told(whole, make_run(58, storage="old", facts={"storage": {}}))


def test_a_clock_that_was_ahead_does_not_make_a_run_the_newest_for_good(make_run: MakeRun) -> None:
    dates = ("2026-11-20T10:00:00+00:00", "2026-11-20T11:00:00+00:00", "2199-01-01T00:00:00+00:00")
    runs = [make_run(rate, started=date) for rate, date in zip((100, 100, 900), dates, strict=True)]
    (group,) = compared(*runs).groups
    assert group.sides[0].rate == pytest.approx(101)
    assert group.sides[0].n == 2
