import dataclasses
import mmap
import os
from pathlib import Path

import pytest

from inferkit.batch import Piece
from inferkit.devices.cpu import CpuDevice
from inferkit.errors import ReadError
from inferkit.linux.direct_io import DirectIo
from inferkit.linux.mounts import filesystem
from inferkit.linux.page_cache import evict, resident_share
from inferkit.machine.holders import Holder
from inferkit.readers import direct
from inferkit.readers import files as base
from inferkit.readers.direct import DirectReader, direct_io_block, probe
from tests.conftest import MakeTensors
from tests.mounting import MEBIBYTE, Mounts
from tests.readers.conftest import assert_reads_every_image, content


# 105 bytes: many images in a block; 4551: a block and a bit; 12288: whole blocks; the files have odd lengths.
@pytest.mark.parametrize("shape", [(3, 5, 7), (1,), (3, 64, 64), (3, 37, 41)])
@pytest.mark.parametrize(("batch_size", "threads"), [(1, 1), (4, 3), (15, 1), (40, 20)])
def test_reads_every_image(
    make_dataset: MakeTensors,
    device: CpuDevice,
    past_cache: type[DirectReader],
    disk: Path,
    shape: tuple[int, ...],
    batch_size: int,
    threads: int,
) -> None:
    known = make_dataset((5, 3, 7), shape, folder=disk)
    with past_cache(known.dataset, device) as reader:
        assert_reads_every_image(reader, known, device, batch_size=batch_size, threads=threads)


@pytest.mark.parametrize("block", [512, 4096, 65536])
def test_any_block_will_do(
    make_dataset: MakeTensors,
    device: CpuDevice,
    past_cache: type[DirectReader],
    disk: Path,
    monkeypatch: pytest.MonkeyPatch,
    block: int,
) -> None:
    monkeypatch.setattr(direct, "direct_io_alignment", lambda path: DirectIo(block, block))
    known = make_dataset((5, 3, 7), (3, 37, 41), folder=disk)
    with past_cache(known.dataset, device) as reader:
        facts = reader.facts
        assert (facts["block"], facts["block_known_by"]) == (block, "statx DIOALIGN")
        assert reader.buffer_bytes(4) == 4 * (3 * 37 * 41 + 2 * block)
        assert_reads_every_image(reader, known, device, batch_size=6, threads=2)


def test_block_without_dioalign(disk: Path, monkeypatch: pytest.MonkeyPatch, make_dataset: MakeTensors) -> None:
    path = make_dataset(folder=disk).dataset.path(0)
    monkeypatch.setattr(direct, "direct_io_alignment", lambda path: None)
    block, known_by = direct_io_block(path)
    assert block in (512, 4096)
    assert ("logical block size" in known_by) or (block == 4096 and "assumed" in known_by)


def test_one_buffer_holds_batches_that_begin_anywhere(
    make_dataset: MakeTensors, device: CpuDevice, past_cache: type[DirectReader], disk: Path
) -> None:
    # The original's bytes are wrong from the second batch on.
    known = make_dataset((60,), (3, 37, 41), folder=disk)
    with past_cache(known.dataset, device) as reader:
        buffer = device.allocate(reader.buffer_bytes(7))
        for start in (0, 7, 14, 53, 1):
            segments = reader.read([Piece(0, start, 7, start)], buffer)
            assert (content(segments) == known.content[start : start + 7].ravel()).all()


