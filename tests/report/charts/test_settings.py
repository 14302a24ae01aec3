"""Batch sizes, threads and energy: what is drawn, what is left out and said."""

import pytest

from inferkit.report.charts.settings import MOST, NETWORKS, batch_sizes, energy
from tests.report.charts.test_pipeline import rows_of
from tests.report.conftest import MakeRun, spec_of, why


def point(model: str = "resnet18", **axes: int) -> dict[str, object]:
    return {"engine": "onnx", "model": model, "reader": "direct", **axes}


def test_images_over_batch_size_have_a_line_per_number_of_threads_and_an_interval(make_run: MakeRun) -> None:
    runs = [make_run(50 + n * b, point=point(threads=n, batch_size=b)) for n in (1, 2) for b in (8, 16)]
    rows = rows_of(spec_of(batch_sizes(runs)))
    assert {(row["line"].split(" · ")[-1], row["batch"]) for row in rows} == {
        (f"threads {n}", b) for n in (1, 2) for b in (8, 16)
    }
    for row in rows:
        assert row["low"] == pytest.approx(row["value"] * 0.99)
        assert row["high"] == pytest.approx(row["value"] * 1.01)


def test_each_network_is_a_panel_and_what_infers_comes_first(make_run: MakeRun) -> None:
    runs = [make_run(900, point={"engine": "null", "reader": "direct", "batch_size": b}) for b in (8, 16)]
    runs += [make_run(58, point=point(batch_size=b)) for b in (8, 16)]
    assert spec_of(batch_sizes(runs))["facet"]["sort"] == ["onnx resnet18", "null"]


def test_networks_beyond_the_panels_are_named(make_run: MakeRun) -> None:
    names = [f"net{k}" for k in range(NETWORKS + 2)]
    runs = [make_run(50 + k, point=point(name, batch_size=b)) for k, name in enumerate(names) for b in (8, 16)]
    spec = spec_of(batch_sizes(runs))
    shown = {row["network"] for row in rows_of(spec)}
    assert len(shown) == NETWORKS
    told = " ".join(spec["description"].split())
    assert all(name in told for name in names if f"onnx {name}" not in shown)


def test_one_setting_is_no_chart(make_run: MakeRun) -> None:
    assert "one point only" in why(batch_sizes([make_run(point=point(batch_size=8))]))
    assert "one point only" in why(batch_sizes([make_run(58, point=point(name, batch_size=8)) for name in "ab"]))
    assert why(batch_sizes([]))


def test_a_network_of_one_point_has_no_panel_and_is_named(make_run: MakeRun) -> None:
    runs = [make_run(50 + b, point=point(batch_size=b)) for b in (8, 16)]
    spec = spec_of(batch_sizes([*runs, make_run(99, point=point("vgg19", batch_size=8))]))
    assert {row["network"] for row in rows_of(spec)} == {"onnx resnet18"}
    assert "measured at one point: onnx vgg19" in spec["description"]


def test_points_that_are_not_valid_are_marked(make_run: MakeRun) -> None:
    bad = make_run(99, point=point(batch_size=16), verdict="INVALID", reasons=["x"])
    rows = rows_of(spec_of(batch_sizes([make_run(point=point(batch_size=8)), bad])))
    assert {row["verdict"] for row in rows} == {"VALID", "INVALID"}
    assert any("INVALID" in row["text"] for row in rows)


def test_energy_is_ranked_and_its_cut_is_said(make_run: MakeRun) -> None:
    facts = [{"images_per_joule": 1.0 + k} for k in range(MOST + 3)]
    runs = [make_run(50 + k, point=point(batch_size=k + 1), facts=fact) for k, fact in enumerate(facts)]
    spec = spec_of(energy(runs))
    rows = rows_of(spec)
    assert len({row["point"] for row in rows}) == MOST
    assert f"{MOST} of {MOST + 3} points" in " ".join(spec["description"].split())
    assert max(row["value"] for row in rows) == float(MOST + 3)


def test_one_figure_of_energy_is_no_chart(make_run: MakeRun) -> None:
    assert "fewer than two" in why(energy([make_run(facts={"images_per_joule": 3.0}), make_run()]))
