from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inferkit.dataset.synthetic import make_synthetic
from inferkit.dataset.tensors import Dataset
from inferkit.devices.base import Device
from inferkit.engines.onnx import OnnxEngine
from inferkit.errors import DatasetError, DeviceError, ParameterError, RankError, ReadError
from inferkit.pipeline import workloads
from inferkit.pipeline.workloads import WORKLOADS
from inferkit.records.job import (
    CopyJob,
    DeviceOptions,
    Images,
    InferJob,
    InferOptions,
    Job,
    PipelineJob,
    ReadJob,
    ReadOptions,
)
from inferkit.records.outcome import Outcome
from inferkit.records.params import MakeDataset
from tests.dataset.pictures import folder_of
from tests.devices.decoding import DecodingDevice
from tests.engines.conftest import MakeModel
from tests.kvikio_stand_in import StorageDevice, install
from tests.pipeline.conftest import SHORT, begin

SHAPE = (3, 5, 7)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return make_synthetic(
        MakeDataset(data=str(tmp_path / "data"), limit=40, shape=list(SHAPE), images_per_file=15)
    ).dataset


def reading(dataset: Dataset, reader: str = "buffered", **changes: Any) -> ReadOptions:
    values = {"reader": reader, "folder": str(dataset.folder), "dtype": "uint8", "shape": SHAPE, "batch_size": 4}
    return ReadOptions(**values | {"verify_batches": 3} | changes)


def pipeline(options: ReadOptions, device: str = "cpu", **inference: Any) -> PipelineJob:
    return PipelineJob(
        window=SHORT, device=DeviceOptions(kind=device), reading=options, inference=InferOptions(**inference)
    )


def run(job: Job) -> Outcome:
    return WORKLOADS[job.work](job, begin(job))


def done(job: Job) -> Outcome:
    outcome = run(job)
    assert [repeat.warmup for repeat in outcome.repeats] == [True, False, False]
    assert all(repeat.batches and repeat.images == 4 * repeat.batches for repeat in outcome.repeats[1:])
    assert all(repeat.nbytes == 105 * repeat.images for repeat in outcome.repeats)
    assert 0 <= outcome.facts["pauses"]["stood_s"] <= sum(repeat.seconds for repeat in outcome.repeats)
    return outcome


@pytest.mark.parametrize("reader", ["buffered", "mapped"])
@pytest.mark.parametrize("split", ["uniform", "all"])
def test_read(dataset: Dataset, reader: str, split: str) -> None:
    outcome = done(ReadJob(window=SHORT, reading=reading(dataset, reader, threads=2, split=split)))
    assert outcome.facts["verified_images"] == 12
    assert outcome.facts["storage"]["delivered_bytes"] == sum(repeat.nbytes for repeat in outcome.repeats)
    assert list(outcome.stages) == ["read"]
    assert outcome.stages["read"].workers == 2
    histogram = outcome.stages["read"].histogram
    assert histogram is not None
    assert sum(histogram.counts) == sum(repeat.batches for repeat in outcome.repeats[1:])
    rates = (outcome.stages["read"].images_per_s, outcome.stages["read"].bytes_per_s)
    if reader == "mapped":  # it reads nothing
        assert (rates, outcome.series) == ((None, None), {})
    else:
        assert None not in rates
        assert set(outcome.series) == {"images_per_s"}


@pytest.mark.parametrize("reader", ["buffered", "mapped"])
def test_pipeline_with_an_engine(dataset: Dataset, make_model: MakeModel, reader: str) -> None:
    outcome = done(pipeline(reading(dataset, reader), engine="onnx", model=make_model(), threads=1))
    assert list(outcome.stages) == (["read"] if reader == "buffered" else []) + ["copy", "infer"]
    assert outcome.facts["engine"]["library"] == "onnxruntime"
    assert outcome.facts["verified_images"] == 12
    assert outcome.facts["outputs"] == {
        "different_images": 4,
        "different_outputs": 4,
        "repeat_difference": 0.0,
        "place_difference": 0.0,
        "unseen_parts": 0,
    }
    assert not [text for text in outcome.warnings if text.startswith("outputs")]


