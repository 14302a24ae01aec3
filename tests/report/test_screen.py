"""The answer of a terminal: columns, one block per storage, and what qualifies its figures."""

from inferkit.records.figures import Figure
from inferkit.records.run import Run
from inferkit.report.screen import screen
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
    assert max(map(len, lines)) == 100  # the long name is cut to the room that there is
    assert lines[0] == "nvme"
    assert "shm (demo profile: not for quoting)" in lines
    assert [line.split() for line in lines[3:4]] == [
        ["null", "–", "606.0", "±", "6.1", "624", "97", "%", "read", "640", "90,000", "1,200", "VALID"]
    ]
    assert any("onnx" in line and "resnet18 float32" in line and "60.3     96 %  infer" in line for line in lines)
    assert any("host-to-host copy (no GPU), pinned: peak 20 GB/s" in line for line in lines)
    assert any("    ! onnx · vgg19: FAILED: EngineError" in line for line in lines)
    assert any("a_network_with" in line and "…" in line for line in lines)
    assert any("INVALID: served from memory" in line for line in lines)


def test_a_screen_tells_of_the_ceilings_that_it_shows(make_run: MakeRun) -> None:
    ceiling = make_run(99, measure="infer", warnings=["unsteady"], point={"engine": "onnx"})
    other = make_run(99, measure="infer", warnings=["of no matter"], point={"engine": "null"})
    text = screen([ceiling, other, make_run(58, ceilings_from=[ceiling.id])])
    assert "! warning: infer · onnx: unsteady" in text
    assert "of no matter" not in text


def test_a_name_that_has_room_is_not_cut(make_run: MakeRun) -> None:
    name = "nineteen_characters"
    assert f"onnx    {name}  " in screen([make_run(58, point={"engine": "onnx", "model": name})])
