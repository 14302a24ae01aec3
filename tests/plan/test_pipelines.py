"""Settings × networks × ways to read, under the rules of a grid."""

from pathlib import Path
from typing import Any

import pytest

from inferkit.dataset.synthetic import make_synthetic
from inferkit.errors import ParameterError
from inferkit.linux.page_cache import evict, resident_share
from inferkit.machine import decoding
from inferkit.models.agreement import NetworkPair
from inferkit.plan.assumed import Assumed
from inferkit.plan.context import context_of
from inferkit.plan.networks import Networks
from inferkit.plan.pipelines import HELD, InferChoice, infer_choices, pipeline_points
from inferkit.plan.points import Point
from inferkit.plan.settings import Setting, of_one_process
from inferkit.records.host import Gpu, Host
from inferkit.records.job import DeviceOptions, InferJob, InferOptions, PipelineJob, device_of, reading_of
from inferkit.records.params import MakeDataset, SingleProcess
from inferkit.records.place import Place
from tests.dataset.pictures import contents, folder_of

MODELS = ["sensor_net", "deep_mnist"]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    make_synthetic(MakeDataset(data=str(tmp_path / "tensors"), limit=12, shape=[1, 1, 784]))
    return str(tmp_path / "tensors")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, str]]:
    """Note which networks are asked for."""
    asked: list[tuple[str, str, str]] = []
    get = Networks.get

    def noted(networks: Networks, engine: str, model: str, precision: str) -> NetworkPair | None:
        asked.append((engine, model, precision))
        return get(networks, engine, model, precision)

    monkeypatch.setattr(Networks, "get", noted)
    return asked


def asked(data: str, **changes: Any) -> SingleProcess:
    return SingleProcess.check({"data": data, "engines": ["onnx"], "models": ["sensor_net"], **changes})


def planned(params: SingleProcess, settings: list[Setting] | None = None) -> list[Point]:
    return pipeline_points(context_of(params, None), settings or of_one_process(params))[0]


def pipelines(points: list[Point]) -> list[Point]:
    return [point for point in points if point.measure == "pipeline"]


def test_an_engine_that_infers_nothing_has_neither_model_nor_precision(data: str) -> None:
    params = asked(data, engines=["null", "onnx"], models=MODELS, precisions=["float32", "int8"])
    assert infer_choices(params) == [
        InferChoice("null", "", "", ""),
        InferChoice("onnx", "sensor_net", "float32", "sensor_net"),
        InferChoice("onnx", "sensor_net", "int8", "sensor_net"),
        InferChoice("onnx", "deep_mnist", "float32", "deep_mnist"),
        InferChoice("onnx", "deep_mnist", "int8", "deep_mnist"),
    ]


def test_points_tell_a_model_by_its_stem(data: str) -> None:
    (choice,) = infer_choices(asked(data, models=["/models/mine.v2.onnx"]))
    assert choice.axes["model"] == "mine.v2"


def test_rules_drop_combinations_before_networks_are_made(data: str, made: list[tuple[str, str, str]]) -> None:
    """Of two models the other could not even be made, and of two precisions the other is none of this engine."""
    rules = [{"when": {"model": "no_such_model"}, "skip": True}, {"when": {"precision": "fp8"}, "skip": True}]
    params = asked(data, models=["sensor_net", "no_such_model"], precisions=["float32", "fp8"], grid=rules)
    points, remarks = pipeline_points(context_of(params, None), of_one_process(params))
    assert set(made) == {("onnx", "sensor_net", "float32")}
    assert [point.axes["model"] for point in pipelines(points)] == ["sensor_net"]
    assert remarks == ("grid: 3 points of the product are left out",)


def test_rules_that_leave_nothing_make_no_network(data: str, made: list[tuple[str, str, str]]) -> None:
    with pytest.raises(ParameterError, match="its rules leave out all 2 points"):
        planned(asked(data, models=MODELS, grid=[{"skip": True}]))
    assert made == []


def test_a_wrong_rule_is_refused_before_a_network_is_made(data: str, made: list[tuple[str, str, str]]) -> None:
    with pytest.raises(ParameterError, match="did you mean 'model'"):
        planned(asked(data, grid=[{"when": {"modle": "x"}, "skip": True}]))
    assert made == []


