"""From one process's points to those of several, and from several ranks to records."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from inferkit.dataset.staging import stage, unstage
from inferkit.dataset.synthetic import make_synthetic
from inferkit.errors import ParameterError
from inferkit.machine.topology import topology
from inferkit.measure.measure import measure
from inferkit.measure.watch import Status
from inferkit.plan import groups as plan_group
from inferkit.plan.assumed import Assumed
from inferkit.plan.build import plan, prepare
from inferkit.plan.groups import placements
from inferkit.plan.points import Plan, Point
from inferkit.records.host import Gpu, Host
from inferkit.records.job import PipelineJob, reading_of
from inferkit.records.params import MakeDataset, MultiProcess, SingleProcess
from tests.machines import dgx
from tests.processes import ranks_below
from tests.verdicts import verdict

TINY = {"warmup_s": 0.05, "duration_s": 0.15, "repeats": 1}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_synthetic(MakeDataset(data=str(tmp_path / "tensors"), limit=64, shape=[3, 16, 16], images_per_file=20))
    return tmp_path / "tensors"


def asked(folder: Path, **changes: Any) -> MultiProcess:
    values = {"data": str(folder), "engines": ["null"], "batch_sizes": [8], "threads": [1], **TINY}
    return MultiProcess.check({**values, **changes})


def test_every_point_and_ceiling_is_shared_out_among_the_ranks(folder: Path) -> None:
    planned = plan(asked(folder, ranks=[1, 3], cores=1))
    single = plan(SingleProcess(data=str(folder), engines=["null"], batch_sizes=[8], threads=[1]))
    measures = [point.measure for point in single.points]
    assert sorted(point.measure for point in planned.points) == sorted(2 * measures)
    for point in planned.points:
        ranks = point.axes["ranks"]
        assert len(point.jobs) == ranks
        assert point.axes["cores"] == ranks
        assert [job.place.rank for job in point.jobs if job.place] == list(range(int(ranks)))
        assert {ceiling.axes["ranks"] for ceiling in point.ceilings.values()} <= {ranks}
        assert {ceiling.key for ceiling in point.ceilings.values()} <= {own.key for own in planned.points}
        assert point.job == point.jobs[0]
    assert "3 ranks" in str(planned)
    assert "memory node" in str(planned)
    assert len({point.key for point in planned.points}) == len(planned.points)


@pytest.mark.parametrize(("value", "counts"), [(2, [2]), ("auto", []), ([1, 4], [1, 4])])
def test_ranks_may_be_a_number_or_auto(value: object, counts: list[int]) -> None:
    assert MultiProcess.check({"ranks": value}).ranks == counts


@pytest.mark.parametrize("value", [0, [0], True, "two", [1.5]])
def test_ranks_that_make_no_sense_are_refused(value: object) -> None:
    with pytest.raises(ParameterError, match="ranks"):
        MultiProcess.check({"ranks": value})


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plan as if this were a server with eight GPUs."""
    machine = topology(dgx(tmp_path / "dgx"))
    monkeypatch.setattr(plan_group, "topology", lambda: machine)
    monkeypatch.setattr(plan_group, "affinity", lambda: {cpu for core in machine.cores for cpu in core.cpus})
    gpus = [Gpu(index=index, name="GPU") for index in range(8)]
    monkeypatch.setattr("inferkit.plan.devices.facts", lambda: Host(gpus=gpus))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def streamed(point: Point) -> list[PipelineJob]:
    found = [job for job in point.jobs if isinstance(job, PipelineJob)]
    assert len(found) == len(point.jobs)
    return found


@pytest.mark.usefixtures("server")
def test_auto_goes_from_one_gpu_to_all_and_from_one_rank_to_one_each(folder: Path) -> None:
    dataset = plan(asked(folder)).dataset
    assert dataset is not None
    plans = placements(asked(folder, device="cuda", gpus=list(range(6))), dataset)
    found = [(len({g for p in each.places for g in p.gpus}), len(each.places)) for each in plans]
    assert found == [(1, 1), (2, 1), (2, 2), (4, 1), (4, 2), (4, 4), (6, 1), (6, 2), (6, 4), (6, 6)]
    assert [place.gpus for place in plans[2].places] == [(0,), (4,)]  # of both sockets
    assert [place.node for place in plans[2].places] == [3, 7]


@pytest.mark.usefixtures("server")
def test_a_rank_counts_its_gpus_from_0(folder: Path) -> None:
    planned = plan(asked(folder, device="cuda", gpu_counts=[4], ranks=[2]))
    read, copy, pipeline = planned.points
    for point in (copy, pipeline):
        assert [job.device.numbers for job in streamed(point)] == [(0, 1), (0, 1)]
        assert [job.device.kind for job in streamed(point)] == ["cuda", "cuda"]
    for point in planned.points:
        assert [job.place.gpus for job in point.jobs if job.place] == [(2, 0), (6, 4)]
    where = {"device": "cuda", "gpus": 4, "ranks": 2, "batch_size": 8}
    assert copy.axes == where
    assert pipeline.axes.items() >= where.items()
    assert "gpu" not in pipeline.axes
    assert {stage: ceiling.jobs for stage, ceiling in pipeline.ceilings.items()} == {
        "read": read.jobs,
        "copy": copy.jobs,
    }


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(("reader", "threads"), [("buffered", [24, 12, 6]), ("mapped", [1, 1, 1])])
def test_gpus_have_as_many_readers_whoever_feeds_them(folder: Path, reader: str, threads: list[int]) -> None:
    params = asked(
        folder, device="cuda", gpus=[0, 1, 2, 3], gpu_counts=[4], ranks=[1, 2, 4], threads=[6], readers=[reader]
    )
    points = pipelines(plan(params)).points
    assert [{job.reading.threads for job in streamed(point)} for point in points] == [{count} for count in threads]
    assert {point.axes["threads"] for point in points} == {6 if reader == "buffered" else 1}


