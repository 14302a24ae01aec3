"""The answer in one sentence: of what it is, what it names, and what it never says."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferkit.errors import RecordError
from inferkit.records.figures import Figure
from inferkit.records.host import Gpu, Host
from inferkit.records.run import STAGES, Peer, Run
from inferkit.records.wellformed import READS_NOTHING, check
from inferkit.report.answer import picture
from inferkit.report.charts.theme import Nothing
from inferkit.report.headline import LONGEST, counts, headline, machine_text, rival
from inferkit.report.points import points_table
from inferkit.report.screen import screen
from tests.report.conftest import MakeRun

H100 = Host(cpu="x", gpus=[Gpu(index=index, name="NVIDIA H100 80GB HBM3") for index in range(4)])
TENSORRT: dict[str, Any] = {"engine": "tensorrt", "model": "resnet50", "precision": "float16", "batch_size": 256}


def test_a_pipeline_tells_figure_network_storage_limit_and_room(make_run: MakeRun) -> None:
    sentence, run = headline([make_run(40), best := make_run(58)])
    assert run is best
    assert sentence == (
        "This server infers 58.00 ± 0.58 images/s (resnet18 float32 by onnx, batch 32) from shm (random images in "
        "memory); inference on the CPU is the bottleneck; reading could feed 22.0 times as many."
    )


@pytest.mark.parametrize(
    ("point", "bottleneck", "said"),
    [
        ({}, "infer", "the GPU is the bottleneck"),
        ({"gpus": 4}, "infer", "the GPUs are the bottleneck"),
        ({"gpu": "0+1"}, "infer", "the GPUs are the bottleneck"),
        ({}, "read", "the storage is the bottleneck"),
        ({}, "copy", "the link to the GPU is the bottleneck"),
        ({"gpus": 2}, "copy", "the link to the GPUs is the bottleneck"),
        ({}, "cpu", "the time of the CPU cores is the bottleneck"),
        ({}, "feed", "reading and copying at once is the bottleneck"),
        ({}, "device", "decoding and inference at once on one device is the bottleneck"),
        ({}, "out", "copying results back is the bottleneck"),
    ],
)
def test_the_limit_is_named_by_the_part_of_the_machine(
    point: dict[str, Any], bottleneck: str, said: str, make_run: MakeRun
) -> None:
    params = {"device": "cuda", "source": "storage", "data": "/mnt/nvme/imagenet"}
    ceilings = {bottleneck: Figure(images_per_s=60)}
    run = make_run(58, point=TENSORRT | point, params=params, ceilings=ceilings, bottleneck=bottleneck, storage="nvme")
    sentence = headline([run]).sentence
    assert said in sentence
    assert "from nvme" in sentence
    assert ("4 GPUs" in sentence) == (point.get("gpus") == 4)


@pytest.mark.parametrize(
    ("reader", "backend", "by"),
    [
        ("nvjpeg", "hardware", "the GPU's decoder"),
        ("nvjpeg", "cuda", "the GPU's cores"),
        ("jpeg", "", "the CPU's threads"),
    ],
)
def test_who_decodes_is_said(reader: str, backend: str, by: str, make_way: MakeRun) -> None:
    facts = {"decoders": [{"backend": backend}]} if backend else {}
    limited = make_way(reader, 58, {"read": 600, "decode": 60, "copy": 900, "infer": 300}, facts=facts)
    assert (
        f"decoding JPEG by {by} is the bottleneck; reading could feed 10.3 times as many."
        in headline([limited]).sentence
    )
    other = make_way(reader, 58, {"read": 600, "decode": 120, "copy": 900, "infer": 60}, facts=facts)
    room = f"reading could feed 10.3 times as many; decoding by {by} could feed 2.1 times as many."
    assert f"the GPU is the bottleneck; {room}" in headline([other]).sentence


@pytest.mark.parametrize(
    ("reader", "stages", "said"),
    [
        ("nvjpeg", ["read", "decode", "infer"], "reading and decoding at once"),
        ("jpeg", ["read", "decode", "copy", "infer"], "reading, decoding and copying at once"),
        ("direct", ["read", "copy", "infer"], "reading and copying at once"),
        ("mapped", ["copy", "infer"], "reading and copying at once"),
    ],
)
def test_what_is_done_at_once_is_named(reader: str, stages: list[str], said: str, make_way: MakeRun) -> None:
    run = make_way(reader, 58, {"feed": 60, **dict.fromkeys(stages, 900)})
    assert f"{said} is the bottleneck" in headline([run]).sentence


def test_ceilings_that_are_not_apart_are_both_named_and_no_room_is_told(make_run: MakeRun) -> None:
    ceilings = {name: Figure(images_per_s=60, half_width=0.01) for name in ("read", "infer")}
    sentence = headline([make_run(58, ceilings=ceilings)]).sentence
    assert "inference on the CPU or reading is the bottleneck" in sentence
    assert "times as many" not in sentence


def test_what_infers_goes_before_what_does_not(make_run: MakeRun) -> None:
    null = make_run(600, point={"engine": "null", "reader": "buffered"}, bottleneck="read")
    assert headline([null, make_run(58)]).sentence.startswith("This server infers 58.00")
    assert headline([null]).sentence.startswith(
        "This server streams 606.0 ± 6.1 images/s · 91.2 MB/s (to the CPU, no inference)"
    )
    invalid = make_run(58, verdict="INVALID", reasons=["served from memory"])
    sentence, run = headline([null, invalid])
    assert run is None
    assert sentence.startswith("No valid figure: the only point with inference is not VALID. 58.00 ± 0.58 images/s")
    assert sentence.endswith(
        "served from memory. Without inference, 606.0 ± 6.1 images/s stream from shm (random images in memory)."
    )


def test_what_could_not_be_planned_is_no_point(make_run: MakeRun) -> None:
    failure = {"kind": "ParameterError", "message": "memories: device cpu has no pinned memory"}
    run = make_run(measure="plan", verdict="FAILED", failure=failure, measured=None, point={})
    assert headline([run]).sentence == "Nothing was measured: memories: device cpu has no pinned memory."
    assert counts([run]) == ""


def test_points_of_another_kind_are_not_counted_with_those_of_the_answer(make_run: MakeRun, make_read: MakeRun) -> None:
    bad = make_read("direct", 1, 32, 1e9, verdict="INVALID", reasons=["x"])
    memory = make_run(measure="memory", point={"threads": 2})
    assert headline([bad, memory]).sentence.startswith("No valid figure: the only point of reading is not VALID. ")
    bad = make_run(26, verdict="INVALID", reasons=["x"])
    assert "none of 2 points with inference is VALID" in headline([bad, bad, memory]).sentence


def test_nothing_valid_is_said_with_the_reason(make_run: MakeRun, failed: Run) -> None:
    bad = make_run(26, verdict="INVALID", reasons=["served from memory"])
    sentence, run = headline([bad, failed])
    assert run is None
    assert sentence.startswith("No valid figure: none of 2 points is VALID. 26.00 ± 0.26 images/s")
    assert sentence.endswith("which is INVALID: served from memory.")
    assert "EngineError: out of memory" in headline([failed]).sentence
    assert counts([bad, failed, make_run(58)]) == "1 of 3 points VALID, 1 INVALID, 1 FAILED"
    assert counts([make_run(58)]) == ""


def test_a_reason_of_a_page_is_one_line_of_the_answer(make_run: MakeRun) -> None:
    failure = {"kind": "EngineError", "message": "no kernel\n\tfor this layer " * 200}
    sentence = headline([make_run(verdict="FAILED", failure=failure, measured=None)]).sentence
    assert "no kernel for this layer" in sentence
    assert "\n" not in sentence
    assert len(sentence) <= LONGEST + 1


def test_a_reader_that_reads_nothing_has_no_figure_and_is_not_called_invalid(make_read: MakeRun) -> None:
    run = make_read("mapped", 1, 32, 1e9, measured=None, warnings=[f"reader mapped {READS_NOTHING}"])
    sentence = headline([run]).sentence
    assert "reads nothing" in sentence
    assert "No valid figure" not in sentence


def test_a_noisy_machine_is_not_why_a_reader_reads_nothing(make_read: MakeRun) -> None:
    told = ["noisy: other programs had 66.6 % of the time", f"reader mapped {READS_NOTHING}: see its time per batch"]
    mapped = make_read("mapped", 1, 32, 1e9, measured=None, warnings=told)
    assert headline([mapped]).sentence.startswith("There is no figure: reader mapped reads nothing")
    bad = make_read("buffered", 1, 32, 1e9, verdict="INVALID", reasons=["unsteady"])
    sentence = headline([mapped, bad]).sentence
    assert sentence.startswith(
        "No valid figure: 1 of 2 points is not VALID. 6,640 ± 130 images/s · 1 GB/s was measured"
    )
    assert sentence.endswith("which is INVALID: unsteady.")


def test_points_that_are_not_apart_from_the_best_are_counted(make_run: MakeRun) -> None:
    best, near, far = (make_run(rate, point=TENSORRT | {"threads": n}) for n, rate in enumerate((58.0, 57.5, 40.0), 1))
    assert rival(best, [best, near, far]) == "no difference found to 1 other point of the same network"
    assert rival(best, [best, far]) == ""


def test_reads_name_reader_threads_and_peer(make_read: MakeRun) -> None:
    sentence = headline([make_read("direct", n, 32, n * 1e9, fio=4e9) for n in (1, 2)]).sentence
    assert sentence.startswith("This server reads 13,290 ± 270 images/s · 2 GB/s from shm")
    assert "(direct, 2 threads, batch 32)" in sentence
    assert "0.50 times what fio psync reads" in sentence


def test_a_reader_that_decodes_says_so(make_read: MakeRun, make_way: MakeRun) -> None:
    stages = make_way("jpeg", 58, {"read": 900, "decode": 60}).stages
    assert headline([make_read("jpeg", 2, 32, 1e9, stages=stages)]).sentence.startswith(
        "This server reads and decodes "
    )


def test_copies_name_the_gpu_or_that_there_is_none(make_copy: MakeRun) -> None:
    assert headline([make_copy(1 << 20, "pinned", 9e9)]).sentence.startswith("Copies within host memory reach 9.0")
    on_gpu = make_copy(1 << 26, "pinned", 5e10, "cuda", host=H100, ceilings={"link": Figure(bytes_per_s=63e9)})
    sentence = headline([on_gpu]).sentence
    assert "from host memory to NVIDIA H100 80GB HBM3 reach 50.00 ± 0.50 GB/s (pinned memory, 64 MiB each)" in sentence
    assert "the link allows 63" in sentence
    at_once = on_gpu.model_copy(update={"point": on_gpu.point | {"gpu": "0+1+2"}})
    assert "to 3 GPUs at once (NVIDIA H100 80GB HBM3)" in headline([at_once]).sentence
    back = on_gpu.model_copy(update={"point": on_gpu.point | {"direction": "out"}})
    assert "from NVIDIA H100 80GB HBM3 to host memory" in headline([back]).sentence
    slow = make_copy(1 << 20, "pinned", 1e10, "cuda", host=H100)
    assert headline([back, slow]).run is slow  # to the GPU is the question


def test_a_data_set_is_told_made_or_there(make_run: MakeRun) -> None:
    facts = {"images": 1234, "skipped": 2}
    made = make_run(notebook="01", measure="dataset", facts=facts)
    assert headline([made]).sentence.startswith("The data set of 1,234 images is made at 58.00 ± 0.58 images/s")
    assert headline([made]).sentence.endswith("; 2 files could not be used.")
    assert "were there already" in headline([made.model_copy(update={"measured": None})]).sentence


def test_a_machine_is_named_by_what_computes() -> None:
    host = Host(cpu="EPYC", threads=8, memory_bytes=1 << 34, gpus=H100.gpus)
    assert machine_text(host) == "4 × NVIDIA H100 80GB HBM3, EPYC, 8 CPUs, 16 GiB"
    assert machine_text(Host()) == "unknown machine"


RATES = st.one_of(st.none(), st.floats(min_value=0, max_value=1e12, allow_nan=False))
FIGURES = st.builds(
    Figure, images_per_s=RATES, bytes_per_s=RATES, half_width=st.one_of(st.none(), st.floats(min_value=0, max_value=3))
)
WORDS = st.text(alphabet="abz ·<&'\n", max_size=12)
AXES: dict[str, st.SearchStrategy[Any]] = {
    "engine": st.sampled_from(["null", "onnx", "tensorrt"]),
    "model": st.one_of(st.just("/data/net.onnx"), WORDS),
    "reader": st.sampled_from(["memory", "mapped", "direct"]),
    "device": st.sampled_from(["cpu", "cuda"]),
    "gpu": st.sampled_from([0, 7, "0+1"]),
    "node": st.integers(0, 1),
    "direction": st.sampled_from(["in", "out", "both"]),
    "threads": st.integers(0, 99),
    "gpus": st.integers(0, 8),
    "ranks": st.integers(1, 9),
    "batch_size": st.integers(1, 4096),
    "transfer_bytes": st.integers(1, 1 << 40),
    "cold": st.booleans(),
}
STAGE_NAMES = [*STAGES, "feed", "cpu", "memory", "link"]
RUNS = st.builds(
    Run,
    notebook=st.sampled_from(["01", "02", "03a", "03b", "03c", "99"]),
    measure=st.sampled_from(["pipeline", "read", "copy", "dataset", "memory", "infer", "other"]),
    storage=WORDS,
    profile=st.sampled_from(["demo", "quick", "mlperf"]),
    point=st.fixed_dictionaries({}, optional=AXES),
    params=st.fixed_dictionaries(
        {}, optional={"data": WORDS, "device": st.sampled_from(["cpu", "cuda"]), "source": st.just("storage")}
    ),
    host=st.sampled_from([Host(), H100]),
    measured=st.one_of(st.none(), FIGURES),
    predicted=st.one_of(st.none(), FIGURES),
    bottleneck=st.one_of(st.none(), st.sampled_from(STAGE_NAMES)),
    ceilings=st.dictionaries(st.sampled_from(STAGE_NAMES), FIGURES, max_size=4),
    verdict=st.sampled_from(["VALID", "INVALID", "FAILED"]),
    reasons=st.lists(WORDS, max_size=2),
    warnings=st.lists(WORDS, max_size=2),
    facts=st.fixed_dictionaries(
        {}, optional={"images": st.integers(0, 9), "skipped": st.sampled_from([0, 1, [], None])}
    ),
    peers=st.lists(st.builds(Peer, name=st.just("fio"), ratio=RATES), max_size=1),
)


def well_formed(run: Run) -> bool:
    try:
        check(run, run.to_dict())
    except RecordError:
        return False
    return True


@settings(max_examples=40)
@given(runs=st.lists(RUNS.filter(well_formed), max_size=4))
def test_any_records_have_an_answer_without_holes(runs: list[Run]) -> None:
    sentence, run = headline(runs)
    assert sentence.endswith(".")
    assert run is None or run.verdict == "VALID"
    table = points_table(runs)["text/plain"]
    for text in (sentence, table, screen(runs)):
        assert not {"None", "nan", "inf"} & set(text.replace("(", " ").replace(",", " ").split())
    chart = picture(headline(runs), runs)
    assert chart.why if isinstance(chart, Nothing) else chart.to_dict()