def test_ceilings_of_what_rules_leave_out_are_not_measured(data: str) -> None:
    rules = [{"when": {"batch_size": 4, "threads": 2}, "skip": True}, {"when": {"batch_size": 2}, "skip": True}]
    points = planned(asked(data, batch_sizes=[2, 4], threads=[1, 2], grid=rules))
    assert [(point.measure, point.axes["batch_size"], point.axes.get("threads")) for point in points] == [
        ("read", 4, 1),
        ("copy", 4, None),
        ("feed", 4, 1),
        ("infer", 4, None),
        ("pipeline", 4, 1),
    ]


def test_rules_change_the_windows_of_pipelines_and_not_of_their_ceilings(data: str) -> None:
    rules = [{"when": {"batch_size": 4}, "set": {"batches": 50, "repeats": 7, "warmup_s": 2.5}}]
    points = planned(asked(data, batch_sizes=[2, 4], grid=rules))
    changed = [point for point in pipelines(points) if point.axes["batch_size"] == 4]
    assert {(p.job.window.images, p.job.window.repeats, p.job.window.warmup_s) for p in changed} == {(200, 7, 2.5)}
    assert {p.job.window.images for p in points if p not in changed} == {0}


@pytest.mark.parametrize(
    ("rule", "left"),
    [
        ({"when": {"gpus": 2}, "skip": True}, [1, 3]),
        ({"when": {"gpus": [1, 3]}, "skip": True}, [2]),
        ({"when": {"ranks": 1, "gpus": 1}, "skip": True}, [2, 3]),
    ],
)
def test_one_process_is_one_rank_and_rules_know_how_many_gpus_it_feeds(
    data: str, rule: dict[str, Any], left: list[int]
) -> None:
    settings = [Setting(DeviceOptions(kind="cuda", numbers=tuple(range(gpus))), {"gpu": gpus}) for gpus in (1, 2, 3)]
    points = pipelines(planned(asked(data, engines=["null"], grid=[rule]), settings))
    assert [point.axes["gpu"] for point in points] == left


def test_rules_know_the_ranks_of_a_setting_and_all_its_gpus(data: str) -> None:
    two = (Place(rank=0, ranks=2, gpus=(0, 1)), Place(rank=1, ranks=2, gpus=(2, 3)))
    settings = [
        Setting(DeviceOptions(kind="cuda"), {"device": "cuda", "gpus": 4, "ranks": 2}, two),
        Setting(DeviceOptions(), {"device": "cpu", "ranks": 1}, (Place(),)),
    ]
    rules = [{"skip": True}, {"when": {"gpus": 4, "ranks": 2}, "skip": False, "set": {"batches": 10}}]
    (point,) = pipelines(planned(asked(data, engines=["null"], batch_sizes=[3], grid=rules), settings))
    assert point.axes["ranks"] == 2
    assert [job.window.images for job in point.jobs] == [10 * 3 * 2] * 2  # of each rank, on both of its GPUs


def test_every_point_of_a_pipeline_reads_and_infers_the_same_images(data: str) -> None:
    params = asked(data, batch_sizes=[3], slots=5, engine_threads=2, overlap=False)
    read, copy, feed, infer, pipeline = planned(params)
    assert pipeline.ceilings == {"read": read, "copy": copy, "feed": feed, "infer": infer}
    assert isinstance(feed.job, PipelineJob)
    assert feed.job.inference == InferOptions(slots=5)
    assert (feed.job.reading, feed.job.overlap) == (reading_of(pipeline.job), False)
    assert isinstance(copy.job, PipelineJob)
    assert isinstance(infer.job, InferJob)
    assert isinstance(pipeline.job, PipelineJob)
    assert infer.network is pipeline.network is not None
    assert infer.job.inference == pipeline.job.inference
    assert (pipeline.job.inference.slots, pipeline.job.inference.threads, pipeline.job.overlap) == (5, 2, False)
    assert pipeline.job.inference.model == str(pipeline.network.file.path)
    assert infer.job.images.model_dump() == {"dtype": "uint8", "shape": (1, 1, 784), "batch_size": 3}
    assert (copy.job.reading.reader, copy.job.reading.folder, copy.job.overlap) == ("memory", "", False)
    assert (copy.job.inference.engine, copy.job.inference.slots, copy.network) == ("null", 5, None)
    assert (pipeline.job.reading.reader, pipeline.job.reading.folder) == ("buffered", data)


