"""Bytes that seem to come from storage and do not, end to end, by the real thing."""

import mmap
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from inferkit.dataset.synthetic import make_synthetic
from inferkit.linux.page_cache import evict, process_read_bytes
from inferkit.machine.holders import holder
from inferkit.measure.measure import measure
from inferkit.plan.build import plan
from inferkit.records.params import MakeDataset, SingleProcess, StorageToHost
from inferkit.records.run import Run
from tests.mounting import Mounts
from tests.verdicts import verdict

IMAGE = 3 * 64 * 64


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """Give a folder on a disk whose reads are counted."""
    if holder(tmp_path).kind != "disk" or process_read_bytes() is None:
        pytest.skip(f"{tmp_path} lies on {holder(tmp_path)}, or reads are not counted here")
    return tmp_path / "disk"


def made(folder: Path, images: int = 512, shape: tuple[int, int, int] = (3, 64, 64), per_file: int = 64) -> Path:
    make_synthetic(MakeDataset(data=str(folder), limit=images, shape=list(shape), images_per_file=per_file))
    for path in folder.rglob("*.tensors"):
        evict(path)
    return folder


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.tensors"))


def read(folder: Path, reader: str = "direct", **changes: Any) -> Run:
    values = {"data": str(folder), "warmup_s": 0.1, "duration_s": 0.3, "repeats": 1, "batch_sizes": [8], "threads": [2]}
    params = StorageToHost.check({**values, "readers": [reader], "source": "storage", "verify_batches": 0, **changes})
    (run,) = measure(plan(params))
    assert run.verdict != "FAILED", run.failure
    return run


def test_what_is_true_is_said_to_be(disk: Path) -> None:
    direct = read(made(disk))
    assert verdict(direct) == "VALID", direct.reasons
    told = [text for text in direct.unverified if "only its host knows" not in text]  # of a virtual machine's disk
    assert told == ["content of the images: verify_batches is 0"]
    evicting = read(disk, "buffered", evict=True)
    assert verdict(evicting) == "VALID", evicting.reasons


def test_tiny_files_that_another_process_keeps(disk: Path) -> None:
    made(disk, 200, (1, 16, 48), 1)
    with kept(files(disk)[:160]):
        run = read(disk, "buffered", evict=True)
    assert run.verdict == "INVALID"
    assert run.facts["storage"]["from_storage"] < 0.3
    assert "the rest from pages that evict cannot drop" in " ".join(run.reasons)


@contextmanager
def kept(paths: list[Path]) -> Iterator[None]:
    """Keep files mapped and resident."""
    with ExitStack() as stack:
        for path in paths:
            file = stack.enter_context(path.open("rb"))
            stack.enter_context(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)).read()
        yield


def test_a_cold_set_that_is_read_twice(disk: Path) -> None:
    run = read(made(disk), "buffered")
    assert run.verdict == "INVALID"
    assert "the rest from the page cache" in " ".join(run.reasons)


@pytest.mark.parametrize("fstype", ["ext4", "btrfs"])
def test_a_disk_in_memory(mounts: Mounts, fstype: str) -> None:
    image = mounts.loop("image", mounts.tmpfs("memory"), fstype, 256 * 2**20)
    run = read(made(image / "data"), "buffered", evict=True)
    assert run.verdict == "INVALID"
    assert f"lies on {fstype} on loop" in " ".join(run.reasons)
    assert "on tmpfs, which is memory" in " ".join(run.reasons)


def test_an_overlay_on_compressed_memory(mounts: Mounts, tmp_path: Path) -> None:
    zram = mounts.zram("zram")
    made(zram / "lower")
    (zram / "upper").mkdir()
    run = read(mounts.overlay("over", zram / "lower", upper=zram / "upper"))
    assert run.verdict == "INVALID"
    assert "lies on overlay on ext4 on zram" in " ".join(run.reasons)


def test_a_folder_mounted_inside(mounts: Mounts, disk: Path) -> None:
    made(disk)
    memory = mounts.tmpfs("memory")
    (disk / "sub").mkdir()
    mounts.bind(memory, disk / "sub")
    (memory / "more.tensors").write_bytes(os.urandom(64 * IMAGE))
    (disk / "dataset.json").unlink()
    run = read(disk, "buffered", evict=True, shape=[3, 64, 64], dtype="uint8")
    assert run.verdict == "INVALID"
    assert "1 of 9 files" in " ".join(run.reasons)
    assert "(sub/more.tensors …) lie on tmpfs, which is memory" in " ".join(run.reasons)


