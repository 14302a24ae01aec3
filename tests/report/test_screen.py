"""The answer of a terminal: 80 columns, one block per storage, and what qualifies its figures."""

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from inferkit.records.figures import Figure
from inferkit.records.host import Host
from inferkit.records.run import Run
from inferkit.report.conclusion import conclude
from inferkit.report.screen import screen
from inferkit.text import COLUMNS
from tests.report.conftest import MakeRun


def test_screen_answers_per_storage(make_run: MakeRun, make_copy: MakeRun, make_read: MakeRun, failed: Run) -> None:
    limits = {"read": Figure(images_per_s=640), "copy": Figure(images_per_s=90_000), "infer": Figure(images_per_s=1200)}
    null = make_run(
        600, point={"engine": "null", "model": ""}, ceilings=limits, bottleneck="read", storage="nvme", profile="quick"
    )
    long = make_run(
        20, point={"engine": "onnx", "model": "a_network_with_a_very_long_name_indeed", "precision": "float16"}
    )
    reason = "served from memory " * 12
    bad = make_run(26, point={"engine": "onnx", "model": "resnet50"}, verdict="INVALID", reasons=[reason])
    copies = [make_copy(1 << n, "pinned", 1e9 * n) for n in (16, 20)]
    text = screen([null, *copies, make_read("direct", 2, 32, 1e9, fio=2e9), make_run(58), long, bad, failed])
    lines = text.splitlines()
    assert max(map(len, lines)) <= COLUMNS
    assert lines[0] == "nvme"
    assert "shm (demo profile: not for quoting)" in lines
    words = " ".join(text.split())
    for told in (
        "This server streams 606.0 ± 6.1 images/s · 91.2 MB/s (to the CPU, no inference)",
        "null: 606.0 ± 6.1 images/s, 97 % of 624, bottleneck read; VALID",
        "alone: read 640, copy 90,000, infer 1,200",
        "onnx resnet18 float32: 58.00 ± 0.58 images/s, 96 % of 60.3, bottleneck infer; VALID",
        "host-to-host copy (no GPU), pinned: peak 20 GB/s",
        "! pipeline · onnx · vgg19: FAILED: EngineError",
        "a_network_with_a_very_long_name_indeed float16",
        "INVALID: served from memory",
        "2 of 4 points VALID, 1 INVALID, 1 FAILED",
    ):
        assert told in words


def test_a_screen_tells_of_the_ceilings_that_it_shows(make_run: MakeRun) -> None:
    ceiling = make_run(99, measure="infer", warnings=["unsteady"], point={"engine": "onnx"})
    other = make_run(99, measure="infer", warnings=["of no matter"], point={"engine": "null"})
    text = screen([ceiling, other, make_run(58, ceilings_from=[ceiling.id])])
    assert "! warning: infer · onnx: unsteady" in text
    assert "of no matter" not in text


NAMES = st.text(alphabet=st.characters(codec="ascii", exclude_categories=("Z", "C")), min_size=1, max_size=70)


@given(model=NAMES, reader=NAMES, storage=NAMES, warning=st.lists(NAMES, max_size=9))
def test_nothing_is_wider_than_a_terminal_and_no_name_is_cut(
    model: str, reader: str, storage: str, warning: list[str]
) -> None:
    point = {"engine": "onnx", "model": model, "precision": "float16", "reader": reader, "batch_size": 8}
    about: dict[str, Any] = {"notebook": "03b", "measure": "pipeline", "storage": storage, "host": Host()}
    figure = Figure(images_per_s=1234.5, half_width=0.01)
    good = Run(**about, point=point, measured=figure, verdict="VALID", warnings=warning, profile="quick")
    bad = Run(**about, point=point | {"batch_size": 16}, verdict="INVALID", reasons=[reader], profile="quick")
    text = screen([good, bad])
    assert max(map(len, text.splitlines())) <= COLUMNS
    words = text.split()
    for name in (Path(model).stem, reader, storage):
        assert any(name in word for word in words)


def test_each_kind_of_warning_is_told_once_and_many_kinds_are_counted(make_run: MakeRun) -> None:
    same = [
        make_run(58, point={"threads": n}, warnings=[f"GPU {n} ran at {n}.5 GHz (asked: {n})"]) for n in range(1, 5)
    ]
    words = " ".join(
        screen([same[0].model_copy(update={"warnings": [f"kind {k * 'x'}" for k in range(1, 9)]})]).split()
    )
    assert "3 more kinds of warnings: see the notebook" in words
    assert "(4 points have one like it)" in str(conclude(same))