@pytest.mark.parametrize("engines", [["null", "onnx"], ["onnx", "null"]])
def test_a_pipeline_without_a_network_is_the_feed_of_those_that_have_one(data: str, engines: list[str]) -> None:
    points = planned(asked(data, batch_sizes=[3], threads=[1, 2], engines=engines))
    assert sorted(point.measure for point in points) == ["copy", "infer", *["pipeline"] * 4, "read", "read"]
    null = {point.axes["threads"]: point for point in points if point.axes.get("engine") == "null"}
    onnx = {point.axes["threads"]: point for point in points if "feed" in point.ceilings}
    assert {threads: point.ceilings["feed"] for threads, point in onnx.items()} == null
    assert max(points.index(point) for point in null.values()) < min(points.index(point) for point in onnx.values())


def test_images_in_memory_have_no_feed_but_the_copy(data: str) -> None:
    points = planned(asked(data, batch_sizes=[3], readers=["memory"]))
    assert [point.measure for point in points] == ["copy", "infer", "pipeline"]


def test_contexts_are_a_gpu_s(data: str) -> None:
    (*_, point) = planned(asked(data, contexts=3))
    assert isinstance(point.job, PipelineJob)
    assert point.job.inference.contexts == 1


def test_copies_alone_have_as_many_batches_under_way_as_the_pipeline(data: str) -> None:
    on_a_gpu = [Setting(DeviceOptions(kind="cuda"))]
    (point,) = pipelines(planned(asked(data, engines=["null"], device="cuda", contexts=3, slots=2), on_a_gpu))
    copy = point.ceilings["copy"].job
    assert isinstance(point.job, PipelineJob)
    assert isinstance(copy, PipelineJob)
    for job in (copy, point.job):
        assert (job.inference.contexts, job.inference.slots) == (3, 2)


def test_files_that_are_used_where_they_lie_and_are_cold_must_be_read_first(data: str) -> None:
    def ceilings(state: str, **changes: Any) -> dict[str, Point]:
        for path in Path(data).glob("*.tensors"):
            evict(path) if state == "cold" else path.read_bytes()
        if state == "cold" and resident_share(Path(data).glob("*.tensors")):
            pytest.skip("the pages of files cannot be dropped here")
        return pipelines(planned(asked(data, engines=["null"], readers=["mapped"], **changes)))[0].ceilings

    read = ceilings("cold")["read"]
    reading = reading_of(read.job)
    assert reading is not None
    assert (reading.reader, reading.threads, reading.evict) == ("buffered", 1, True)
    assert (read.axes["reader"], read.axes["cold"]) == ("buffered", True)
    assert set(ceilings("warm")) == {"copy"}


NVJPEG = ["nvjpeg", "nvjpeg-direct", "nvjpeg-uring"]
GPU = [Setting(DeviceOptions(kind="cuda"), {"device": "cuda", "gpu": 0})]