def test_mapped_files_that_are_cold(disk: Path) -> None:
    made(disk, 64)
    values = {"data": str(disk), "warmup_s": 0.05, "duration_s": 0.05, "repeats": 1, "batch_sizes": [8]}
    values |= {"readers": ["mapped"], "device": "cpu", "engines": ["null"], "earlier": str(disk)}
    read, copy, run = measure(plan(SingleProcess.check(values | {"source": "memory"})))
    assert (read.measure, read.point["reader"], read.point["cold"]) == ("read", "buffered", True)
    assert set(run.ceilings) - {"cpu"} <= {"read", "copy"}  # most was read again, from memory
    assert ("copy" in run.ceilings) == (copy.verdict == "VALID")  # else the machine was noisy
    assert any("of the pages were not in memory" in text for text in [*run.reasons, *run.warnings]), run


def test_holes_and_blocks_that_were_never_written(disk: Path) -> None:
    made(disk)
    for index, path in enumerate(files(disk)):
        with path.open("r+b") as file:
            file.truncate(0)
            if index % 2:
                file.truncate(64 * IMAGE)
            else:
                os.posix_fallocate(file.fileno(), 0, 64 * IMAGE)
    run = read(disk)
    assert run.verdict == "INVALID"
    assert "for 100.0 % are holes or blocks that were never written" in " ".join(run.reasons)


def test_a_small_set_read_again_and_again(disk: Path) -> None:
    run = read(made(disk, 8))
    assert any("the data set's 98.3 kB were read" in text for text in run.warnings)


@contextmanager
def beside(source: str, file: Path) -> Iterator[None]:
    """Let another program work at a file meanwhile."""
    with subprocess.Popen([sys.executable, "-c", source, str(file)]) as program:
        try:
            yield
        finally:
            program.kill()


READER = """
import os, sys
file = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECT)
import mmap
memory = mmap.mmap(-1, 2**20)
while True:
    for offset in range(0, 32 * 2**20, 2**20):
        os.preadv(file, [memory], offset)
"""


def test_what_somebody_else_reads(disk: Path, tmp_path: Path) -> None:
    made(disk)
    other = tmp_path / "other"
    other.write_bytes(os.urandom(32 * 2**20))
    evict(other)
    with beside(READER, other):
        run = read(disk)
    storage = run.facts["storage"]
    if storage["disk_bytes"] is None:
        pytest.skip("the disk counts nothing")
    assert storage["disk_bytes"] > 1.05 * storage["process_read_bytes"]
    assert any("of the disk's reads were not ours" in text for text in run.warnings)


WRITER = """
import mmap, os, sys
file = os.open(sys.argv[1], os.O_WRONLY | os.O_DIRECT)
memory = mmap.mmap(-1, 2**20)
while True:
    for offset in range(0, 32 * 2**20, 2**20):
        os.pwritev(file, [memory], offset)
"""


def test_what_somebody_else_writes(disk: Path, tmp_path: Path) -> None:
    made(disk)
    other = tmp_path / "other"
    other.write_bytes(bytes(32 * 2**20))
    with beside(WRITER, other):
        run = read(disk, duration_s=1.0)
    storage = run.facts["storage"]
    if storage["written_bytes"] is None:
        pytest.skip("the disk counts nothing")
    assert storage["written_bytes"] > 0.06 * storage["disk_bytes"]
    assert any("of what the disk moved was written, and not by us" in text for text in [*run.reasons, *run.warnings])


def test_what_the_file_system_compresses(mounts: Mounts, disk: Path) -> None:
    disk.mkdir()
    made(mounts.loop("image", disk, "btrfs", 256 * 2**20, "compress-force=zstd") / "data")
    for path in files(disk.parent / "mounts/image/data"):
        path.write_bytes(bytes(range(256)) * (64 * IMAGE // 256))
    run = read(disk.parent / "mounts/image/data", "buffered", evict=True)
    assert run.verdict == "INVALID"
    assert "for 100.0 % are compressed by the file system" in " ".join(run.reasons)


def test_a_loop_device_whose_file_is_cached(mounts: Mounts, disk: Path) -> None:
    disk.mkdir()
    data = made(mounts.loop("image", disk) / "data")
    (disk / "image.img").read_bytes()
    told = ""
    for _ in range(5):  # what other tests read of the disk meanwhile is counted too, and may hide it
        run = read(data)
        told += " ".join(run.reasons)
        if "the rest from" in told:
            break
    assert run.verdict == "INVALID"
    assert "the rest from a cache below the file system (ext4 on loop" in told
