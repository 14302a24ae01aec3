from typing import Any

import pytest

from inferkit.records.figures import Repeat, figure_of
from inferkit.records.groups import Windows
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
from inferkit.records.params import HostToDevice, SingleProcess, StorageToHost
from inferkit.records.run import UNSTEADY
from inferkit.records.windows import Window, window_of
from inferkit.validity.verdict import Judgement, judge


def outcome(rates: list[int], **facts: Any) -> Outcome:
    repeats = [
        Repeat(start_s=k, seconds=1, images=rate, nbytes=rate * 100, batches=1, warmup=k == 0)
        for k, rate in enumerate([7, *rates])
    ]
    return Outcome(repeats=repeats, stages={}, facts=facts)


def judged(params: Windows, found: Outcome, **reading: Any) -> Judgement:
    options = ReadOptions(**{"reader": "buffered", "folder": "/data"} | reading)
    return judged_of(params, found, ReadJob(window=window_of(params), reading=options))


def judged_of(params: Windows, found: Outcome, job: Job, half_width: float | None = 0.005) -> Judgement:
    figure = figure_of(found.repeats)
    assert figure is not None
    return judge(params, job, found, figure.model_copy(update={"half_width": half_width}))


def judged_error(profile: str, half_width: float | None) -> Judgement:
    params = StorageToHost.check({"profile": profile})
    job = ReadJob(window=window_of(params), reading=ReadOptions(reader="buffered", folder="/data"))
    return judged_of(params, outcome(STEADY, verified_images=32), job, half_width)


def storage(share: float | None, *, in_memory: bool = False) -> dict[str, Any]:
    return {"from_storage": share, "in_memory": in_memory, "filesystem": "tmpfs" if in_memory else "ext4"}


CPU = DeviceOptions()
STEADY = [1000, 1001, 999]
FROM_STORAGE = StorageToHost(source="storage")


def test_nothing_to_say() -> None:
    assert judged(StorageToHost(), outcome(STEADY, verified_images=32)) == Judgement()
    assert judged(FROM_STORAGE, outcome(STEADY, verified_images=32, storage=storage(1.0))) == Judgement()


def test_what_the_rank_said_is_kept() -> None:
    said = outcome(STEADY).model_copy(update={"warnings": ["hot"], "unverified": ["link"]})
    assert judged(StorageToHost(), said) == Judgement(warnings=["hot"], unverified=["link"])
    assert said.warnings == ["hot"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"duration_s": 2.0}, "duration_s was 2.0 s, profile quick demands 30.0 s"),
        ({"warmup_s": 0.5}, "warmup_s was 0.5 s, profile quick demands 5.0 s"),
        ({"repeats": 1}, "repeats was 1, profile quick demands 3"),
    ],
)
def test_window_that_is_too_short_for_its_profile(change: dict[str, Any], reason: str) -> None:
    assert judged(StorageToHost(profile="quick", **change), outcome(STEADY)).reasons == [reason]
    assert judged(StorageToHost(profile="demo", **change), outcome(STEADY)).reasons == []


def test_window_of_the_profile_or_longer() -> None:
    for profile in ("quick", "mlperf"):
        assert judged(StorageToHost(profile=profile), outcome(STEADY)).reasons == []
        assert judged(StorageToHost(profile=profile, duration_s=700.0, repeats=9), outcome(STEADY)).reasons == []


@pytest.mark.parametrize(("profile", "target"), [("demo", 0.1), ("quick", 0.025), ("mlperf", 0.01)])
def test_a_figure_within_the_target_of_its_profile_is_steady(profile: str, target: float) -> None:
    assert judged_error(profile, target) == Judgement()


@pytest.mark.parametrize(("profile", "half_width"), [("demo", 0.26), ("quick", 0.026), ("mlperf", 0.011)])
def test_an_unsteady_figure_is_refused_and_says_what_to_do(profile: str, half_width: float) -> None:
    found = judged_error(profile, half_width)
    (reason,) = found.reasons
    assert reason.startswith(f"{UNSTEADY}: ± {100 * half_width:.1f} % after 3 s, profile {profile} wants ± ")
    assert "end other programs on this machine, or lengthen duration_s" in reason


