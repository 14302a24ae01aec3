"""What is said of a run while it goes on."""

from pathlib import Path
from typing import Any

import pytest

from inferkit.cockpit.live import Live, printed, refusal
from tests.report.conftest import MakeRun


def progress(
    index: int = 0, *, note: str = "", machine: dict[str, float] | None = None, **latest: Any
) -> dict[str, Any]:
    live = {
        "index": index,
        "total": 3,
        "measure": "pipeline",
        "axes": {"reader": "direct", "threads": 4, "model": ""},
        "point_fraction": 0.5,
        "seconds_left": 12.4,
        "stopping": False,
        "note": note,
        "latest": {"images_per_s": 0.0, "bytes_per_s": 0.0, "batches": {}, "machine": machine or {}, **latest},
    }
    return {"event": "progress", "notebook": "03b", "fraction": 0.25, "text": "…", "live": live}


def test_a_point_under_way_is_told_in_words() -> None:
    live = Live()
    live.hear({"event": "planned", "storage": "nvme", "notebooks": ["03a", "03b"], "skipped": {}})
    for rate in (1000.0, 1200.0):
        batches = {"read": 3.0, "copy": 0.5, "infer": 0.0, "wait": 1.5}
        gpu = {"host_cpu": 0.83, "gpu1_busy": 0.97, "gpu1_power_w": 310.4, "gpu1_clock_hz": 1.755e9}
        live.hear(progress(images_per_s=rate, bytes_per_s=1e9, batches=batches, machine=gpu))
    html = live.moving()
    for words in (
        "03b one process, point 1 of 3: pipeline direct · threads 4 · at least 12 s left",
        "Throughput now: 1,200 images/s · 1 GB/s",
        'aria-label="Throughput of this point so far, from 1,000 to 1,200"',
        "Batches under way, on average: 5.0",
        "being read: 3.0 (60%)",
        "waiting between stages (the queue): 1.5 (30%)",
        "GPU 1: 97% busy · 310 W · 1.75 GHz",
        "All CPUs of this machine: 83% busy",
        'aria-valuenow="25"',
    ):
        assert words in html
    assert "being inferred" not in html
    assert live.status() == "Running notebooks 03a, 03b of nvme, results so far: 0"


def test_the_course_begins_anew_with_each_point_and_repeats_nothing() -> None:
    live = Live()
    for rate in (10.0, 10.0, 20.0):
        live.hear(progress(images_per_s=rate, batches={"read": 1.0, "wait": 0.0}))
    assert live.moving().count(",") > 2
    assert len(live._course) == 2
    live.hear(progress(1, images_per_s=30.0, batches={"read": 1.0, "wait": 0.0}))
    assert "<svg" not in live.moving()


@pytest.mark.parametrize("event", [progress(note="building an engine"), {**progress(), "live": None}])
def test_what_is_prepared_has_no_figures(event: dict[str, Any]) -> None:
    live = Live()
    live.hear(event)
    assert "03b one process" in live.moving()
    assert "Throughput" not in live.moving()


def test_results_stand_in_a_table_with_links_that_work_from_the_notebook(make_run: MakeRun) -> None:
    live = Live()
    run = make_run(storage="nvme")
    live.hear({"event": "record", "notebook": "03b", "run": run.to_dict()})
    live.hear({"event": "executed", "path": "/p/runs/nvme/now/03b.ipynb", "error": "Boom: <b>", "stopped": False})
    html = live.results(Path("/p/notebooks"))
    assert 'href="../runs/nvme/now/03b.ipynb"' in html
    assert "Boom: &lt;b&gt;" in html
    assert "VALID" in html
    assert live.verdicts() == "1 VALID"
    assert live.moving() == ""


def test_before_anything_is_told_there_is_nothing_to_tell() -> None:
    assert (Live().moving(), Live().results(Path()), Live().status()) == ("", "", "Starting")
    assert Live().verdicts() == "no results"


def test_what_was_printed_is_folded_unless_it_says_why_nothing_ran() -> None:
    assert printed("a < b", refused=False).startswith("<details")
    assert printed("a < b", refused=True) == "<pre>a &lt; b</pre>"


def test_a_refusal_names_the_field_and_not_how_it_came_to_the_command() -> None:
    words = "inferkit: standard input: data: /gone holds no data set"
    assert refusal(words) == "data: /gone holds no data set"
    assert refusal("cockpit (standard input): data set /d") == "cockpit (these parameters): data set /d"
