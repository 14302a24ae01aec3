"""Jobs travel as JSON, and each kind has its own fields."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from inferkit.records.job import (
    JOB,
    CopyJob,
    DeviceOptions,
    Images,
    InferJob,
    InferOptions,
    Job,
    PipelineJob,
    ReadJob,
    ReadOptions,
    device_of,
    reading_of,
)
from inferkit.records.place import Place
from inferkit.records.windows import Window

WINDOW = Window(warmup_s=0.1, duration_s=0.2, repeats=2, images=7)
PLACE = Place(rank=1, ranks=3, gpus=(4, 5), cpus=(0, 1), node=0, folder="/data/copy")
READING = ReadOptions(reader="jpeg", folder="/data", dtype="uint8", shape=(3, 8, 8), batch_size=5, fast=True, seed=9)
GPUS = DeviceOptions(kind="cuda", numbers=(1, 3))
INFERENCE = InferOptions(engine="onnx", model="/models/one.onnx", contexts=2, cuda_graph=True)
JOBS: list[Job] = [
    ReadJob(window=WINDOW, place=PLACE, batch_log="/log", reading=READING),
    CopyJob(window=WINDOW, place=PLACE, device=GPUS, nbytes=1 << 40, host_memory="mapped", direction="both"),
    InferJob(window=WINDOW, device=GPUS, images=Images(dtype="float32", shape=(1, 2, 3)), inference=INFERENCE),
    PipelineJob(window=WINDOW, device=GPUS, reading=READING, inference=INFERENCE, overlap=False),
]
OTHERS: dict[str, dict[str, Any]] = {
    "read": {"nbytes": 5, "inference": {}, "overlap": True, "threads": 3},
    "copy": {"reading": {}, "images": {}, "inference": {}, "overlap": True, "transfer_bytes": 5},
    "infer": {"reading": {}, "nbytes": 5, "direction": "in", "overlap": True, "batch_size": 4},
    "pipeline": {"images": {}, "nbytes": 5, "host_memory": "", "direction": "in", "folder": "/data"},
}
"""Fields that other kinds have, or a part has, or nobody has."""


def works(job: Job) -> str:
    return job.work


every_kind = pytest.mark.parametrize("job", JOBS, ids=works)


def test_every_kind_is_tried() -> None:
    assert [job.work for job in JOBS] == list(OTHERS) == ["read", "copy", "infer", "pipeline"]


@every_kind
def test_a_job_comes_back_from_json_as_it_was(job: Job) -> None:
    found = JOB.validate_json(job.model_dump_json())
    assert type(found) is type(job)
    assert found == job
    assert JOB.validate_python(job.model_dump()) == job


@pytest.mark.parametrize(("work", "field"), [(work, field) for work, own in OTHERS.items() for field in own])
def test_a_field_of_another_kind_is_refused(work: str, field: str) -> None:
    (job,) = [job for job in JOBS if job.work == work]
    told = json.loads(job.model_dump_json())
    with pytest.raises(ValidationError, match=rf"{work}\.{field}\n  Extra inputs are not permitted"):
        JOB.validate_json(json.dumps({**told, field: OTHERS[work][field]}))


@pytest.mark.parametrize(("part", "field"), [("reading", "nbytes"), ("inference", "batch_size"), ("device", "gpus")])
def test_a_part_has_its_own_fields_too(part: str, field: str) -> None:
    told = json.loads(JOBS[3].model_dump_json())
    told[part][field] = 1
    with pytest.raises(ValidationError, match=rf"pipeline\.{part}\.{field}\n  Extra inputs are not permitted"):
        JOB.validate_python(told)


def test_a_kind_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValidationError, match="'think' found using 'work'"):
        JOB.validate_python({"work": "think", "window": {}})
    with pytest.raises(ValidationError, match="Unable to extract tag"):
        JOB.validate_python({"window": {}})


def test_what_a_kind_cannot_do_without_is_demanded() -> None:
    for work, lacking in {"read": "reading", "copy": "nbytes", "infer": "images", "pipeline": "reading"}.items():
        with pytest.raises(ValidationError, match=rf"{work}\.{lacking}\n  Field required"):
            JOB.validate_python({"work": work, "window": {}, "device": {}} if work != "read" else {"work": work})


@every_kind
def test_a_changed_job_is_another_and_leaves_the_first_as_it_was(job: Job) -> None:
    before = job.model_dump_json()
    changed = job.changed(window=WINDOW.changed(repeats=9), place=None)
    assert (changed.window.repeats, changed.place, changed.work) == (9, None, job.work)
    assert job.model_dump_json() == before
    with pytest.raises(ValidationError, match="frozen"):
        setattr(job, "batch_log", "/elsewhere")  # noqa: B010 - as typed code cannot


def test_what_is_read_and_where_is_asked_of_any_job() -> None:
    assert [reading_of(job) for job in JOBS] == [READING, None, None, READING]
    assert [device_of(job) for job in JOBS] == [None, GPUS, GPUS, GPUS]
    assert device_of(ReadJob(window=WINDOW, device=GPUS, reading=READING)) == GPUS
