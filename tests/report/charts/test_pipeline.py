import base64
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import vl_convert
from IPython.core.displaypub import CapturingDisplayPublisher
from PIL import Image

from inferkit.records.figures import Figure, Series
from inferkit.records.host import Host
from inferkit.records.notebooks import Stored
from inferkit.records.run import CEILINGS, STAGES, Peer, Run
from inferkit.report.answer import picture
from inferkit.report.charts import CHARTS
from inferkit.report.charts import rows as frames
from inferkit.report.charts.pipeline import comparison
from inferkit.report.charts.theme import WIDEST, Nothing
from inferkit.report.display import COLOURS, SCALE, VEGALITE_MIME, chart_bundle, display_chart, png
from inferkit.report.headline import headline
from inferkit.report.palette import NO_STAGE_COLOUR, STAGE_COLOURS
from inferkit.report.store import table
from tests.report.conftest import MakeRun, spec_of, why

pytestmark = pytest.mark.xdist_group("charts")  # each is put together once

Spec = dict[str, Any]
Specs = Callable[[str], Spec]
DATES = ("2026-11-01T00:00:00+00:00", "2026-11-02T23:30:00-01:00")
RUN_CHARTS = [name for name in CHARTS if name != "comparison"]


def rows_of(spec: Any) -> list[dict[str, Any]]:
    """Return the rows of all data sets anywhere in a spec."""
    if isinstance(spec, list):
        return [row for item in spec for row in rows_of(item)]
    if not isinstance(spec, dict):
        return []
    own: list[dict[str, Any]] = spec["data"]["values"] if "data" in spec else []
    return own + [row for key, item in spec.items() if key != "data" for row in rows_of(item)]


def encodings(spec: Any, channel: str) -> list[dict[str, Any]]:
    """Return every encoding of a channel anywhere in a spec."""
    if isinstance(spec, list):
        return [found for item in spec for found in encodings(item, channel)]
    if not isinstance(spec, dict):
        return []
    own = [spec["encoding"][channel]] if channel in spec.get("encoding", {}) else []
    return own + [found for item in spec.values() for found in encodings(item, channel)]


def titles(spec: Spec, channel: str) -> set[str]:
    return {encoding["title"] for encoding in encodings(spec, channel) if encoding.get("title")}


def colours_of(image: bytes) -> set[tuple[int, ...]]:
    picture = Image.open(io.BytesIO(image)).convert("RGB")
    return {colour for _, colour in picture.getcolors(picture.width * picture.height)}  # type: ignore[union-attr,misc]


def near(colour: str, found: set[tuple[int, ...]]) -> bool:
    want = bytes.fromhex(colour[1:])
    return any(max(abs(a - b) for a, b in zip(want, have, strict=True)) <= 12 for have in found)


@pytest.fixture
def mixed(make_run: MakeRun, failed: Run) -> list[Run]:
    null = {"engine": "null", "model": "", "precision": "", "reader": "buffered", "batch_size": 32}
    limits = {"read": Figure(images_per_s=1300), "copy": Figure(images_per_s=39_000)}
    invalid = {"engine": "onnx", "model": "resnet50", "reader": "direct", "batch_size": 8}
    return [
        make_run(1200, point=null, ceilings=limits, predicted=Figure(images_per_s=1300), bottleneck="read"),
        make_run(58),
        make_run(26, point=invalid, verdict="INVALID", reasons=["short"]),
        failed,
    ]


def of_machines(run: Run, count: int) -> dict[str, Any]:
    """Return what makes a run one of several machines."""
    nodes = [{"name": f"n{k}", "rate": 10.0 - k, "course": [9.0 - k, 11.0 - k]} for k in range(count)]
    group = {"begin_s": 1.0, "end_s": 5.0, "unit": "images/s"}
    return {"point": run.point | {"ranks": 1, "nodes": count}, "facts": {"nodes": nodes, "group": group}}


