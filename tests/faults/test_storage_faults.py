"""Storage that fails while it is read, end to end: the point ends FAILED with file, offset and errno, and in time."""

import errno
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inferkit.batch import Piece
from inferkit.cli.configure import configure
from inferkit.cli.execute import execute
from inferkit.dataset.format import open_dataset
from inferkit.dataset.synthetic import make_synthetic
from inferkit.devices.cpu import CpuDevice
from inferkit.errors import ReadError
from inferkit.measure import watch
from inferkit.measure.measure import measure
from inferkit.measure.watch import Status
from inferkit.plan.build import plan
from inferkit.ranks import launch
from inferkit.readers.buffered import BufferedReader
from inferkit.records.params import MakeDataset, StorageToHost
from inferkit.records.run import Run
from tests.faults.conftest import IMAGE_BYTES, IMAGES, PER_FILE, Storage
from tests.readers.conftest import content
from tests.verdicts import verdict

LONG = 30.0


def asked(folder: Path, **changes: Any) -> StorageToHost:
    values = {"data": str(folder), "warmup_s": 0.05, "duration_s": 0.2, "repeats": 1, "batch_sizes": [8]}
    return StorageToHost.check({**values, "threads": [2], "evict": True, **changes})


def failed(params: StorageToHost, once_running: Callable[[], object] | None = None) -> str:
    """Measure, do something once batches are delivered, and return how the point failed."""
    done: list[object] = []

    def show(status: Status) -> None:
        if once_running is not None and status.fraction > 0 and not done:
            done.append(once_running())

    (run,) = measure(plan(params), show)
    assert once_running is None or done
    assert run.verdict == "FAILED", (run.measured, run.facts)
    assert run.measured is None
    assert run.failure is not None
    return run.failure.message