@pytest.mark.usefixtures("server")
def test_readers_for_all_gpus_must_have_images(folder: Path) -> None:
    dataset = plan(asked(folder)).dataset
    assert dataset is not None
    with pytest.raises(ParameterError, match="1 ranks with 72 reader threads each cannot share out the 64 images"):
        placements(asked(folder, device="cuda", gpu_counts=[4], ranks=[1], threads=[18]), dataset)


@pytest.mark.usefixtures("server")
def test_more_gpus_than_there_are_is_refused(folder: Path) -> None:
    dataset = plan(asked(folder)).dataset
    assert dataset is not None
    with pytest.raises(ParameterError, match=r"gpu_counts is \[3\], but there are 2 GPUs"):
        placements(asked(folder, device="cuda", gpus=[0, 1], gpu_counts=3), dataset)


def test_what_cannot_be_shared_out_is_refused(folder: Path) -> None:
    with pytest.raises(ParameterError, match="2 ranks with 33 reader threads each cannot share out the 64 images"):
        plan(asked(folder, ranks=[2], threads=[33]))
    with pytest.raises(ParameterError, match="device is cpu"):
        plan(asked(folder, gpu_counts=[1]))
    with pytest.raises(ParameterError, match="names no rank"):
        plan(asked(folder, placement=["cpus=0"]))


@pytest.mark.parametrize("line", ["rank=2 cpus=0", "rank=1 ranks=1 cpus=0", "rank=0 ranks=4 node=0"])
def test_a_line_for_a_rank_that_does_not_exist_is_refused(folder: Path, line: str) -> None:
    for assumed in (None, Assumed()):
        with pytest.raises(ParameterError, match=rf"'{line}': there is no such rank: ranks compares 1, 2 processes"):
            plan(asked(folder, ranks=[1, 2], placement=[line]), assumed=assumed)


def test_a_dry_run_takes_a_rank_to_be_there_where_the_server_decides_how_many_there_are(folder: Path) -> None:
    lines = ["rank=5000 cpus=0"]
    assert plan(asked(folder, ranks="auto", placement=lines), assumed=Assumed()).points
    with pytest.raises(ParameterError, match="there is no such rank"):
        plan(asked(folder, ranks="auto", placement=lines))


def test_more_cores_than_there_are_are_refused_and_in_a_dry_run_assumed(folder: Path) -> None:
    with pytest.raises(ParameterError, match=r"cores is 4000, but there are \d+ cores to use"):
        plan(asked(folder, ranks=[1], cores=4000))
    assumed = Assumed()
    assert plan(asked(folder, ranks=[1], cores=4000), assumed=assumed).points
    assert any(told.startswith("4000 cores for each process") for told in assumed.told)


def test_a_plan_that_cannot_be_is_a_record(folder: Path) -> None:
    (run,) = measure(prepare(asked(folder, placement=["cpus=0"])))
    assert (run.verdict, run.notebook) == ("FAILED", "03c")
    assert run.failure is not None
    assert "names no rank" in run.failure.message


def test_ranks_read_the_copy_that_was_staged(folder: Path, shm: Path) -> None:
    record = stage(folder, shm / "staged")
    try:
        planned = plan(asked(shm / "staged", ranks=[2]))
        told = [reading_of(job) for point in planned.points for job in point.jobs]
        own = {options.folder for options in told if options is not None and options.reader != "memory"}
        assert own == {str(shm / "staged" / record.copies[0].name)}
    finally:
        unstage(shm / "staged")


def pipelines(planned: Plan) -> Plan:
    """Leave the ceilings out."""
    points = [point for point in planned.points if point.measure == "pipeline"]
    return Plan(planned.params, [Point(p.measure, p.axes, p.jobs) for p in points], planned.dataset)


def test_records_of_several_processes(folder: Path) -> None:
    one, two = measure(pipelines(plan(asked(folder, ranks=[1, 2]))))
    for run, ranks in ((one, 1), (two, 2)):
        assert (run.notebook, verdict(run), run.point["ranks"]) == ("03c", "VALID", ranks), (run.failure, run.reasons)
        assert len(run.facts["ranks"]) == ranks
        assert run.measured is not None
        assert run.measured.images_per_s == pytest.approx(sum(rank["rate"] for rank in run.facts["ranks"]))
        assert run.facts["group"]["overlap"] == 1.0
        assert run.facts["verified_images"] == ranks * 4 * 8
    assert (one.scope, two.scope) == ("rank", "server")


def test_a_rank_that_is_killed_is_a_failed_record_and_the_rest_goes_on(folder: Path) -> None:
    killed: list[int] = []

    def kill_one(status: Status) -> None:
        if status.index == 0 and not killed and status.fraction > 0:
            killed.append(sorted(ranks_below(os.getpid()))[-1])
            os.kill(killed[0], signal.SIGKILL)

    planned = pipelines(plan(asked(folder, ranks=[2, 1], duration_s=1.0)))
    first, second = measure(planned, kill_one)
    assert first.verdict == "FAILED"
    assert first.failure is not None
    assert "killed by SIGKILL (out of memory?); the others were stopped" in first.failure.message
    assert first.failure.message.startswith("rank ")
    assert verdict(second) == "VALID"
    assert not list(ranks_below(os.getpid()))
