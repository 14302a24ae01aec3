from pathlib import Path
from typing import Any

import pytest

from inferkit.dataset.synthetic import make_synthetic
from inferkit.dataset.tensors import Dataset
from inferkit.errors import DatasetError, DeviceError, ParameterError, RankError, ReadError
from inferkit.pipeline.workloads import WORKS, dataset_of
from inferkit.records.job import Job, Outcome, Window, window_of
from inferkit.records.params import MakeDataset, StorageToHost
from tests.engines.conftest import MakeModel
from tests.pipeline.conftest import SHORT, begin

SHAPE = (3, 5, 7)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return make_synthetic(
        MakeDataset(data=str(tmp_path / "data"), limit=40, shape=list(SHAPE), images_per_file=15)
    ).dataset


def job_of(work: str, **changes: Any) -> Job:
    values = {"work": work, "window": SHORT, "dtype": "uint8", "shape": SHAPE, "batch_size": 4, "verify_batches": 3}
    return Job.model_validate(values | changes)


def done(job: Job) -> Outcome:
    outcome = WORKS[job.work](job, begin(job))
    assert [repeat.warmup for repeat in outcome.repeats] == [True, False, False]
    assert all(repeat.batches and repeat.images == 4 * repeat.batches for repeat in outcome.repeats[1:])
    assert all(repeat.nbytes == 105 * repeat.images for repeat in outcome.repeats)
    return outcome


@pytest.mark.parametrize("reader", ["buffered", "mapped"])
@pytest.mark.parametrize("split", ["uniform", "all"])
def test_read(dataset: Dataset, reader: str, split: str) -> None:
    outcome = done(job_of("read", folder=str(dataset.folder), reader=reader, threads=2, split=split))
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
        assert set(outcome.series) == {"images_per_s", "bytes_per_s"}


@pytest.mark.parametrize("reader", ["buffered", "mapped"])
def test_pipeline_with_an_engine(dataset: Dataset, make_model: MakeModel, reader: str) -> None:
    job = job_of(
        "pipeline", folder=str(dataset.folder), reader=reader, engine="onnx", model=make_model(), engine_threads=1
    )
    outcome = done(job)
    assert list(outcome.stages) == (["read"] if reader == "buffered" else []) + ["copy", "infer"]
    assert outcome.facts["engine"]["library"] == "onnxruntime"
    assert outcome.facts["verified_images"] == 12


def test_pipeline_without_an_engine_has_no_infer(dataset: Dataset) -> None:
    outcome = done(job_of("pipeline", folder=str(dataset.folder), reader="buffered", overlap=False, slots=1))
    assert list(outcome.stages) == ["read", "copy"]
    assert "engine" not in outcome.facts


def test_pipeline_of_images_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = done(job_of("pipeline", reader="memory", shape=SHAPE))
    assert list(outcome.stages) == ["copy"]
    assert outcome.facts["verified_images"] == 0
    assert "storage" not in outcome.facts


def test_infer(make_model: MakeModel) -> None:
    outcome = done(job_of("infer", engine="onnx", model=make_model(), engine_threads=1))
    assert list(outcome.stages) == ["infer"]
    busy = outcome.stages["infer"].busy
    assert busy is not None
    assert 0 < busy <= 1


def test_copy() -> None:
    job = job_of("copy", transfer_bytes=10_000, memory="pageable")
    outcome = WORKS["copy"](job, begin(job))
    assert outcome.repeats[1].images == 0
    assert outcome.repeats[1].nbytes == 10_000 * outcome.repeats[1].batches
    assert list(outcome.stages) == ["copy"]


def test_direct_says_its_block(dataset: Dataset) -> None:
    try:
        outcome = done(job_of("read", folder=str(dataset.folder), reader="direct"))
    except ReadError as error:
        pytest.skip(str(error))
    assert set(outcome.facts["reader"]) == {"block", "block_known_by", "proved_by"}
    assert outcome.facts["storage"]["from_storage"] is None or outcome.facts["storage"]["from_storage"] > 0.9


def test_altered_image_fails_the_run(dataset: Dataset) -> None:
    with dataset.path(0).open("r+b") as file:
        file.write(bytes(range(50)))
    job = job_of("pipeline", folder=str(dataset.folder), reader="buffered")
    with pytest.raises(ReadError, match=r"image 0 \(.*images-00000.tensors\) did not arrive as it was made"):
        WORKS["pipeline"](job, begin(job))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"folder": "/nowhere"}, DatasetError, "/nowhere is not a folder"),
        ({"device": "tpu", "work": "pipeline"}, ParameterError, "'tpu'"),
        ({"engine": "caffe", "work": "pipeline"}, ParameterError, "'caffe' is none"),
        ({"split": "random"}, ParameterError, "'random'"),
        ({"work": "copy", "memory": "pinned", "transfer_bytes": 10}, DeviceError, "no 'pinned' memory"),
        ({"host_batches": 3, "batch_size": 1 << 46}, DeviceError, "lower host_batches or batch_sizes"),
    ],
)
def test_what_cannot_be_done_says_why(
    dataset: Dataset, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    job = job_of("read", folder=str(dataset.folder), reader="buffered").model_copy(update=changes)
    with pytest.raises(error, match=message):
        WORKS[job.work](job, begin(job))


def test_reading_that_ends_early_has_no_figure(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inferkit.pipeline.workloads.split", lambda *arguments, **options: [[]])
    job = job_of("read", folder=str(dataset.folder), reader="buffered")
    with pytest.raises(RankError, match="ended after 0 of 3 windows"):
        WORKS["read"](job, begin(job))


def test_reader_memory_needs_no_folder(dataset: Dataset) -> None:
    assert dataset_of(job_of("read", reader="memory", folder=str(dataset.folder))).files[0].name == "(random)"
    assert dataset_of(job_of("read", reader="buffered", folder=str(dataset.folder))) == dataset


def test_windows_of_the_profile_unless_a_parameter_says_else() -> None:
    assert window_of(StorageToHost(profile="quick")) == Window(warmup_s=5.0, duration_s=30.0, repeats=3)
    own = StorageToHost(profile="mlperf", duration_s=2.0, repeats=1)
    assert window_of(own) == Window(warmup_s=10.0, duration_s=2.0, repeats=1, images=24_576)
    assert window_of(own).seconds == 12