@pytest.fixture
def drawn(mixed: list[Run], make_copy: MakeRun, make_read: MakeRun, make_way: MakeRun) -> dict[str, Any]:
    copies = [make_copy(size, kind, 1e9) for size in (65536, 1 << 20) for kind in ("pinned", "pageable")]
    nodes = [
        run.model_copy(update={"point": run.point | {"gpu": gpu, "node": node}})
        for gpu in range(4)
        for node in range(2)
        for run in [make_copy(1 << 28, "pinned", 5e10 - node * 1e10, "cuda")]
    ]
    reads = [
        make_read(kind, n, b, n * 1e9, fio=1.5e9) for kind in ("buffered", "direct") for n in (1, 2) for b in (32, 128)
    ]
    nas = [run.model_copy(update={"id": f"{run.id}-nas", "storage": "nas"}) for run in mixed]
    frame = table(Stored(run, Path("a.ipynb")) for run in [*mixed, *nas])
    several = [run.model_copy(update={"point": run.point | {"ranks": n}}) for n in (1, 2) for run in mixed]
    layers = [mixed[0].model_copy(update={"facts": {"layers_ms": [["conv1", 2.0], ["fc", 0.5]]}})]
    dates = [run.model_copy(update={"id": f"{run.id}-{day}", "started": day}) for day in DATES for run in mixed]
    batches = {
        "read": "0+900 1000+900 2000+950",
        "copy": "900+80 1900+80 2950+90",
        "infer": "980+990 1980+990 3040+990",
    }
    told = [run.model_copy(update={"facts": {"batches": batches, "images_per_joule": 3.5}}) for run in mixed]
    machines = [run.model_copy(update=of_machines(run, n)) for n in (1, 2) for run in mixed]
    known = {
        "trend": dates,
        "over_nodes": machines,
        "node_strips": machines,
        "transfer_sweep": copies,
        "copy_matrix": nodes,
        "layer_times": layers,
        "read_sweep": reads,
        "batch_sizes": [
            run.model_copy(update={"point": run.point | {"batch_size": b}}) for b in (8, 16) for run in mixed
        ],
        "comparison": frame,
        "scaling": several,
        "speedup": several,
        "timeline": told,
        "jpeg_or_tensors": [
            make_way("jpeg", 7100, {"read": 60_000, "decode": 7400, "infer": 11_000}),
            make_way("nvjpeg", 9800, {"read": 20_000, "decode": 11_500, "feed": 10_000, "infer": 11_000}),
            make_way("direct", 10_900, {"read": 46_000, "copy": 350_000, "infer": 11_000}),
        ],
        "energy": told,
    }
    return {**dict.fromkeys(RUN_CHARTS, mixed), **known}


SPECS: dict[str, Spec] = {}


@pytest.fixture
def specs(drawn: dict[str, Any]) -> Specs:
    """Give the spec of a chart by its name; each is put together, and held against its schema, once."""

    def spec(name: str) -> Spec:
        if name not in SPECS:
            SPECS[name] = spec_of(CHARTS[name](drawn[name]))
        return SPECS[name]

    return spec


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_is_drawn_offline_in_few_colours(name: str, drawn: dict[str, Any]) -> None:
    chart = CHARTS[name](drawn[name])
    assert not isinstance(chart, Nothing)
    bundle = chart_bundle(chart)
    assert json.dumps(bundle[VEGALITE_MIME], allow_nan=False)
    assert "v5" in bundle[VEGALITE_MIME]["$schema"]
    assert "url" not in json.dumps(bundle[VEGALITE_MIME])
    image = base64.b64decode(bundle["image/png"])
    picture = Image.open(io.BytesIO(image))
    assert picture.format == "PNG"
    assert 300 <= picture.width / SCALE <= WIDEST
    assert len(colours_of(image)) <= COLOURS
    assert len(image) < 40_000
    assert bundle["text/plain"].startswith(bundle[VEGALITE_MIME]["title"]["text"])
    assert "not for quoting" in bundle["text/plain"]


def test_of_a_chart_that_would_show_nothing_only_the_reason_is_displayed(published: CapturingDisplayPublisher) -> None:
    display_chart(Nothing("nothing to draw"))
    assert [output["data"] for output in published.outputs] == [{"text/plain": "nothing to draw"}]


def test_a_chart_is_displayed_as_one_bundle(make_run: MakeRun, published: CapturingDisplayPublisher) -> None:
    display_chart(CHARTS["ceilings"](make_run()))
    assert [set(output["data"]) for output in published.outputs] == [{VEGALITE_MIME, "image/png", "text/plain"}]


@pytest.mark.parametrize("name", CHARTS)
def test_without_anything_to_draw_a_chart_says_so(name: str) -> None:
    assert why(CHARTS[name](pd.DataFrame() if name == "comparison" else []))


