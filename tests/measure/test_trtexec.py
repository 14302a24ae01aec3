"""trtexec: the very plan that a point inferred with, the options that its version knows, and what it says."""

from pathlib import Path
from typing import Any

import pytest

from inferkit.engines.engine_cache import EngineFile
from inferkit.errors import PeerError
from inferkit.measure import trtexec
from inferkit.measure.trtexec import Program, Task, command, parse, program, run, task_of, words
from inferkit.records.job import DeviceOptions, Images, InferJob, InferOptions
from inferkit.records.place import Place
from inferkit.records.windows import Window
from tests.stand_ins import StandIn, stand_in

OPTIONS = "--noDataTransfers  Disable transfers\n--useSpinWait  Actively synchronize\n--useCudaGraph  Use a graph\n"
SUMMARY = """[11/26/2026-12:00:00] [I] TensorRT version: 10.16.0
[11/26/2026-12:00:05] [W] * Throughput may be bound by Enqueue Time rather than GPU Compute.
[11/26/2026-12:00:05] [I] === Performance summary ===
[11/26/2026-12:00:05] [I] Throughput: {0} qps
[11/26/2026-12:00:05] [I] Latency: min = 11.1 ms, max = 11.5 ms, mean = 11.2 ms, median = 11.2 ms
[11/26/2026-12:00:05] [I]   Throughput: the observed throughput computed by dividing the number of queries by …
&&&& PASSED TensorRT.trtexec [TensorRT v101600] [b72] # trtexec --loadEngine=plan
"""
REFUSED = """[11/26/2026-12:00:00] [W] Something else.
[11/26/2026-12:00:01] [E] Error[6]: IRuntime::deserializeCudaEngine: The engine plan file is not compatible
[11/26/2026-12:00:01] [E] Engine set up failed
"""
FACTS = {"library": "tensorrt", "version": "10.16.0.72", "engine": "from the cache", "input": "input"}
GPU = Place(gpus=(1,))


def banner(version: str, options: str = OPTIONS, name: str = "trtexec") -> str:
    return f"&&&& RUNNING TensorRT.{name} [TensorRT v{version}] [b72] # {name} --help\n=== Inference ===\n{options}"


def job_of(**changes: Any) -> InferJob:
    inference = InferOptions(engine="tensorrt", model="resnet50.onnx", contexts=2, cuda_graph=True)
    values: dict[str, Any] = {
        "device": DeviceOptions(kind="cuda", numbers=(1,)),
        "images": Images(dtype="uint8", shape=(3, 224, 224), batch_size=128),
        "inference": inference,
    }
    return InferJob(window=Window(warmup_s=0.5, duration_s=1.5), **values | changes)


def task(there: Program, **changes: Any) -> Task:
    values: dict[str, Any] = {
        "file": "resnet50.engine",
        "input": "input",
        "shape": (128, 3, 224, 224),
        "contexts": 2,
        "cuda_graph": True,
        "warmup_s": 0.5,
        "duration_s": 1.5,
        "place": GPU,
    }
    return Task(there, **values | changes)


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    found = stand_in(tmp_path, "trtexec", monkeypatch)
    found.answer(SUMMARY.format("178.5"), help_text=banner("101600"))
    return found


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EngineFile:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = EngineFile("resnet50", {"batch_size": 128})
    with file.locked():
        file.write(b"the plan")
    return file


@pytest.mark.parametrize(("number", "version"), [("101600", "10.16.0"), ("110100", "11.1.0"), ("8601", "8.6.1")])
def test_the_version_is_in_its_banner(there: StandIn, number: str, version: str) -> None:
    there.answer("", help_text=banner(number))
    assert program() == Program("trtexec", version, banner(number))


def test_the_very_plan_is_inferred_with(there: StandIn, engine: EngineFile, tmp_path: Path) -> None:
    plan = tmp_path / "seen"
    there.answer(
        SUMMARY.format("178.5"),
        help_text=banner("101600"),
        before=f'for part; do case $part in --loadEngine=*) cat "${{part#*=}}" > {plan};; esac; done',
    )
    asked = task_of(job_of(), {**FACTS, "file": engine.path.name}, GPU)
    assert run(asked) == 178.5 * 128
    assert run(asked) == 178.5 * 128
    assert plan.read_bytes() == b"the plan"
    assert all(call.startswith("PCI_BUS_ID 1 --loadEngine=/dev/fd/") for call in there.calls)
    told = words(asked)
    assert told.startswith(
        f"tail -c +17 {engine.path.name} > plan; CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES=1"
    )
    assert "trtexec --loadEngine=plan --shapes=input:128x3x224x224 --infStreams=2 --warmUp=500 --duration=1.5" in told
    assert told.endswith("# TensorRT 10.16.0")
    assert engine.path.read_bytes()[16:] == b"the plan"


@pytest.mark.parametrize(
    ("known", "graph", "asked"),
    [
        (OPTIONS, True, ["--noDataTransfers", "--useSpinWait", "--useCudaGraph"]),
        (OPTIONS, False, ["--noDataTransfers", "--useSpinWait"]),
        (OPTIONS + "--noCudaGraph", False, ["--noDataTransfers", "--useSpinWait", "--noCudaGraph"]),
        ("--includeDataTransfers --noSpinWait --noCudaGraph", True, []),
        ("--includeDataTransfers --noSpinWait --noCudaGraph", False, ["--noCudaGraph"]),
        ("--rtxCudaGraphStrategy=spec", True, ["--rtxCudaGraphStrategy=wholeGraph"]),
        ("--rtxCudaGraphStrategy=spec", False, ["--rtxCudaGraphStrategy=disable"]),
        (OPTIONS + "--allocationStrategy=spec", True, ["--noDataTransfers", "--useSpinWait", "--useCudaGraph"]),
    ],
)
def test_inference_alone_is_asked_for_in_the_words_that_a_version_knows(
    known: str, graph: bool, asked: list[str]
) -> None:
    assert command(task(Program("trtexec", "", known), cuda_graph=graph))[6:] == asked