def test_outputs_that_ignore_the_images_are_told(
    dataset: Dataset, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OnnxEngine, "output", lambda engine, slot: np.ones((4, 2), np.float32))
    infers: dict[str, Any] = {"engine": "onnx", "model": make_model(), "threads": 1}
    told = run(pipeline(reading(dataset), **infers)).warnings  # a busy machine adds its own
    assert "outputs: the same for 4 different images: does the network look at them?" in told
    unseen = run(pipeline(reading(dataset, verify_batches=0), **infers)).warnings
    assert not [text for text in unseen if text.startswith("outputs")]


def test_pipeline_without_an_engine_has_no_infer(dataset: Dataset) -> None:
    outcome = done(pipeline(reading(dataset), slots=1).changed(overlap=False))
    assert list(outcome.stages) == ["read", "copy"]
    assert "engine" not in outcome.facts


def test_pipeline_of_images_in_memory() -> None:
    outcome = done(pipeline(ReadOptions(dtype="uint8", shape=SHAPE, batch_size=4, verify_batches=3)))
    assert list(outcome.stages) == ["copy"]
    assert outcome.facts["verified_images"] == 0
    assert "storage" not in outcome.facts


def test_infer(make_model: MakeModel) -> None:
    images = Images(dtype="uint8", shape=SHAPE, batch_size=4)
    inference = InferOptions(engine="onnx", model=make_model(), threads=1)
    outcome = done(InferJob(window=SHORT, device=DeviceOptions(), images=images, inference=inference))
    assert list(outcome.stages) == ["infer"]
    busy = outcome.stages["infer"].busy
    assert busy is not None
    assert 0 < busy <= 1


def test_copy() -> None:
    outcome = run(CopyJob(window=SHORT, device=DeviceOptions(), nbytes=10_000, host_memory="pageable"))
    assert outcome.repeats[1].images == 0
    assert outcome.repeats[1].nbytes == 10_000 * outcome.repeats[1].batches
    assert list(outcome.stages) == ["copy"]


def test_direct_says_its_block(dataset: Dataset) -> None:
    try:
        outcome = done(ReadJob(window=SHORT, reading=reading(dataset, "direct")))
    except ReadError as error:
        pytest.skip(str(error))
    assert set(outcome.facts["reader"]) == {"block", "block_known_by", "proved_by"}
    assert outcome.facts["storage"]["from_storage"] is None or outcome.facts["storage"]["from_storage"] > 0.9


