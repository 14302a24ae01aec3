import json
import shutil
from pathlib import Path
from typing import Any, Literal

import pytest

from inferkit.errors import PeerError
from inferkit.measure import fio
from inferkit.measure.fio import Task, command, parse, run, words
from inferkit.readers.split import split
from tests.conftest import Known, MakeTensors, write_dataset

SHAPE = (3, 64, 64)
IMAGE = 3 * 64 * 64


def task(known: Known, threads: int, **changes: Any) -> Task:
    shares = split([file.images for file in known.dataset.files], threads, "uniform")
    values = {"nbytes": 4 * IMAGE, "direct": False, "runtime_s": 0.2}
    return Task(dataset=known.dataset, shares=shares, **values | changes)


def names(asked: list[str]) -> list[list[str]]:
    """What each job is given, behind its name."""
    jobs: list[list[str]] = []
    for part in asked:
        if part.startswith("--name="):
            jobs.append([])
        elif jobs:
            jobs[-1].append(part.removeprefix("--filename="))
    return jobs


@pytest.fixture
def known(make_dataset: MakeTensors) -> Known:
    return make_dataset((8, 8, 8, 8), SHAPE)


@pytest.mark.parametrize(
    ("threads", "jobs"),
    [
        (1, [["images-00.tensors:images-01.tensors:images-02.tensors:images-03.tensors"]]),
        (2, [["images-00.tensors:images-01.tensors"], ["images-02.tensors:images-03.tensors"]]),
        (
            3,
            [
                ["images-00.tensors"],
                ["images-01.tensors:images-02.tensors"],
                ["images-03.tensors"],
            ],
        ),
    ],
)
def test_each_job_has_files_of_its_own(known: Known, threads: int, jobs: list[list[str]]) -> None:
    found = names(command(task(known, threads)))
    if threads == 3:  # 10 2/3 images each: the middle one has over half of neither of its files
        assert found[0] == jobs[0]
        assert found[2] == jobs[2]
    else:
        assert found == jobs


def test_fewer_files_than_jobs_are_cut(known: Known) -> None:
    jobs = names(command(task(known, 8)))
    assert len(jobs) == 8
    assert jobs[1] == ["images-00.tensors", f"--offset={4 * IMAGE}", f"--size={4 * IMAGE}"]
    assert all(int(part.partition("=")[2]) % 4096 == 0 for job in jobs for part in job[1:])


def test_fewer_images_than_jobs(make_dataset: MakeTensors) -> None:
    assert len(names(command(task(make_dataset((2,), SHAPE), 5)))) == 2


def test_the_block_is_the_batch_in_whole_pages(known: Known) -> None:
    assert "--bs=49152" in command(task(known, 1, nbytes=49152))
    assert "--bs=53248" in command(task(known, 1, nbytes=49153))
    assert f"--bs={8 * IMAGE}" in command(task(known, 1, nbytes=80 * IMAGE))


def test_what_is_asked_for() -> None:
    dataset = write_dataset(Path("/dev/shm") / "inferkit-test-fio", (1,), (4096,)).dataset
    shutil.rmtree(dataset.path(0).parent)
    deep = command(Task(dataset, [[]], 1, True, 30.0, "io_uring", 8))
    assert {"--direct=1", "--ioengine=io_uring", "--iodepth=8", "--time_based", "--runtime=30000ms"} <= set(deep)
    once = command(Task(dataset, [[]], 1, False, 30.0, once=True))
    assert not any(part.startswith(("--time_based", "--iodepth")) for part in once)
    assert "--readonly" in once


def test_more_files_than_fio_takes_are_counted(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path, (1,) * 1200, (8,)).dataset
    shares = split([1] * 1200, 2, "uniform")
    told, there = fio.told(Task(dataset, shares, 8, True, 1.0))
    assert there == 1200
    listed = [part for part in command(Task(dataset, shares, 8, True, 1.0)) if part.startswith("--filename=")]
    assert sum(len(part.split(":")) for part in listed) == told
    assert 100 < told < 1200
    assert all(len(part) <= len("--filename=") + 4096 for part in listed)
    assert fio.told(Task(dataset, shares[:1], 8, True, 1.0))[1] == 600


def test_names_with_colons_and_long_lists(tmp_path: Path) -> None:
    known = write_dataset(tmp_path / "a:b", (1,), (8,))
    (tmp_path / "a:b" / "images-00.tensors").rename(tmp_path / "a:b" / "x:y.tensors")
    asked = command(Task(write_dataset(tmp_path / "a:b", (1,), (8,)).dataset, [[]], 8, False, 1.0))
    assert known.dataset.path(0).parent.name == "a:b"
    assert f"--directory={tmp_path}/a\\:b" in asked