def test_what_is_read_through_it_is_what_was_made(storage: Storage) -> None:
    storage.tell(latency_s=0.001)
    (run,) = measure(plan(asked(storage.mount, verify_batches=IMAGES // 8)))
    assert verdict(run) == "VALID", run.failure
    assert run.facts["verified_images"] == IMAGES
    assert run.facts["storage"]["fuse"]


def test_an_io_error_in_the_middle_names_file_offset_and_errno(storage: Storage) -> None:
    offset = 40 * IMAGE_BYTES
    storage.tell(errno=errno.EIO, name="00002.tensors", offset=offset)
    told = failed(asked(storage.mount, verify_batches=0))
    found = re.fullmatch(
        r"cannot read (\S+images-00002\.tensors) at byte (\d+): Input/output error \(errno 5\).*", told
    )
    assert found, told
    assert found[1].startswith(str(storage.mount))
    assert int(found[2]) <= offset


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT])
def test_an_error_that_begins_while_it_is_read(storage: Storage, number: int) -> None:
    told = failed(asked(storage.mount, duration_s=LONG), lambda: storage.tell(errno=number))
    assert f"(errno {number})" in told
    assert ".tensors" in told


def test_a_short_read_never_delivers_wrong_bytes(storage: Storage) -> None:
    storage.tell(most=10_000)
    (run,) = measure(plan(asked(storage.mount, verify_batches=IMAGES)))
    if run.verdict == "FAILED":
        assert run.failure is not None
        assert re.search(r"\.tensors ends at byte \d+, \d+ bytes early|was replaced or written to", run.failure.message)
    else:
        assert run.facts["verified_images"] >= IMAGES


@pytest.mark.parametrize("left", [0, 1000, 5 * IMAGE_BYTES])
def test_truncated_while_it_is_read(storage: Storage, left: int) -> None:
    def cut() -> None:
        for path in storage.files():
            os.truncate(path, left)

    told = failed(asked(storage.mount, duration_s=LONG), cut)
    assert re.search(r"images-\d+\.tensors ends at byte \d+, \d+ bytes early", told), told


@pytest.mark.parametrize("reader", ["buffered", "direct", "uring", "mapped"])
def test_replaced_while_it_is_read(tmp_path: Path, storage: Storage, reader: str) -> None:
    path = storage.files()[1]
    other = tmp_path / "other"
    other.write_bytes(bytes(reversed(path.read_bytes())))

    def replace() -> None:
        other.replace(path)

    (run,) = run_or_skip(asked(storage.folder, readers=[reader], evict=False, duration_s=1.0), replace)
    assert run.verdict == "FAILED"
    assert run.failure is not None
    assert f"{path} was replaced or written to" in run.failure.message


def test_written_to_while_it_is_read(storage: Storage) -> None:
    path = storage.files()[3]

    def write() -> None:
        with path.open("r+b") as file:
            file.write(b"x" * 100)

    assert f"{path} was replaced or written to" in failed(asked(storage.folder, duration_s=1.0), write)


def run_or_skip(params: StorageToHost, once_running: Callable[[], object]) -> list[Run]:
    done: list[object] = []

    def show(status: Status) -> None:
        if status.fraction > 0 and not done:
            done.append(once_running())

    runs = list(measure(plan(params), show))
    if runs[0].failure and re.search("use reader (buffered|direct)", runs[0].failure.message):
        pytest.skip(runs[0].failure.message)
    return runs


def test_permission_lost_before_it_begins(storage: Storage) -> None:
    storage.tell(open_errno=errno.EACCES)
    told = failed(asked(storage.mount, evict=False))
    assert re.search(r"cannot open \S+\.tensors: Permission denied \(errno 13\)", told), told


def test_permission_lost_while_it_is_read(tmp_path: Path, storage: Storage) -> None:
    # More files than a thread holds open, so that it opens some again and again.
    for number in range(40):
        (storage.folder / f"more-{number:02d}.tensors").write_bytes(bytes(IMAGE_BYTES))
    (storage.folder / "dataset.json").unlink()
    params = asked(storage.mount, shape=[3, 32, 32], dtype="uint8", threads=[1], evict=False, duration_s=LONG)
    told = failed(params, lambda: storage.tell(open_errno=errno.EPERM))
    assert re.search(r"cannot open \S+\.tensors: Operation not permitted \(errno 1\)", told), told


def test_the_mount_goes_while_it_is_read(storage: Storage) -> None:
    told = failed(asked(storage.mount, duration_s=LONG), storage.daemon.kill)
    assert re.search(r"\(errno (107|103|5)\)", told), told
    assert str(storage.mount) in told


def test_storage_that_answers_no_more_is_given_up(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "STALL_S", 1.0)
    begin = time.monotonic()
    told = failed(asked(storage.mount, duration_s=LONG), lambda: storage.tell(hang=True))
    assert "hangs" in told
    assert time.monotonic() - begin < 25


def test_a_rank_that_cannot_even_be_killed_is_left_behind(uncached: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "STALL_S", 0.5)
    monkeypatch.setattr(launch, "STUCK_S", 0.5)
    begin = time.monotonic()
    told = failed(asked(uncached.mount, duration_s=LONG, evict=False), lambda: uncached.tell(hang=True))
    assert "hangs" in told
    assert time.monotonic() - begin < 25


def test_short_reads_are_completed_where_nothing_is_cached(uncached: Storage) -> None:
    uncached.tell(most=10_000)
    (run,) = measure(plan(asked(uncached.mount, verify_batches=IMAGES // 8, evict=False)))
    assert verdict(run) == "VALID", run.failure
    assert run.facts["verified_images"] == IMAGES


def test_interrupted_reads_go_on(storage: Storage) -> None:
    storage.tell(latency_s=0.02)
    beats: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: beats.append(number))
    dataset = open_dataset(storage.mount)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)
        with CpuDevice() as device, BufferedReader(dataset, device) as reader:
            buffer = device.allocate(reader.buffer_bytes(PER_FILE))
            found = content(reader.read([Piece(1, 0, PER_FILE, PER_FILE)], buffer)).copy()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert beats
    assert np.array_equal(found, np.fromfile(storage.files()[1], np.uint8))


def test_a_mapped_file_that_is_cut_names_it(shm: Path) -> None:
    make_synthetic(MakeDataset(data=str(shm / "tensors"), limit=64, shape=[3, 64, 64], images_per_file=32))
    path = shm / "tensors" / "images-00001.tensors"
    told = failed(
        asked(shm / "tensors", readers=["mapped"], evict=False, duration_s=3.0, verify_batches=4096),  # told at its end
        lambda: os.truncate(path, 0),
    )
    assert str(path) in told


@pytest.mark.slow
def test_a_nas_end_to_end(storage: Storage, tmp_path: Path) -> None:
    storage.tell(latency_s=0.002, bytes_per_s=20e6)
    changes = {
        "data": str(storage.mount),
        "device": "cpu",
        "profile": "demo",
        "threads": [2],
        "batch_sizes": [8],
        "duration_s": 0.5,
    }
    configuration = configure("nas", only=["03a"], changes=changes)
    (executed,) = execute(configuration, tmp_path / "runs")
    direct, buffered = executed.runs
    assert direct.verdict == "FAILED"
    assert direct.failure is not None
    assert "lies on fuse, which takes O_DIRECT but copies through memory in silence" in direct.failure.message
    assert verdict(buffered) == "VALID", (buffered.failure, buffered.reasons)
    assert any("came from storage" in text for text in buffered.unverified)
    assert buffered.facts["storage"]["filesystem"].startswith("fuse")
    assert "user_id=0" in buffered.facts["storage"]["options"] or buffered.facts["storage"]["options"]
    assert buffered.measured is not None
    assert buffered.measured.bytes_per_s is not None
    assert buffered.measured.bytes_per_s < 40e6


def test_wrong_bytes_are_never_delivered_by_a_reader(storage: Storage) -> None:
    storage.tell(errno=errno.EIO, offset=10 * IMAGE_BYTES)
    with CpuDevice() as device, BufferedReader(open_dataset(storage.mount), device) as reader:
        buffer = device.allocate(reader.buffer_bytes(PER_FILE))
        with pytest.raises(ReadError, match="errno 5"):
            reader.read([Piece(0, 0, PER_FILE, 0)], buffer)
