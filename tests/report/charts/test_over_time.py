from typing import Any

import pytest

from inferkit.records.figures import Series
from inferkit.report.charts.over_time import machine_over_time
from tests.report.conftest import MakeRun, spec_of, why


def sampled(**values: list[float | None]) -> dict[str, Series]:
    units = {"images_per_s": "images/s", "host_cpu": "share"}
    return {name: Series(unit=units.get(name, "?"), values=own) for name, own in values.items()}


def lines_of(spec: dict[str, Any]) -> dict[str, list[tuple[str, float, float]]]:
    """Return by the title of each panel: line, time and value of each point."""
    found = {}
    for panel in spec["vconcat"]:
        line = next(layer for layer in panel["layer"] if layer["mark"]["type"] == "line")
        rows = line["data"]["values"]
        found[line["encoding"]["y"]["title"]] = [(row["series"], row["t"], row["value"]) for row in rows]
    return found


def test_each_quantity_has_a_panel_and_each_gpu_a_line(make_run: MakeRun) -> None:
    series = sampled(
        images_per_s=[100.0, 200.0],
        host_cpu=[0.25, 0.5],
        gpu0_power_w=[300.0, 310.0],
        gpu1_power_w=[290.0, None],
        gpu0_clock_hz=[1.98e9, 1.5e9],
        gpu0_pcie_in=[5e9, 5.4e10],
        bytes_per_s=[1e9, 1e9],
    )
    lines = lines_of(spec_of(machine_over_time([make_run(series=series)])))
    assert list(lines) == ["images/s", "host CPU (%)", "power (W)", "SM clock (GHz)", "to the GPU (GB/s)"]
    assert [value for _, _, value in lines["host CPU (%)"]] == pytest.approx([25, 50])
    assert lines["power (W)"] == [("GPU 0", 0.5, 300.0), ("GPU 0", 1.5, 310.0), ("GPU 1", 0.5, 290.0)]
    assert [value for _, _, value in lines["SM clock (GHz)"]] == pytest.approx([1.98, 1.5])
    assert lines["to the GPU (GB/s)"][1][2] == pytest.approx(54)


def test_the_best_valid_pipeline_is_drawn(make_run: MakeRun) -> None:
    slow, fast = (make_run(rate, series=sampled(images_per_s=[rate, rate])) for rate in (50.0, 60.0))
    invalid = make_run(70, verdict="INVALID", reasons=["x"], series=sampled(images_per_s=[70.0, 70.0]))
    lines = lines_of(spec_of(machine_over_time([slow, fast, invalid])))
    assert lines == {"images/s": [("all together", t, 60.0) for t in (0.5, 1.5)]}


def test_a_pipeline_that_infers_goes_before_a_faster_one_that_does_not(make_run: MakeRun) -> None:
    infers = make_run(60, series=sampled(images_per_s=[60.0, 60.0]))
    null = make_run(900, point={"engine": "null", "reader": "buffered"}, series=sampled(images_per_s=[900.0, 900.0]))
    assert lines_of(spec_of(machine_over_time([null, infers]))) == {
        "images/s": [("all together", t, 60.0) for t in (0.5, 1.5)]
    }
    assert lines_of(spec_of(machine_over_time([null]))) == {
        "images/s": [("all together", t, 900.0) for t in (0.5, 1.5)]
    }


def test_the_warm_up_is_shaded(make_run: MakeRun) -> None:
    spec = spec_of(machine_over_time([make_run(series=sampled(images_per_s=[50.0, 50.0]))]))
    shade = next(layer for layer in spec["vconcat"][0]["layer"] if layer["mark"]["type"] == "rect")
    assert len(shade["data"]["values"]) == 1


def test_a_panel_of_one_dot_is_left_out(make_run: MakeRun) -> None:
    spec = spec_of(machine_over_time([make_run(series=sampled(images_per_s=[50.0, 51.0], host_cpu=[None, 0.5]))]))
    assert list(lines_of(spec)) == ["images/s"]
    assert "nothing was sampled twice" in why(machine_over_time([make_run(series=sampled(host_cpu=[0.5]))]))


def test_without_samples_the_chart_says_so(make_run: MakeRun) -> None:
    assert "no pipeline" in why(machine_over_time([]))
    assert "no pipeline" in why(machine_over_time([make_run(series={})]))
    unsampled = machine_over_time([make_run(series=sampled(bytes_per_s=[1e9]))])
    assert "nothing was sampled" in why(unsampled)


@pytest.mark.parametrize(
    ("cpus", "said"), [({"foreign": 0.125}, True), ({}, False), ({"foreign": "much"}, False), (3, False)]
)
def test_what_other_programs_had_of_the_cpus_is_said(make_run: MakeRun, cpus: Any, said: bool) -> None:
    run = make_run(series=sampled(host_cpu=[0.5, 0.5]), facts={"cpus": cpus})
    subtitle = " ".join(spec_of(machine_over_time([run]))["title"]["subtitle"])
    assert ("other programs had 12 % of the CPUs' time" in subtitle) is said
    assert "filled" not in subtitle  # an older record has no series of it


def test_what_other_programs_had_is_an_area_below_the_line_of_the_host(make_run: MakeRun) -> None:
    series = sampled(images_per_s=[5.0, 5.0, 5.0], host_cpu=[0.5, 0.5, 0.75], foreign_cpu=[0.125, None, 0.25])
    spec = spec_of(machine_over_time([make_run(series=series, facts={"cpus": {"foreign": 0.2}})]))
    assert list(lines_of(spec)) == ["images/s", "host CPU (%)"]
    throughput, host = ([layer["mark"]["type"] for layer in panel["layer"]] for panel in spec["vconcat"])
    assert (throughput, host) == (["rect", "line"], ["rect", "area", "line"])
    filled = spec["vconcat"][1]["layer"][1]["data"]["values"]
    assert filled == [{"t": 0.5, "value": 12.5}, {"t": 2.5, "value": 25.0}]
    assert "filled, below host CPU: other programs had 20 %" in " ".join(spec["title"]["subtitle"])