def job(rate: int, nbytes: int = 1000) -> dict[str, Any]:
    seconds = nbytes / rate if rate else 0.0
    read = {"bw_bytes": rate, "io_bytes": nbytes, "runtime": round(seconds * 1000)}
    return {"read": read, "usr_cpu": 10.0, "sys_cpu": 40.0, "job_runtime": 2000}


def test_rates_of_jobs_add_up_that_end_together() -> None:
    result = parse("fio: a note\n" + json.dumps({"jobs": [job(100), job(50, 500)]}))
    assert result.bytes_per_s == 150.0
    assert result.cpu_s_per_gb == pytest.approx(2 * 1.0 / 1500 * 1e9)


def test_jobs_that_end_at_different_times_reached_their_bytes_in_the_longest_time() -> None:
    assert parse(json.dumps({"jobs": [job(100), job(50)]})).bytes_per_s == 100.0


def test_what_took_no_time_is_no_measurement() -> None:
    with pytest.raises(PeerError, match="within a millisecond"):
        parse(json.dumps({"jobs": [job(10**9, 10)]}))


@pytest.mark.parametrize("output", ["", "error", "{}", '{"jobs": 1'])
def test_no_result(output: str) -> None:
    with pytest.raises(PeerError, match="fio wrote no result"):
        parse(output)


@pytest.mark.parametrize(
    "jobs",
    [
        [],
        [{}],
        7,
        [None],
        [{"read": {"io_bytes": "many", "runtime": 9}, "usr_cpu": 1, "sys_cpu": 1, "job_runtime": 9}],
        [{"read": {"io_bytes": -5, "runtime": 9}, "usr_cpu": 1, "sys_cpu": 1, "job_runtime": 9}],
        [{"read": {"io_bytes": 5, "runtime": -9}, "usr_cpu": 1, "sys_cpu": 1, "job_runtime": 9}],
        [{"read": {"io_bytes": float("inf"), "runtime": 9}, "usr_cpu": 1, "sys_cpu": 1, "job_runtime": 9}],
        [{"read": {"io_bytes": float("nan"), "runtime": 9}, "usr_cpu": 1, "sys_cpu": 1, "job_runtime": 9}],
    ],
    ids=str,
)
def test_nonsense_is_no_result(jobs: object) -> None:
    with pytest.raises(PeerError, match=r"fio wrote no result|is no rate"):
        parse(json.dumps({"jobs": jobs}))


def test_nothing_read() -> None:
    with pytest.raises(PeerError, match="smaller than one block"):
        parse(json.dumps({"jobs": [job(0, 0)]}))


def test_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert fio.missing().startswith("fio is not installed: ")


def test_the_call_is_told_with_its_variables_and_version_and_long_lists_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fio, "version", lambda: "fio-9")
    dataset = write_dataset(tmp_path, (1,) * 200, (8,)).dataset
    told = words(Task(dataset, split([1] * 200, 1, "uniform"), 8, True, 1.0))
    assert told.startswith("GLIBC_TUNABLES=glibc.malloc.hugetlb=1 fio --readonly")
    assert "images-00" in told
    assert "images-150" not in told
    assert told.endswith("  # fio-9")


needs_fio = pytest.mark.skipif(bool(fio.missing()), reason=fio.missing())


@needs_fio
@pytest.mark.parametrize("engine", ["psync", "io_uring"])
def test_fio_reads_more_files_than_it_keeps_open_or_can_name(
    tmp_path: Path, engine: Literal["psync", "io_uring"]
) -> None:
    dataset = write_dataset(tmp_path / "many", (1,) * 1200, (4096,)).dataset
    shares = split([1] * 1200, 1, "uniform")
    assert run(Task(dataset, shares, 4096, False, 0.5, engine, 8)).bytes_per_s > 0


@needs_fio
@pytest.mark.parametrize("threads", [1, 3, 8])
@pytest.mark.parametrize("once", [True, False])
def test_fio_reads_what_it_is_told(known: Known, threads: int, once: bool) -> None:
    before = [known.dataset.path(k).read_bytes() for k in range(4)]
    result = run(task(known, threads, nbytes=4096, once=once))
    assert result.bytes_per_s > 0
    assert result.cpu_s_per_gb >= 0
    assert [known.dataset.path(k).read_bytes() for k in range(4)] == before
    names = {path.name for path in known.dataset.path(0).parent.iterdir()}
    assert names == {f"images-{k:02d}.tensors" for k in range(4)}


@needs_fio
def test_what_fio_says_is_passed_on(known: Known) -> None:
    known.dataset.path(0).unlink()
    with pytest.raises(PeerError, match=r"fio ended with exit code \d+: .*images-00"):
        run(task(known, 1))


@needs_fio
def test_version() -> None:
    assert fio.version().startswith("fio-")
