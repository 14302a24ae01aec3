"""Which points a chart shows: the best of each network, and a word on the others."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from inferkit.records.figures import Figure
from inferkit.records.host import Host
from inferkit.records.run import Run
from inferkit.report.charts.rows import ranked
from inferkit.report.labels import network_text, sort_key
from tests.report.conftest import MakeRun


def test_a_faster_network_leaves_no_other_out(make_run: MakeRun) -> None:
    slow = [make_run(10 + n, point={"engine": "onnx", "model": "vgg19", "threads": n}) for n in range(9)]
    fast = [make_run(900 + n, point={"engine": "onnx", "model": "mnist", "threads": n}) for n in range(9)]
    null = [make_run(9000 + n, point={"engine": "null", "threads": n}) for n in range(9)]
    kept, left_out = ranked([*null, *fast, *slow], 6)
    assert [run.point.get("model", "null") for run in kept] == ["mnist", "mnist", "vgg19", "vgg19", "null", "null"]
    assert [run.point["threads"] for run in kept] == [8, 7] * 3
    assert left_out == "the best 2 of each network: 6 of 27 points"


def test_nothing_is_said_where_nothing_is_left_out(make_run: MakeRun) -> None:
    runs = [make_run(10 + n, point={"threads": n}) for n in range(3)]
    assert ranked(runs, 3) == (runs[::-1], "")
    assert ranked([], 3) == ([], "")


ENGINES = st.sampled_from(["null", "onnx", "tensorrt"])
POINTS = st.tuples(ENGINES, st.sampled_from("abc"), st.floats(1, 1e6), st.sampled_from(["VALID", "INVALID"]))


@given(points=st.lists(POINTS, max_size=40), limit=st.integers(1, 20))
def test_every_network_keeps_its_best_point(points: list[tuple[str, str, float, str]], limit: int) -> None:
    about: dict[str, Any] = {"notebook": "03b", "measure": "pipeline", "host": Host()}
    runs = [
        Run(**about, point={"engine": engine, "model": model}, measured=Figure(images_per_s=rate), verdict=verdict)
        for engine, model, rate, verdict in points
    ]
    kept, left_out = ranked(runs, limit)
    assert {network_text(run) for run in kept} == {network_text(run) for run in runs}
    assert len(kept) <= max(limit, len({network_text(run) for run in runs}))
    assert bool(left_out) == (len(kept) < len(runs))
    for name in {network_text(run) for run in runs}:
        best = min((run for run in runs if network_text(run) == name), key=sort_key)
        assert sort_key(best) in [sort_key(run) for run in kept if network_text(run) == name]
    valid = {network_text(run) for run in runs if run.verdict == "VALID"}
    order = [(network_text(run) not in valid, run.point["engine"] == "null") for run in kept]
    assert order == sorted(order)