@pytest.mark.parametrize(
    ("name", "channel", "field", "unit"),
    [
        ("throughput", "x", "value", "(images/s)"),
        ("ceilings", "x", "value", "(images/s)"),
        ("stage_times", "x", "p50", "(ms, logarithmic)"),
        ("time_series", "x", "t", "(s)"),
        ("time_series", "y", "value", "images/s"),
        ("transfer_sweep", "y", "value", "(GB/s)"),
        ("transfer_sweep", "x", "size", "bytes"),
        ("read_sweep", "y", "value", "(GB/s)"),
        ("read_sweep", "x", "threads", "threads"),
        ("comparison", "x", "value", "(images/s)"),
    ],
)
def test_axes_have_field_and_unit(name: str, channel: str, field: str, unit: str, specs: Specs) -> None:
    spec = specs(name)
    assert any(unit in title for title in titles(spec, channel))
    assert field in {encoding.get("field") for encoding in encodings(spec, channel)}


def test_a_stage_has_the_same_colour_everywhere(specs: Specs) -> None:
    for name in ("throughput", "ceilings", "stage_times", "comparison"):
        for encoding in encodings(specs(name), "color"):
            scale = encoding.get("scale", {})
            for stage, colour in zip(scale.get("domain", []), scale.get("range", []), strict=True):
                assert colour == STAGE_COLOURS.get(stage, NO_STAGE_COLOUR)


def test_every_stage_has_a_colour_of_its_own() -> None:
    assert set(STAGES) < set(STAGE_COLOURS) == set(CEILINGS)
    assert len({*STAGE_COLOURS.values(), NO_STAGE_COLOUR}) == len(CEILINGS) + 1


def test_few_colours_keep_those_of_the_stages(make_run: MakeRun) -> None:
    limits = {stage: Figure(images_per_s=60.0 + 5 * i) for i, stage in enumerate(CEILINGS)}
    found = colours_of(png(spec_of(CHARTS["throughput"]([make_run(58, ceilings=limits)]))))
    assert all(near(colour, found) for colour in STAGE_COLOURS.values())


def test_throughput_shows_figures_ceilings_and_verdicts(mixed: list[Run]) -> None:
    rows = rows_of(spec_of(CHARTS["throughput"](mixed)))
    notes = [row["note"] for row in rows if "note" in row]
    assert {"1,212 ± 12 of 1,300", "58.00 ± 0.58 of 60.3", "26.00 ± 0.26 of 27.0 · INVALID"} <= set(notes)
    beyond = [row for row in rows if row.get("kind") == "beyond"]
    assert ("copy", 39_000) in {(row["stage"], row["actual"]) for row in beyond}
    assert all(row["actual"] > row["value"] for row in beyond)


def test_each_network_has_an_axis_of_its_own_and_ceilings_are_not_bars(make_run: MakeRun, make_read: MakeRun) -> None:
    fast, slow = (make_run(point={"engine": name, "reader": "buffered"}) for name in ("null", "onnx"))
    spec = spec_of(CHARTS["throughput"]([make_read("buffered", 1, 16, 1e9), fast, slow]))
    assert [panel["title"]["text"] for panel in spec["vconcat"]] == [["onnx"], ["null"]]


def test_throughput_of_stages_without_images_is_a_bandwidth(make_copy: MakeRun) -> None:
    spec = spec_of(CHARTS["throughput"]([make_copy(1 << 20, "pinned", 5e9)]))
    assert titles(spec, "x") == {"throughput (GB/s)"}
    assert {row["value"] for row in rows_of(spec) if "note" in row} == {5.0}


def test_many_points_are_cut_to_the_best_and_the_cut_is_said(make_run: MakeRun) -> None:
    runs = [make_run(10 + n, point={"threads": n}) for n in range(frames.BARS + 7)]
    spec = spec_of(CHARTS["throughput"](runs))
    assert f"the best {frames.BARS}: {frames.BARS} of {len(runs)} points" in spec["description"]
    shown = {row["label"] for row in rows_of(spec) if "note" in row}
    assert shown == {f"threads {n}" for n in range(7, frames.BARS + 7)}


def test_the_bottleneck_stands_out(mixed: list[Run]) -> None:
    rows = rows_of(spec_of(CHARTS["ceilings"](mixed)))
    assert {(row["stage"], row["note"]) for row in rows if row["bottleneck"]} >= {("read", "1,300 · bottleneck")}
    assert "39,000 →" in {row["note"] for row in rows}
    assert {row["measured"] for row in rows} == {1212.0, 58.0, 26.0}


def test_ceilings_takes_a_single_run(make_run: MakeRun) -> None:
    assert len(rows_of(spec_of(CHARTS["ceilings"](make_run())))) == 2