def test_reads_in_parts_where_the_kernel_gives_no_more(
    make_dataset: MakeTensors,
    device: CpuDevice,
    past_cache: type[DirectReader],
    disk: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(base, "LARGEST_READ", 4096)
    known = make_dataset((9, 4), (3, 37, 41), folder=disk)
    with past_cache(known.dataset, device) as reader:
        assert_reads_every_image(reader, known, device, batch_size=6, threads=2)


def test_leaves_no_page_in_the_cache(
    make_dataset: MakeTensors, device: CpuDevice, past_cache: type[DirectReader], disk: Path
) -> None:
    known = make_dataset((60,), (3, 37, 41), folder=disk)
    evict(known.dataset.path(0))
    with past_cache(known.dataset, device) as reader:
        assert_reads_every_image(reader, known, device, batch_size=7, threads=2)
    assert resident_share([known.dataset.path(0)]) == 0.0


@pytest.mark.parametrize("left", [0, 3000, 4096, 4551 + 1])
def test_truncated_while_open(
    make_dataset: MakeTensors, device: CpuDevice, past_cache: type[DirectReader], disk: Path, left: int
) -> None:
    known = make_dataset((4,), (3, 37, 41), folder=disk)
    path = known.dataset.path(0)
    with past_cache(known.dataset, device) as reader:
        buffer = device.allocate(reader.buffer_bytes(4))
        reader.read([Piece(0, 0, 1, 0)], buffer)
        os.truncate(path, left)
        with pytest.raises(ReadError, match=f"{path} ends at byte {left}, {4 * 4551 - left} bytes early"):
            reader.read([Piece(0, 0, 4, 0)], buffer)


def test_vanished_file(
    make_dataset: MakeTensors, device: CpuDevice, past_cache: type[DirectReader], disk: Path
) -> None:
    known = make_dataset(folder=disk)
    with past_cache(known.dataset, device) as reader:
        known.dataset.path(1).unlink()
        with pytest.raises(ReadError, match=r"cannot open .*No such file"):
            reader.read([Piece(1, 0, 1, 5)], device.allocate(reader.buffer_bytes(1)))


def test_the_page_cache_is_proved_to_be_passed_by(
    make_dataset: MakeTensors, device: CpuDevice, past_cache: type[DirectReader], disk: Path
) -> None:
    known = make_dataset((60, 1), (3, 37, 41), folder=disk)
    known.dataset.path(1).read_bytes()
    with past_cache(known.dataset, device) as reader:
        assert reader.facts["proved_by"] == "a probe read of dropped pages left none resident"


def test_a_file_system_that_goes_through_the_cache_is_refused(
    make_dataset: MakeTensors, device: CpuDevice, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares = iter([0.0, 0.25])
    monkeypatch.setattr(direct, "resident_share", lambda paths: next(shares))
    with pytest.raises(ReadError, match=r"left pages in the page cache, .*: use reader buffered"):
        DirectReader(make_dataset(folder=disk).dataset, device)


@pytest.mark.parametrize("options", ["rw", "compress-force=zstd"])
def test_btrfs_passes_the_cache_by_unless_it_compresses(tmp_path: Path, mounts: Mounts, options: str) -> None:
    path = mounts.loop("disk", tmp_path, "btrfs", 128 * MEBIBYTE, options) / "file"
    path.write_bytes(bytes(range(256)) * 8192)
    if options == "rw":
        assert probe(path, 4096) == "a probe read of dropped pages left none resident"
    else:
        with pytest.raises(ReadError, match=r"goes through it \(its file system has compressed it\): use reader"):
            probe(path, 4096)


@pytest.mark.parametrize(("share", "told"), [(None, "does not tell this user"), (0.5, "some process has them mapped")])
def test_what_cannot_be_proved_is_said(
    make_dataset: MakeTensors,
    device: CpuDevice,
    disk: Path,
    monkeypatch: pytest.MonkeyPatch,
    share: float | None,
    told: str,
) -> None:
    monkeypatch.setattr(direct, "resident_share", lambda paths: share)
    with DirectReader(make_dataset(folder=disk).dataset, device) as reader:
        assert str(reader.facts["proved_by"]).startswith("not proved: ")
        assert told in str(reader.facts["proved_by"])


def test_pages_that_are_mapped_cannot_be_dropped(make_dataset: MakeTensors, disk: Path) -> None:
    path = make_dataset(folder=disk).dataset.path(0)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert mapped[0] is not None
        assert "some process has them mapped" in probe(path, 512)


def test_vanished_before(
    make_dataset: MakeTensors, device: CpuDevice, past_cache: type[DirectReader], disk: Path
) -> None:
    known = make_dataset(folder=disk)
    known.dataset.path(0).unlink()
    with pytest.raises(ReadError, match="No such file"):
        past_cache(known.dataset, device)


def test_memory_is_refused_by_name(
    make_dataset: MakeTensors, device: CpuDevice, past_cache: type[DirectReader], shm: Path
) -> None:
    known = make_dataset(folder=shm)
    name = filesystem(shm).fstype
    with pytest.raises(ReadError, match=f"lies on {name}, which takes O_DIRECT but copies .* reader buffered"):
        past_cache(known.dataset, device)


def test_file_system_without_direct_io_is_refused(tmp_path: Path) -> None:
    link = tmp_path / "no-direct.tensors"
    link.symlink_to("/proc/self/mem")
    with pytest.raises(ReadError, match=r"on proc does not open with O_DIRECT \(Invalid argument\): use reader buff"):
        direct_io_block(link)


def test_fuse_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "images.tensors"
    path.write_bytes(bytes(10))
    monkeypatch.setattr(direct, "holder", lambda path: Holder("fuse", ("fuse.sshfs",)))
    with pytest.raises(ReadError, match=r"lies on fuse.sshfs, which takes O_DIRECT"):
        direct_io_block(path)


@pytest.mark.parametrize("elsewhere", [True, False])
def test_each_storage_of_a_data_set_is_asked(
    make_dataset: MakeTensors, device: CpuDevice, past_cache: type[DirectReader], disk: Path, shm: Path, elsewhere: bool
) -> None:
    # The smallest file lies on the disk; the folder lies on it as well, or in memory.
    folder, other = (disk, shm) if elsewhere else (shm, disk)
    known = make_dataset((5, 3), (3, 64, 64), folder=folder)
    other.mkdir(exist_ok=True)
    for path in [known.dataset.path(0)] if elsewhere else [known.dataset.path(1)]:
        (other / "elsewhere").write_bytes(path.read_bytes())
        path.unlink()
        path.symlink_to(other / "elsewhere")
    with pytest.raises(ReadError, match=r"images-00.tensors lies on .*, which takes O_DIRECT but copies"):
        past_cache(known.dataset, device)


def test_an_overlay_is_asked_in_its_layers(
    make_dataset: MakeTensors, device: CpuDevice, past_cache: type[DirectReader], disk: Path, mounts: Mounts
) -> None:
    memory = mounts.tmpfs("memory")
    (memory / "upper").mkdir()
    known = make_dataset((5, 3), (3, 64, 64), folder=disk)
    over = mounts.overlay("over", disk, upper=memory / "upper")
    data = dataclasses.replace(known.dataset, folder=over)
    with past_cache(data, device) as reader:
        assert_reads_every_image(reader, known, device, batch_size=4, threads=1)
    os.utime(over / "images-01.tensors")  # copies it up
    with pytest.raises(ReadError, match=r"images-01.tensors lies on tmpfs, which takes O_DIRECT but copies"):
        past_cache(data, device)


def test_the_largest_block_serves_all(
    make_dataset: MakeTensors, device: CpuDevice, past_cache: type[DirectReader], disk: Path, mounts: Mounts
) -> None:
    image = mounts.loop("image", mounts.tmpfs("memory"), sector=4096)
    known = make_dataset((5, 3), (3, 37, 41), folder=disk)
    (image / "b").write_bytes(known.dataset.path(1).read_bytes())
    known.dataset.path(1).unlink()
    known.dataset.path(1).symlink_to(image / "b")
    with past_cache(known.dataset, device) as reader:
        assert reader.block == 4096
        assert_reads_every_image(reader, known, device, batch_size=3, threads=2)


def test_blocks_around_what_is_read_are_asked_for(
    make_dataset: MakeTensors, device: CpuDevice, past_cache: type[DirectReader], disk: Path
) -> None:
    known = make_dataset((8,), (1, 16, 48), folder=disk)
    with past_cache(known.dataset, device) as reader:
        reader.block = 512
        assert reader.rounding([[Piece(0, 0, 1, 0)]]) == 1024 / 768
        assert reader.rounding([[Piece(0, 1, 1, 1)], [Piece(0, 2, 2, 2)]]) == (1024 + 1536) / (3 * 768)
