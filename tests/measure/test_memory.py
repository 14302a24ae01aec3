"""Host memory as a ceiling: what a pipeline moves through it, and what follows from its bandwidth."""

import pytest

from inferkit.measure.memory import memory_ceiling, passes
from inferkit.measure.prediction import ceilings_of, predict
from inferkit.records.figures import Figure
from inferkit.records.host import Host
from inferkit.records.job import DeviceOptions, InferOptions, Job, PipelineJob, ReadJob, ReadOptions
from inferkit.records.run import Run
from inferkit.records.windows import Window


def job(reader: str, device: str = "cuda", model: str = "") -> Job:
    reading = ReadOptions(reader=reader, dtype="uint8", shape=(3, 10, 10))
    return PipelineJob(
        window=Window(), device=DeviceOptions(kind=device), reading=reading, inference=InferOptions(model=model)
    )


def copied(bytes_per_s: float | None) -> Run:
    figure = None if bytes_per_s is None else Figure(bytes_per_s=bytes_per_s, half_width=0.01)
    return Run(notebook="02", measure="memory", host=Host(), verdict="VALID", measured=figure)


@pytest.mark.parametrize(
    ("reader", "device", "model", "often"),
    [
        ("direct", "cuda", "", 2),
        ("direct", "cuda", "x.onnx", 2),
        ("uring", "cuda", "", 2),
        ("buffered", "cuda", "", 3),
        ("mapped", "cuda", "", 1),
        ("mapped", "cpu", "", 2),
        ("buffered", "cpu", "", 4),
        ("jpeg", "cuda", "", None),
        ("mapped", "cpu", "x.onnx", None),
    ],
)
def test_a_byte_crosses_memory_so_often(reader: str, device: str, model: str, often: int | None) -> None:
    assert passes(job(reader, device, model)) == often


def test_the_ceiling_is_all_that_memory_moves_over_what_an_image_moves() -> None:
    figure = memory_ceiling(job("buffered"), copied(9e9))
    assert figure is not None
    assert figure.images_per_s == pytest.approx(2 * 9e9 / 3 / 300)
    assert figure.half_width == 0.01


def test_without_a_bandwidth_or_where_the_need_is_unknown_there_is_no_ceiling() -> None:
    assert memory_ceiling(job("buffered"), None) is None
    assert memory_ceiling(job("buffered"), copied(None)) is None
    assert memory_ceiling(job("jpeg"), copied(9e9)) is None
    assert memory_ceiling(ReadJob(window=Window(), reading=ReadOptions()), copied(9e9)) is None


def test_memory_binds_where_it_is_the_lowest_or_explains_the_feed() -> None:
    ceilings = {"read": Figure(images_per_s=100), "copy": Figure(images_per_s=120), "infer": Figure(images_per_s=300)}
    memory = Figure(images_per_s=80, half_width=0.02)
    assert predict(ceilings | {"memory": memory}) == ("memory", memory)
    feed = {"feed": Figure(images_per_s=75)}
    assert predict(ceilings | feed | {"memory": memory})[0] == "memory"
    assert predict(ceilings | feed | {"memory": Figure(images_per_s=95)})[0] == "feed"
    assert predict(ceilings | {"memory": Figure(images_per_s=110)})[0] == "read"


def test_a_pipeline_without_other_ceilings_has_none_of_memory() -> None:
    assert ceilings_of({}, 4, Figure(images_per_s=1)) == {}
