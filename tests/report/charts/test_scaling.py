"""Weak scaling, strong scaling, exploration and the winner, from records."""

from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from inferkit.machine.placement import place_ranks
from inferkit.machine.topology import Core, Topology, topology
from inferkit.records.figures import Figure
from inferkit.records.place import Place, Placement
from inferkit.records.run import Run
from inferkit.report.charts.placement import IDLE, placement_chart
from inferkit.report.charts.scaling import scaling, speedup
from inferkit.report.charts.theme import WIDEST
from inferkit.report.conclusion import conclude
from inferkit.report.display import SCALE, png
from inferkit.report.scaling import Gain, exploration, setting, strong_scaling, weak_scaling, winners, workers
from inferkit.report.screen import screen
from tests.machines import dgx
from tests.report.charts.test_pipeline import rows_of
from tests.report.conftest import MakeRun, spec_of, why

MakeMulti = Callable[..., Run]


@pytest.fixture
def multi(make_run: MakeRun) -> MakeMulti:
    def make(rate: float, ranks: int, batch: int = 32, *, gpus: int = 0, cores: int = 0, **changes: Any) -> Run:
        point = {"device": "cuda" if gpus else "cpu", "ranks": ranks, "batch_size": batch, "engine": "onnx",
                 "model": "resnet18", "precision": "float32", "reader": "mapped", "threads": 2}  # fmt: skip
        point |= {"gpus": gpus} if gpus else {}
        point |= {"cores": cores} if cores else {}
        values = {
            "notebook": "03c",
            "point": point,
            "measured": Figure(images_per_s=rate, bytes_per_s=rate * 3, half_width=0.01),
        }
        return make_run(rate, **{**values, **changes})

    return make


@pytest.fixture
def runs(multi: MakeMulti) -> list[Run]:
    return [
        multi(100.0, 1, gpus=1),
        multi(180.0, 1, gpus=2),
        multi(196.0, 2, gpus=2),
        multi(150.0, 2, 16, gpus=2),
        multi(120.0, 2, gpus=1),
    ]


def test_settings_are_worded(multi: MakeMulti) -> None:
    assert setting(multi(1.0, 1, gpus=2)) == "2 GPUs, 1 process"
    assert setting(multi(1.0, 2, cores=4)) == "4 cores, 2 processes"
    assert setting(multi(1.0, 3)) == "3 processes"
    assert [workers(multi(1.0, 1, gpus=2)), workers(multi(1.0, 4, gpus=2)), workers(multi(1.0, 3))] == [2, 4, 3]


def test_weak_scaling_compares_with_the_smallest_at_the_same_batch(runs: list[Run]) -> None:
    rows = weak_scaling(runs).rows
    by_setting = {row[2]: row for row in rows if row[1] == "32"}
    assert by_setting["1 GPU, 1 process"][3:7] == ["320 ms", "100.0 ± 1.0", "1.00", "100 %"]
    assert by_setting["2 GPUs, 1 process"][3:7] == ["356 ms", "180.0 ± 1.8", "1.80", "90 %"]
    assert by_setting["2 GPUs, 2 processes"][3:7] == ["327 ms", "196.0 ± 2.0", "1.96", "98 %"]
    assert by_setting["1 GPU, 2 processes"][5:7] == ["1.20", "120 %"]
    assert len(rows) == 5


def test_strong_scaling_compares_as_many_images_under_way(runs: list[Run]) -> None:
    rows = strong_scaling(runs).rows
    assert [(row[1], row[2], row[5], row[6]) for row in rows] == [
        ("32", "1 GPU, 1 process", "1.00", "100 %"),
        ("32", "2 GPUs, 2 processes", "1.50", "75 %"),
    ]


def test_strong_scaling_says_what_it_needs(multi: MakeMulti) -> None:
    assert "set batch_sizes" in str(strong_scaling([multi(1.0, 1), multi(2.0, 2)]))


def test_exploration_marks_the_best(runs: list[Run]) -> None:
    table = exploration(runs)
    assert table.head[2:] == ["1 GPU, 1 process", "2 GPUs, 1 process", "2 GPUs, 2 processes", "1 GPU, 2 processes"]
    assert [row[1:] for row in table.rows] == [["32", "100", "180", "196 ★", "120"], ["16", "", "", "150", ""]]
    assert "★" in table._repr_mimebundle_()["text/html"]


def test_the_winner_is_named_against_one_process_on_the_same_resources(runs: list[Run]) -> None:
    ((lead, rest),) = winners(runs)
    assert lead == "onnx resnet18 float32 · mapped · threads 2: 2 GPUs, 2 processes win"
    assert (
        "196.0 ± 2.0 images/s with batches of 32; 1.09 times one process on the same resources (180.0 ± 1.8 images/s)"
        in rest
    )
    assert lead in str(conclude(runs))


def test_limits_that_are_not_apart_are_told_alike_everywhere(multi: MakeMulti) -> None:
    limits = {name: Figure(images_per_s=rate, half_width=0.1) for name, rate in (("read", 105.0), ("cpu", 100.0))}
    run = multi(90.0, 2, ceilings=limits, bottleneck="cpu", predicted=limits["cpu"])
    ((_, rest),) = winners([run])
    assert "cpu or read is the bottleneck: their ceilings are not apart" in rest
    assert "bottleneck cpu or read; VALID" in " ".join(screen([run]).split())