def test_the_demo_profile_warns_before_it_refuses() -> None:
    found = judged_error("demo", 0.2)
    assert (found.reasons, found.unverified) == ([], [])
    assert found.warnings[0].startswith("unsteady: ± 20.0 % after 3 s, profile demo wants ± 10.0 %")


def test_too_few_batches_for_an_error_are_unsteady_in_every_profile() -> None:
    for profile in ("demo", "quick"):
        assert judged_error(profile, None).reasons[0].startswith("unsteady: too few batches to tell its error")


def test_repeat_far_off_the_mean_is_refused_in_mlperf_alone() -> None:
    far = outcome([1000, 1000, 1000, 1000, 1080])  # 6.3 % over the mean
    near = outcome([1000, 1000, 1000, 1000, 1060])  # 4.7 %
    (reason,) = judged(StorageToHost(profile="mlperf"), far).reasons
    assert reason == "a repeat lies over 5.0 % off the mean, which profile mlperf forbids"
    assert judged(StorageToHost(profile="mlperf"), near).reasons == []
    assert judged(StorageToHost(profile="quick"), far).reasons == []


def test_page_cache_that_answered() -> None:
    (reason,) = judged(FROM_STORAGE, outcome(STEADY, storage=storage(0.12))).reasons
    assert "only 12.0 % of the bytes came from it, the rest from the page cache" in reason
    assert "evict: true" in reason
    assert judged(FROM_STORAGE, outcome(STEADY, storage=storage(0.9))).reasons == []


def test_storage_that_is_memory() -> None:
    (reason,) = judged(FROM_STORAGE, outcome(STEADY, storage=storage(1.0, in_memory=True))).reasons
    assert reason == "source is storage, but /data lies on tmpfs, which is memory: declare source: memory"


def test_source_that_the_kernel_does_not_tell() -> None:
    found = judged(FROM_STORAGE, outcome(STEADY, storage=storage(None)))
    assert found.reasons == []
    assert found.unverified == ["that the bytes came from storage: the kernel does not count this process's reads"]


def test_declared_memory_is_not_asked() -> None:
    assert judged(StorageToHost(), outcome(STEADY, storage=storage(0.0))).reasons == []


def test_images_in_memory_are_no_storage() -> None:
    params = StorageToHost(source="storage", readers=["memory"])
    (reason,) = judged(params, outcome(STEADY), reader="memory", folder="").reasons
    assert reason == "source is storage, but reader memory reads none: declare source: memory"


@pytest.mark.parametrize(
    "job",
    [
        PipelineJob(window=Window(), device=CPU, reading=ReadOptions(reader="memory")),
        InferJob(window=Window(), device=CPU, images=Images(), inference=InferOptions()),
    ],
    ids=lambda job: job.work,
)
def test_ceilings_of_copy_and_infer_come_from_memory_whatever_is_declared(job: Job) -> None:
    # Else no pipeline from storage could ever be VALID.
    params = SingleProcess(source="storage", readers=["direct"])
    assert judged_of(params, outcome(STEADY), job.changed(window=window_of(params))).reasons == []


def test_bare_copies() -> None:
    params = HostToDevice()
    assert judged_of(params, outcome(STEADY), CopyJob(window=window_of(params), device=CPU, nbytes=1)) == Judgement()


@pytest.mark.parametrize(
    ("reading", "why"),
    [
        ({"verify_batches": 0}, "verify_batches is 0"),
        ({"verify_batches": 4}, "the data set has no hashes beside it (inferkit dataset make writes them)"),
    ],
)
def test_content_that_nobody_verified(reading: dict[str, Any], why: str) -> None:
    found = judged(StorageToHost(), outcome(STEADY, verified_images=0), **reading)
    assert found.unverified == [f"content of the images: {why}"]
    assert judged(StorageToHost(), outcome(STEADY, verified_images=8), **reading).unverified == []


def test_random_images_in_memory_have_no_content_to_verify() -> None:
    assert judged(StorageToHost(), outcome(STEADY, verified_images=0), reader="memory") == Judgement()