@pytest.fixture
def photographs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Photographs and their tensors, and a library that decodes on a GPU."""
    monkeypatch.setattr(decoding, "installed", lambda names: {names[0]: "13"})
    make_synthetic(MakeDataset(data=str(tmp_path / "tensors"), limit=12, shape=[3, 32, 32]))
    return {
        "data": str(tmp_path / "tensors"),
        "images": str(folder_of(tmp_path / "photographs", 3)),
        "size": 32,
        "device": "cuda",
        "engines": ["null"],
        "batch_sizes": [3],
        "readers": NVJPEG,
    }


def test_readers_whose_files_the_device_decodes_share_what_is_behind_reading(photographs: dict[str, Any]) -> None:
    points = planned(SingleProcess.check(photographs), GPU)
    assert [point.measure for point in points] == ["read", "decode", "copy", "read", "read", *["pipeline"] * 3]
    alone = [point.ceilings for point in pipelines(points)]
    assert [list(own) for own in alone] == [["read", "decode", "copy"]] * 3
    assert len({id(own["decode"]) for own in alone}) == len({id(own["copy"]) for own in alone}) == 1
    assert [own["read"].axes["reader"] for own in alone] == NVJPEG


def test_decoding_alone_is_of_files_that_are_in_memory_already(photographs: dict[str, Any]) -> None:
    settings = [Setting(DeviceOptions(kind="cuda", numbers=(0, 1)), {"device": "cuda", "gpu": "0+1"})]
    params = SingleProcess.check({**photographs, "readers": ["nvjpeg-direct"], "decoders": 2, "slots": 3})
    (point,) = pipelines(planned(params, settings))
    decode = point.ceilings["decode"]
    assert isinstance(decode.job, PipelineJob)
    assert isinstance(point.job, PipelineJob)
    reading = decode.job.reading
    assert (reading.reader, reading.held, reading.decoders) == ("nvjpeg", 2 * HELD, 2)
    assert (point.job.reading.reader, point.job.reading.held, point.job.reading.decoders) == ("nvjpeg-direct", 0, 2)
    assert reading.folder == point.job.reading.folder == photographs["images"]
    assert decode.job.inference.slots == point.job.inference.slots == 4  # one more for the second decoder
    assert decode.axes == {"device": "cuda", "gpu": "0+1", "batch_size": 3}


def test_what_is_copied_are_the_files_as_they_are(photographs: dict[str, Any]) -> None:
    sizes = [len(data) for data in contents(Path(photographs["images"])).values()]
    points = planned(SingleProcess.check({**photographs, "readers": ["nvjpeg", "buffered", "jpeg"]}), GPU)
    copies = {str(point.axes["reader"]): point.ceilings["copy"] for point in pipelines(points)}
    encoded, decoded = copies["nvjpeg"], copies["buffered"]
    assert copies["jpeg"] is decoded
    assert encoded.axes["image_bytes"] == sum(sizes) // len(sizes)
    assert "image_bytes" not in decoded.axes
    shapes = [point.job.reading.shape for point in (encoded, decoded) if isinstance(point.job, PipelineJob)]
    assert shapes == [(sum(sizes) // len(sizes),), (3, 32, 32)]
    assert not [point for point in pipelines(points) if "decode" in point.ceilings and point.axes["reader"] != "nvjpeg"]


def test_a_network_s_feed_is_all_but_the_network(photographs: dict[str, Any]) -> None:
    params = SingleProcess.check({**photographs, "engines": ["onnx"], "models": ["resnet18"], "readers": ["nvjpeg"]})
    points, _ = pipeline_points(context_of(params, None, Assumed()), GPU)
    (point,) = pipelines(points)
    assert list(point.ceilings) == ["read", "decode", "copy", "feed", "infer", "device"]
    feed = point.ceilings["feed"].job
    assert isinstance(feed, PipelineJob)
    assert (feed.reading, feed.inference.engine) == (reading_of(point.job), "null")
    decode, at_once = point.ceilings["decode"].job, point.ceilings["device"].job
    assert isinstance(at_once, PipelineJob)
    assert isinstance(point.job, PipelineJob)
    assert (at_once.reading, at_once.inference) == (reading_of(decode), point.job.inference)
    assert point.ceilings["device"].network is point.network


def test_a_device_or_a_machine_that_cannot_decode_is_refused(
    photographs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    params = SingleProcess.check(photographs)
    with pytest.raises(ParameterError, match=r"readers: nvjpeg, nvjpeg-direct, nvjpeg-uring .* device is cpu"):
        planned(SingleProcess.check({**photographs, "device": "cpu"}))
    monkeypatch.setattr(decoding, "installed", lambda names: {})
    monkeypatch.setattr(decoding, "find_library", lambda name: None)
    with pytest.raises(ParameterError, match=r"pip install 'inferkit\[nvjpeg\]'; reader jpeg needs neither"):
        planned(params, GPU)
    points, _ = pipeline_points(context_of(params, None, Assumed()), GPU)  # a dry run plans for another machine
    assert len(pipelines(points)) == 3


def test_what_reads_to_a_device_is_copied_from_no_host(
    photographs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inferkit.machine.direct_storage.find_spec", lambda name: True)
    monkeypatch.setattr("inferkit.plan.reading.facts", lambda: Host(gpus=[Gpu(index=0, name="GPU")]))
    points = planned(SingleProcess.check({**photographs, "readers": ["gds", "buffered"]}), GPU)
    alone = {str(point.axes["reader"]): point.ceilings for point in pipelines(points)}
    assert {reader: list(own) for reader, own in alone.items()} == {"gds": ["read"], "buffered": ["read", "copy"]}
    assert device_of(alone["gds"]["read"].job) == GPU[0].device
    assert device_of(alone["buffered"]["read"].job) is None
    with pytest.raises(ParameterError, match=r"gds delivers to the memory of one GPU, but device is cpu"):
        planned(SingleProcess.check({**photographs, "readers": ["gds"], "device": "cpu"}))