def test_one_process_may_win(multi: MakeMulti) -> None:
    ((lead, _),) = winners([multi(200.0, 1), multi(190.0, 2)])
    assert lead.endswith("1 process wins")


def test_more_cores_are_not_the_same_resources(multi: MakeMulti) -> None:
    ((_, rest),) = winners([multi(100.0, 1, cores=1), multi(190.0, 2, cores=2)])
    assert "1.90 times 1 core, 1 process (100.0 ± 1.0 images/s)" in rest


def test_a_valid_run_wins_over_a_faster_invalid_one(multi: MakeMulti) -> None:
    invalid = multi(900.0, 2, verdict="INVALID", reasons=["all ranks were running for only 20.0 %"])
    ((lead, _),) = winners([multi(100.0, 1), invalid])
    assert lead.endswith("1 process alone")
    assert exploration([multi(100.0, 1), invalid]).rows[0][2:] == ["100 ★", "900 INVALID"]


def test_what_is_not_apart_does_not_win(multi: MakeMulti) -> None:
    near = [multi(200.0, 1), multi(204.0, 2), multi(150.0, 3)]
    ((lead, rest),) = winners(near)
    assert lead.endswith("no difference found")
    assert "2 processes 204.0 ± 2.0 images/s with batches of 32 and 1 process 200.0 ± 2.0 images/s" in rest
    assert "wins" not in lead + rest
    assert "times" not in rest
    assert str(exploration(near)).count("★") == 2


def test_without_an_error_nothing_wins(multi: MakeMulti) -> None:
    bare: dict[str, Any] = {"facts": {}, "measured": Figure(images_per_s=100.0)}
    ((lead, _),) = winners([multi(1.0, 1, **bare), multi(1.0, 2, **bare)])
    assert lead.endswith("no difference found")


def test_a_point_that_failed_is_in_the_tables_without_figures(multi: MakeMulti) -> None:
    failed = multi(1.0, 2, verdict="FAILED", measured=None, repeats=[], stages={}, facts={})
    rows = weak_scaling([multi(100.0, 1), failed]).rows
    assert rows[1][2:] == ["2 processes", "–", "–", "–", "–", "FAILED"]
    assert Gain(failed, failed).speedup is None
    assert list(winners([failed])) == [
        ("onnx resnet18 float32 · mapped · threads 2: no winner", "none of 1 points is VALID")
    ]
    assert rows_of(spec_of(scaling([multi(100.0, 1), failed])))[1]["value"] is None


def test_runs_of_one_process_have_no_scaling(make_run: MakeRun) -> None:
    for table in (weak_scaling, strong_scaling, exploration):
        assert not table([make_run()]).rows
        assert str(table([make_run()]))
        assert "text/html" in table([])._repr_mimebundle_()
    assert list(winners([make_run()])) == []


def test_bars_show_rate_error_speedup_and_efficiency(runs: list[Run]) -> None:
    spec = spec_of(scaling(runs))
    rows = {(row["panel"][-2:], row["setting"]): row for row in rows_of(spec) if "panel" in row}
    best = rows["32", "2 GPUs, 2 processes"]
    assert best["note"] == "196.0 ± 2.0 · × 1.96 · 98 %"
    assert (best["low"], best["high"]) == (pytest.approx(194.04), pytest.approx(197.96))
    assert png(spec)


def test_speedup_is_drawn_beside_the_ideal(runs: list[Run]) -> None:
    spec = spec_of(speedup(runs))
    rows = rows_of(spec)
    assert {"workers": 2, "speedup": 2.0} in rows
    assert {row["speedup"] for row in rows if row.get("series", "").endswith("32")} == {1.0, 1.96}
    assert png(spec)


def test_the_picture_shows_whose_cores_and_gpus_are_whose(tmp_path: Any) -> None:
    server = topology(dgx(tmp_path))
    cpus = {cpu for core in server.cores for cpu in core.cpus}
    plans = [place_ranks(server, ranks, gpus=[0, 4], cpus=cpus) for ranks in (1, 2)]
    spec = spec_of(placement_chart(plans, server))
    rows = rows_of(spec)
    assert len(rows) == 2 * (32 + 8)
    two = [row for row in rows if row["panel"] == "2 ranks, 2 GPUs"]
    assert {row["lane"]: row["rank"] for row in two if row["text"] == "0" and "GPUs" in row["lane"]} == {
        "node 3: GPUs": "rank 0"
    }
    assert {row["rank"] for row in two if row["lane"] == "node 7: cores"} == {"rank 1"}
    assert {row["rank"] for row in two if row["lane"] == "node 0: cores"} == {IDLE}
    assert png(spec)


def test_unknown_nodes_are_drawn_as_unknown(tmp_path: Any) -> None:
    server = topology(dgx(tmp_path, told=False))
    plan = place_ranks(server, 2, gpus=[0, 1], cpus={0, 1})
    lanes = {row["lane"] for row in rows_of(spec_of(placement_chart([plan], server)))}
    assert "node unknown: GPUs" in lanes
    assert "no ranks are planned" in why(placement_chart([plan], Topology()))


def test_a_machine_of_many_cores_is_drawn_in_lines_of_a_few() -> None:
    found = Topology(cores=tuple(Core(cpus=(k, k + 192), node=k // 96) for k in range(192)))
    spec = spec_of(placement_chart([Placement(places=(Place(cpus=(0, 1)),))], found))
    assert len({row["text"] for row in rows_of(spec)}) == 192
    assert Image.open(BytesIO(png(spec))).width <= WIDEST * SCALE