def test_one_storage_alone_is_no_comparison(mixed: list[Run]) -> None:
    assert "two storages" in why(comparison(table(Stored(run, Path("a.ipynb")) for run in mixed)))


def test_one_stage_alone_is_no_limit_among_several(make_run: MakeRun) -> None:
    run = make_run(ceilings={"read": Figure(images_per_s=1300)})
    assert "two stages" in why(CHARTS["ceilings"](run))
    assert not isinstance(picture(headline([run]), [run]), Nothing)


@pytest.mark.parametrize("bins", [2, frames.BINS - 1, frames.BINS, frames.BINS + 1, 12_345])
def test_a_long_series_is_averaged_and_nothing_of_it_is_lost(bins: int, make_run: MakeRun) -> None:
    values = [float(i) for i in range(bins)]
    run = make_run(series={"images_per_s": Series(unit="images/s", values=list(values))})
    rows = [row for row in rows_of(spec_of(CHARTS["time_series"]([run]))) if row["kind"] == "bin"]
    step = -(-bins // frames.BINS)
    assert len(rows) == -(-bins // step)
    assert rows[0]["value"] == pytest.approx((step - 1) / 2)
    assert rows[-1]["t"] <= bins + step / 2


def test_warm_up_is_shaded_and_unknown_bins_stay_gaps(make_run: MakeRun) -> None:
    rows = rows_of(spec_of(CHARTS["time_series"]([make_run()])))
    assert [(row["t"], row["end"]) for row in rows if row["kind"] == "warm-up"] == [(0.0, 1.0)]
    assert [row["t"] for row in rows if row["kind"] == "bin" and row["value"] is None] == [2.5]


def test_a_run_without_two_known_bins_has_no_panel(make_run: MakeRun) -> None:
    none, dot = (make_run(series={"images_per_s": Series(unit="images/s", values=[None, v])}) for v in (None, 5.0))
    assert why(CHARTS["time_series"]([none, dot])) == "throughput over time: no run has two points of it"
    spec = spec_of(CHARTS["time_series"]([none, dot, make_run(point={"threads": 4})]))
    assert len({row["panel"] for row in rows_of(spec)}) == 1


def test_a_bandwidth_over_time_is_in_gigabytes(make_run: MakeRun) -> None:
    series = {"bytes_per_s": Series(unit="bytes/s", values=[2e9, None, 4e9])}
    spec = spec_of(CHARTS["time_series"]([make_run(series=series)], "bytes_per_s"))
    assert "bandwidth" in spec["title"]["text"]
    assert titles(spec, "y") == {"GB/s"}
    assert [row["value"] for row in rows_of(spec) if row["kind"] == "bin"] == [2.0, None, 4.0]


def test_readers_that_read_nothing_are_left_out_of_the_sweep_and_named(make_read: MakeRun) -> None:
    mapped = make_read("mapped", 1, 32, 1e9, measured=None)
    buffered = [make_read("buffered", n, 32, 1e9) for n in (1, 2)]
    spec = spec_of(CHARTS["read_sweep"]([*buffered, mapped]))
    assert {row["series"] for row in rows_of(spec)} == {"buffered"}
    assert "mapped: reads nothing" in spec["description"]
    assert "mapped: reads nothing" in why(CHARTS["read_sweep"]([mapped]))
    assert "mapped: reads nothing" in why(CHARTS["read_sweep"]([buffered[0], mapped]))


def test_a_copy_without_gpu_is_never_called_a_gpus(make_copy: MakeRun) -> None:
    host = Host.model_validate({"cpu": "x", "gpus": [{"index": 0, "name": "NVIDIA H100 80GB HBM3"}]})
    sizes = (1 << 20, 1 << 26)
    on_cpu, on_gpu = (
        [make_copy(size, "pinned", 5e10, device, host=host) for size in sizes] for device in ("cpu", "cuda")
    )
    spec = spec_of(CHARTS["transfer_sweep"](on_cpu))
    assert "host-to-host copy (no GPU)" in spec["description"]
    assert "H100" not in json.dumps(spec)
    spec = spec_of(CHARTS["transfer_sweep"](on_gpu))
    assert "host-to-device copy · NVIDIA H100" in spec["description"]
    assert "55.3 GB/s" in spec["description"]
    both = rows_of(spec_of(CHARTS["transfer_sweep"]([*on_cpu, *on_gpu])))
    assert len({row["link"] for row in both}) == 2


def test_gpus_lie_over_each_other_and_all_at_once_are_a_panel_of_their_own(make_copy: MakeRun) -> None:
    gpus = [{"index": k, "name": "NVIDIA H100 80GB HBM3"} for k in range(2)]
    host = Host.model_validate({"cpu": "x", "gpus": gpus})
    runs = [
        run.model_copy(update={"point": run.point | {"gpu": gpu}})
        for gpu in (0, 1, "0+1")
        for size in (1 << 20, 1 << 26)
        for run in [make_copy(size, memory, 5e10, "cuda", host=host) for memory in ("pinned", "mapped")]
    ]
    spec = spec_of(CHARTS["transfer_sweep"](runs))
    rows = rows_of(spec)
    assert {row["gpu"] for row in rows} == {"0", "1", "0+1"}
    assert {encoding["field"] for encoding in encodings(spec, "detail")} == {"gpu"}
    name = "host-to-device copy · NVIDIA H100 80GB HBM3"
    assert {row["link"].replace("\n", " ") for row in rows} == {name, f"{name} · GPUs 0+1 at once, sum"}
    assert {row["series"] for row in rows} == {"pinned", "mapped"}


def test_what_the_link_allows_is_a_line_across(make_copy: MakeRun) -> None:
    limit = {"link": Figure(bytes_per_s=63e9)}
    runs = [make_copy(size, "pinned", 5e10, "cuda", ceilings=limit) for size in (1 << 20, 1 << 26)]
    spec = spec_of(CHARTS["transfer_sweep"](runs))
    assert {row["ceiling"] for row in rows_of(spec) if "ceiling" in row} == {63.0}
    assert "dashed line: what the link allows" in spec["description"]


def test_copies_by_node_are_a_matrix_and_no_line_of_the_sweep(drawn: dict[str, Any]) -> None:
    rows = rows_of(spec_of(CHARTS["copy_matrix"](drawn["copy_matrix"])))
    cells = {(row["gpu"], row["node"]): row["text"] for row in rows}
    assert cells == {
        (f"gpu {gpu}", f"node {node}"): ("50 GB/s", "40 GB/s")[node] for gpu in range(4) for node in (0, 1)
    }
    both = spec_of(CHARTS["transfer_sweep"](drawn["transfer_sweep"] + drawn["copy_matrix"]))
    assert len(rows_of(both)) == len(drawn["transfer_sweep"])


def test_sweeps_mark_what_is_not_valid(make_copy: MakeRun, make_read: MakeRun) -> None:
    bad: dict[str, Any] = {"verdict": "FAILED", "failure": {"kind": "ReadError", "message": "x"}, "measured": None}
    cases: list[tuple[str, Callable[..., Run], list[tuple[object, ...]]]] = [
        ("transfer_sweep", make_copy, [(size, "pinned", 1e9) for size in (65536, 1 << 20, 1 << 22)]),
        ("read_sweep", make_read, [("direct", threads, 32, 1e9) for threads in (1, 2, 4)]),
    ]
    for name, make, (first, second, third) in cases:
        spec = spec_of(CHARTS[name]([make(*first), make(*second, verdict="INVALID"), make(*third, **bad)]))
        assert "1 of 3 points INVALID (triangle). 1 of 3 points FAILED (cross)" in spec["description"]
        shapes = [encoding["scale"] for encoding in encodings(spec, "shape")]
        assert shapes[0]["range"] == ["circle", "triangle-up", "cross"]


def test_peers_are_dashes_of_the_readers_colour(make_read: MakeRun) -> None:
    spec = spec_of(CHARTS["read_sweep"]([make_read("direct", n, 32, 1e9, fio=2e9) for n in (1, 2)]))
    peers = [row for row in rows_of(spec) if row["peer"]]
    assert {(row["threads"], row["value"], row["series"]) for row in peers} == {(n, 2.0, "direct") for n in (1, 2)}
    assert encodings(spec, "color")[0]["scale"]["domain"] == ["direct"]
    assert "short dash: fio psync, beside the line of its colour" in spec["description"]


def test_peers_of_copies_are_dashes_and_lacking_ones_are_told_once(make_copy: MakeRun) -> None:
    peer = Peer(name="nvbandwidth", figure=Figure(bytes_per_s=55e9), ratio=0.9)
    runs = [make_copy(1 << 26, "pinned", 5e10, "cuda", peers=[peer])]
    runs += [make_copy(n, "mapped", 5e10, "cuda", peers=[Peer(name="nvbandwidth", missing="why")]) for n in (64, 128)]
    spec = spec_of(CHARTS["transfer_sweep"](runs))
    ((dash,), rest) = ([row for row in rows_of(spec) if row["peer"] is wanted] for wanted in (True, False))
    assert (dash["size"], dash["series"], dash["value"]) == (1 << 26, "pinned", 55.0)
    assert len(rest) == 3
    assert spec["description"].count("nvbandwidth: why") == 1
    assert "short dash: nvbandwidth, beside the line of its colour" in spec["description"]


def test_the_devices_ceiling_is_a_line_across(make_read: MakeRun) -> None:
    device = Peer(name="device", figure=Figure(bytes_per_s=3e9))
    runs = [run.model_copy(update={"peers": [device]}) for run in (make_read("direct", n, 32, 1e9) for n in (1, 2))]
    spec = spec_of(CHARTS["read_sweep"](runs))
    assert {row["ceiling"] for row in rows_of(spec) if "ceiling" in row} == {3.0}
    assert "dashed line: the device's ceiling" in spec["description"]


def test_a_panel_shows_its_own_rows_alone(make_read: MakeRun) -> None:
    spec = spec_of(CHARTS["read_sweep"]([make_read("direct", 1, batch, 1e9) for batch in (128, 32)]))
    assert "data" in spec
    assert "data" not in spec["spec"]
    assert not any("data" in layer for layer in spec["spec"]["layer"])


def test_batch_sizes_are_panels_in_numeric_order(make_read: MakeRun) -> None:
    spec = spec_of(CHARTS["read_sweep"]([make_read("direct", 1, batch, 1e9) for batch in (128, 32, 1024)]))
    assert spec["facet"]["sort"] == ["batch size 32", "batch size 128", "batch size 1024"]


def test_comparison_takes_the_best_valid_point_of_each_storage(make_run: MakeRun) -> None:
    wrong = make_run(900, storage="nas", verdict="INVALID", reasons=["cache"])
    other = {"engine": "onnx", "model": "resnet18", "precision": "float32", "batch_size": 64}
    runs = [make_run(58), make_run(70, point=other), wrong, make_run(300, storage="nas")]
    rows = rows_of(spec_of(comparison(table(Stored(run, Path("a.ipynb")) for run in runs))))
    assert [(row["storage"], row["value"], row["stage"]) for row in rows] == [
        ("nas", 303.0, "infer"),
        ("shm", 70.0, "infer"),
    ]
    assert [(row["note"], row["low"], row["high"]) for row in rows] == [
        ("303.0 ± 3.0", pytest.approx(299.97), pytest.approx(306.03)),
        ("70.00 ± 0.70", pytest.approx(69.3), pytest.approx(70.7)),
    ]


def test_layers_beyond_the_longest_are_summed_up_and_no_time_is_lost(make_run: MakeRun) -> None:
    times = [[f"layer {k}", float(k)] for k in range(40)]
    rows = rows_of(spec_of(CHARTS["layer_times"]([make_run(facts={"layers_ms": times})])))
    assert sum(float(str(row["ms"])) for row in rows) == sum(range(40))
    assert rows[0]["layer"] == "1. layer 39"
    assert "15 others" in str(rows[-1]["layer"])


def test_no_name_is_cut_where_there_is_room(make_run: MakeRun) -> None:
    names = [f"{letter}_network_whose_name_somebody_made_as_long_as_a_whole_sentence_is" for letter in "ab"]
    runs = [make_run(58, point={"engine": "onnx", "model": name, "reader": "buffered"}) for name in names]
    for chart in (CHARTS["throughput"], CHARTS["ceilings"]):
        svg = vl_convert.vegalite_to_svg(spec_of(chart(runs)), vl_version="5.20", allowed_base_urls=[])
        assert "…" not in svg
        words = re.sub(r"<[^>]+>|\s", "", svg)  # a name that is longer than a line goes on in the next
        assert all(name in words for name in names)


def test_a_network_without_any_figure_has_no_panel_and_is_named(make_run: MakeRun, failed: Run) -> None:
    nothing: dict[str, Any] = {"ceilings": {}, "predicted": None, "measured": None}
    good = make_run(58, point={"engine": "null", "model": "", "precision": ""})
    bad = failed.model_copy(update={**nothing, "point": {"engine": "onnx", "model": "resnet50"}})
    spec = spec_of(CHARTS["throughput"]([good, bad]))
    assert "vconcat" not in spec
    assert "without a figure: onnx resnet50: FAILED: EngineError" in spec["description"]
    assert "FAILED: EngineError" in why(CHARTS["throughput"]([bad]))
