"""A comparison in words: the answer first, 80 columns, no name cut, and HTML that survives without trust."""

import re

from hypothesis import given
from hypothesis import strategies as st

from inferkit.records.figures import Figure
from inferkit.report.compare import compare
from inferkit.report.side_by_side import View
from inferkit.text import plain
from tests.report.conftest import MakeRun
from tests.report.test_compare import POINT, rows_from, told


def test_the_answer_stands_first(make_run: MakeRun) -> None:
    null = {"engine": "null", "model": "", "precision": ""}
    runs = [
        make_run(58),
        make_run(58, storage="nvme"),
        make_run(1000, point=null, bottleneck="copy"),
        make_run(476, storage="nvme", point=null, bottleneck="read"),
    ]
    resnet, null_block, *_ = str(View(compare(rows_from(*runs)))).split("\n\n")[0].split("\nnull: ")
    assert " ".join(resnet.split()) == (
        "onnx resnet18 float32: no difference found between shm and nvme (0.0 ± 1.4 % apart), SAME within 5 %; "
        "infer is the bottleneck in both"
    )
    assert " ".join(null_block.split()) == (
        "shm is 2.104 ± 0.030 times faster than nvme; copy is the bottleneck of shm, read is the bottleneck of nvme"
    )


def test_a_side_tells_what_it_was_measured_with(make_run: MakeRun) -> None:
    point = {**POINT, "threads": 4, "batch_size": 256, "device": "cuda"}
    run = make_run(58, point=point, profile="quick", params={"contexts": 3}, started="2026-11-20T23:30:00-01:00")
    (line, *details) = str(View(compare(rows_from(run)))).split("\n\n")[1].splitlines()[1:]
    assert line.split() == ["–", "58.00", "±", "0.58", "n", "1", "shm"]
    assert details[0].strip().startswith("VALID · quick · 2026-11-21 · ")
    words = "onnx · resnet18 · float32 · buffered · threads 4 · batch size 256 · cuda · contexts 3"
    assert words in " ".join(" ".join(details).split())
    assert "96 % of the predicted 60.3" in told(run)


def test_what_must_stand_beside_a_figure_does(make_run: MakeRun) -> None:
    odd = "outputs: the same for 8 different images: does the network look at them?"
    text = told(make_run(58, warnings=[odd]), make_run(40, storage="nas"))
    assert odd in text
    assert "demo profile: not for quoting" in text
    assert "n = 1: how much runs differ" in text


def test_an_unknown_interval_is_no_difference(make_run: MakeRun) -> None:
    text = told(make_run(58), make_run(80, storage="nas", measured=Figure(images_per_s=80.0)))
    assert "no difference found between nas and shm (38 %, interval unknown apart), AMBIGUOUS" in text


names = st.text(st.characters(blacklist_categories=["Cs"]), max_size=120)


@given(names, names, st.floats(1e-3, 1e9), st.floats(0, 3))
def test_any_name_fits_and_none_is_cut(storage: str, model: str, rate: float, share: float) -> None:
    from inferkit.records.host import Host
    from inferkit.records.run import Run

    figure = Figure(images_per_s=rate, half_width=share)
    about = {"notebook": "03b", "measure": "pipeline", "verdict": "VALID", "host": Host(), "measured": figure}
    runs = [Run.model_validate(about | {"storage": name, "point": {"model": model}}) for name in (storage, "nvme")]
    view = View(compare(rows_from(*runs)))
    for line in str(view).split("\n"):
        assert len(line) <= 80 or max(map(len, line.split())) > 60, line
        assert plain(line) == line
    assert re.sub(r"\s", "", storage) in re.sub(r"\s", "", str(view)) or plain(storage).strip() != storage


def test_html_needs_no_trust(make_run: MakeRun) -> None:
    html = View(compare(rows_from(make_run(58, storage="<script>x</script>"), make_run(40)))).html()
    assert not set(re.findall(r"<(\w+)", html)) - {"ul", "li", "b", "p", "table", "thead", "tbody", "tr", "th", "td"}
    assert "class=" not in html
    for word in ("FASTER", "SLOWER", "batch size 32", "2026-", "demo", "&lt;script&gt;"):
        assert word in html