def test_of_tensorrt_rtx_its_contexts_are_made_as_ours_are() -> None:
    known = OPTIONS + "--specializeStrategyDS=spec\n--allocationStrategy=spec"
    asked = command(task(Program("tensorrt_rtx", "1.4.0", known)))[6:]
    assert asked[2:] == ["--useCudaGraph", "--specializeStrategyDS=eager", "--allocationStrategy=profile"]


def test_a_figure_without_the_graph_that_was_asked_for_is_none(there: StandIn, engine: EngineFile) -> None:
    ignored = (
        "[W] The specified --useCudaGraph flag has been ignored. The model contains data dependent dynamic shapes\n"
    )
    there.answer(SUMMARY.format("178.5"), errors=ignored, help_text=banner("101600"))
    with pytest.raises(
        PeerError, match="trtexec captured no CUDA graph of this engine: compare with cuda_graph: false"
    ):
        run(task_of(job_of(), {**FACTS, "file": engine.path.name}, GPU))
    plain = job_of(inference=InferOptions(engine="tensorrt", model="resnet50.onnx", contexts=2))
    assert run(task_of(plain, {**FACTS, "file": engine.path.name}, GPU)) == 178.5 * 128


def test_tensorrt_rtx_has_a_trtexec_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, "tensorrt_rtx", monkeypatch).answer("", help_text=banner("10400", name="tensorrt_rtx"))
    facts = {**FACTS, "library": "tensorrt_rtx", "version": "1.4.0.76", "file": "f"}
    assert task_of(job_of(), facts, GPU).program[:2] == ("tensorrt_rtx", "1.4.0")


@pytest.mark.parametrize(
    ("facts", "gpus", "why"),
    [
        ({"library": "onnxruntime"}, (0,), "TensorRT alone, and the engine is"),
        ({}, (0,), "TensorRT alone"),
        (FACTS, (0,), "TensorRT alone"),  # of an older record, which names no file
        ({**FACTS, "file": "f"}, (0, 1), r"drives one GPU, and these are 2: set gpu_counts: \[1\]"),
        ({**FACTS, "file": "f", "version": "10.3.0.26"}, (0,), "of TensorRT 10.16.0, the engine of 10.3.0.26"),
        ({**FACTS, "file": "f", "version": "10.1.6"}, (0,), "of TensorRT 10.16.0, the engine of 10.1.6"),
    ],
)
def test_what_it_cannot_infer_is_said(facts: dict[str, str], gpus: tuple[int, ...], why: str, there: StandIn) -> None:
    with pytest.raises(PeerError, match=why):
        task_of(job_of(), facts, Place(gpus=gpus))
    assert not there.calls


def test_a_plan_of_ones_own_is_left_to_its_owner(there: StandIn) -> None:
    job = job_of(inference=InferOptions(engine="tensorrt", model="/models/mine.plan"))
    with pytest.raises(PeerError, match="one of your own: trtexec --loadEngine=FILE"):
        task_of(job, FACTS, GPU)
    assert not there.calls


def test_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PeerError, match="trtexec is not installed: put bin of TensorRT's tar file"):
        task_of(job_of(), {**FACTS, "file": "f"}, GPU)


def test_a_plan_that_is_gone_or_torn_is_said(there: StandIn, engine: EngineFile) -> None:
    asked = task_of(job_of(), {**FACTS, "file": engine.path.name}, GPU)
    engine.path.write_bytes(engine.path.read_bytes()[:-1])
    with pytest.raises(PeerError, match="torn or altered"):
        run(asked)
    engine.path.unlink()
    with pytest.raises(PeerError, match="no longer in the cache of engines"):
        run(asked)


def test_a_refused_plan_is_told_by_the_lines_that_are_errors(there: StandIn, engine: EngineFile) -> None:
    asked = task_of(job_of(), {**FACTS, "file": engine.path.name}, GPU)
    there.answer("[11/26/2026-12:00:00] [I] TensorRT version: 10.16.0\n", errors=REFUSED, code=1)
    with pytest.raises(PeerError, match=r"exit code 1: Error\[6\]: .* not compatible Engine set up failed$"):
        run(asked)


def test_one_that_hangs_is_ended(there: StandIn, engine: EngineFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trtexec, "GRACE_S", -1.8)
    asked = task_of(job_of(), {**FACTS, "file": engine.path.name}, GPU)
    there.answer("", before="exec sleep 60")
    with pytest.raises(PeerError, match="had not finished after"):
        run(asked)


@pytest.mark.parametrize(("told", "rate"), [("178.5", 178.5), ("1.23457e+06", 1.23457e6), ("9", 9.0)])
def test_batches_per_second_are_read(told: str, rate: float) -> None:
    assert parse(SUMMARY.format(told)) == rate


@pytest.mark.parametrize("output", ["", SUMMARY.format("0"), SUMMARY.format("nan"), "Throughput: fast"])
def test_no_result(output: str) -> None:
    with pytest.raises(PeerError, match="counted no batches"):
        parse(output)