def test_altered_image_fails_the_run(dataset: Dataset) -> None:
    with dataset.path(0).open("r+b") as file:
        file.write(bytes(range(50)))
    with pytest.raises(ReadError, match=r"image 0 \(.*images-00000.tensors\) did not arrive as it was made"):
        run(pipeline(reading(dataset)))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"folder": "/nowhere"}, DatasetError, "/nowhere is not a folder"),
        ({"reader": "mmap"}, ParameterError, "'mmap' is none: use memory, buffered, direct, uring, mapped, jpeg"),
        ({"split": "random"}, ParameterError, "'random'"),
        ({"host_batches": 3, "batch_size": 1 << 46}, DeviceError, "lower host_batches or batch_sizes"),
    ],
)
def test_what_cannot_be_read_says_why(
    dataset: Dataset, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        run(ReadJob(window=SHORT, reading=reading(dataset).changed(**changes)))


@pytest.mark.parametrize(
    ("changes", "message"), [({"device": "tpu"}, "'tpu'"), ({"engine": "caffe"}, "'caffe' is none")]
)
def test_a_device_and_an_engine_that_there_are_not_say_so(
    dataset: Dataset, changes: dict[str, str], message: str
) -> None:
    with pytest.raises(ParameterError, match=message):
        run(pipeline(reading(dataset), **changes))


def test_memory_that_the_device_has_not_is_told() -> None:
    with pytest.raises(DeviceError, match="no 'pinned' memory"):
        run(CopyJob(window=SHORT, device=DeviceOptions(), nbytes=10, host_memory="pinned"))


def test_reading_that_ends_early_has_no_figure(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inferkit.pipeline.source.split", lambda *arguments, **options: [[]])
    with pytest.raises(RankError, match="ended after 0 of 3 windows"):
        run(ReadJob(window=SHORT, reading=reading(dataset)))


SIZE = 8


@pytest.fixture
def photographs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ReadOptions:
    """Photographs, and devices that decode."""

    def opened(kind: str, number: int = 0) -> Device:
        return DecodingDevice()

    monkeypatch.setattr(workloads, "open_device", opened)
    folder = folder_of(tmp_path / "photographs", 5)
    return ReadOptions(reader="nvjpeg", folder=str(folder), dtype="uint8", shape=(3, SIZE, SIZE), batch_size=4)


def decoded(job: PipelineJob) -> Outcome:
    outcome = run(job)
    assert all(repeat.images == 4 * repeat.batches for repeat in outcome.repeats[1:])
    assert outcome.facts["reader"]["files_seen"] == 5
    assert outcome.facts["reader"]["files_in_software"] == {}
    return outcome


def test_a_device_that_decodes_has_decode_for_its_copy(photographs: ReadOptions) -> None:
    outcome = decoded(pipeline(photographs.changed(threads=2, verify_batches=2)))
    assert list(outcome.stages) == ["read", "decode"]
    assert (outcome.stages["read"].workers, outcome.stages["decode"].workers) == (2, 1)
    assert set(outcome.facts["batches"]) == {"read", "decode"}
    (decoder,) = outcome.facts["decoders"]
    assert decoder["backend"] == "hardware"
    assert decoder["decoded"] >= sum(repeat.images for repeat in outcome.repeats)
    assert sum(own["images"] for own in outcome.facts["pixels"].values()) == 5
    assert {own["mean"] for own in outcome.facts["pixels"].values()} == {0.0}
    encoded = outcome.repeats[1].nbytes / outcome.repeats[1].images
    assert encoded != 3 * SIZE * SIZE  # the files as they are


def test_decoding_alone_reads_nothing(photographs: ReadOptions) -> None:
    outcome = decoded(pipeline(photographs.changed(held=3)))
    assert list(outcome.stages) == ["decode"]
    assert not {"reading", "storage", "pixels"} & set(outcome.facts)


def test_decoding_side_by_side_and_inferring(photographs: ReadOptions, make_model: MakeModel) -> None:
    model = make_model(shape=photographs.shape)
    job = pipeline(photographs.changed(decoders=2, verify_batches=1), engine="onnx", model=model, threads=1, slots=4)
    outcome = decoded(job)
    assert list(outcome.stages) == ["read", "decode", "infer"]
    assert outcome.stages["decode"].workers == 2
    assert outcome.facts["outputs"]["different_images"] == 4


def test_each_device_has_a_decoder(photographs: ReadOptions) -> None:
    job = pipeline(photographs).changed(device=DeviceOptions(kind="cpu", numbers=(0, 1)))
    assert len(decoded(job).facts["decoders"]) == 2


def test_a_file_that_is_no_image_fails_the_run_by_name(photographs: ReadOptions) -> None:
    next(Path(photographs.folder).rglob("*.jpg")).write_bytes(b"GIF89a")
    with pytest.raises(ReadError, match=r"\.jpg .*GIF"):
        run(pipeline(photographs))


@pytest.fixture
def straight(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> ReadOptions:
    """Files, and devices with memory of their own."""

    def opened(kind: str, number: int = 0) -> Device:
        return StorageDevice(poison=True)

    install(monkeypatch)
    monkeypatch.setattr(workloads, "open_device", opened)
    return reading(dataset, "gds", threads=2)


def test_a_device_s_own_memory_is_filled_and_verified(straight: ReadOptions) -> None:
    alone = run(ReadJob(window=SHORT, device=DeviceOptions(kind="cuda"), reading=straight))
    whole = run(pipeline(straight))
    assert list(alone.stages) == ["read"]
    assert list(whole.stages) == ["read", "copy"]
    for outcome in (alone, whole):
        assert outcome.facts["verified_images"] == 12
        assert outcome.facts["reader"]["target"] == "device memory"
        assert [way["files"] for way in outcome.facts["reader"]["ways"]] == [3]
        assert outcome.measured is not None


def test_another_content_is_seen_in_a_device_s_own_memory(straight: ReadOptions) -> None:
    with min(Path(straight.folder).glob("*.tensors")).open("r+b") as file:
        file.write(bytes(105))
    with pytest.raises(ReadError, match="did not arrive as it was made"):
        run(ReadJob(window=SHORT, device=DeviceOptions(kind="cuda"), reading=straight.changed(threads=1)))
