"""Straight into a device's memory: with a stand-in for KvikIO, and a device whose own memory the host can see."""

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from inferkit.batch import Piece
from inferkit.devices.base import OWN
from inferkit.devices.cpu import CpuDevice
from inferkit.errors import DeviceError, ReadError
from inferkit.linux.mounts import filesystem
from inferkit.readers import files as base
from inferkit.readers import gds
from inferkit.readers.gds import GdsReader
from tests.conftest import Known, MakeTensors
from tests.kvikio_stand_in import CompatMode, Kvikio, StorageDevice, install
from tests.readers.conftest import assert_delivers, assert_reads_every_image, content

NOT_LOADED = "nvidia-fs driver is not loaded"


@pytest.fixture
def kvikio(monkeypatch: pytest.MonkeyPatch) -> Kvikio:
    return install(monkeypatch)


@pytest.fixture
def device() -> Iterator[StorageDevice]:
    with StorageDevice(poison=True) as device:
        yield device


@pytest.mark.parametrize("refuses", ["", NOT_LOADED])
@pytest.mark.parametrize("shape", [(3, 5, 7), (1,), (3, 64, 64), (3, 37, 41)])
@pytest.mark.parametrize(("batch_size", "threads"), [(1, 1), (4, 3), (15, 1), (40, 20)])
def test_reads_every_image(
    make_dataset: MakeTensors,
    device: StorageDevice,
    kvikio: Kvikio,
    disk: Path,
    shape: tuple[int, ...],
    batch_size: int,
    threads: int,
    refuses: str,
) -> None:
    kvikio.refuses = refuses
    known = make_dataset((5, 3, 7), shape, folder=disk)
    with GdsReader(known.dataset, device) as reader:
        assert_reads_every_image(reader, known, device, batch_size=batch_size, threads=threads)
    assert all(offset % 4096 == place % 4096 == 0 for _, offset, place in kvikio.reads)
    assert kvikio.opened == 0


def test_delivers_segments_of_the_device_s_own_memory(
    make_dataset: MakeTensors, device: StorageDevice, kvikio: Kvikio, disk: Path
) -> None:
    known = make_dataset((60,), (3, 37, 41), folder=disk)
    with GdsReader(known.dataset, device) as reader:
        buffer = reader.buffer(7)
        for start in (0, 7, 14, 53, 1):
            segments = reader.read([Piece(0, start, 7, start)], buffer)
            assert {segment.kind for segment in segments} == {OWN}
            assert (content(segments) == known.content[start : start + 7].ravel()).all()
        buffer.close()


@pytest.mark.parametrize("largest", [1, 4096, 5000])
def test_short_reads_are_gone_on_with(
    make_dataset: MakeTensors, device: StorageDevice, kvikio: Kvikio, disk: Path, largest: int
) -> None:
    kvikio.largest = largest
    known = make_dataset((9, 4), (3, 5, 7) if largest == 1 else (3, 37, 41), folder=disk)
    with GdsReader(known.dataset, device) as reader:
        assert_reads_every_image(reader, known, device, batch_size=6, threads=2)


def test_nothing_is_asked_for_behind_a_file_s_end(
    make_dataset: MakeTensors, device: StorageDevice, kvikio: Kvikio, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gds, "LARGEST_READ", 8192)
    known = make_dataset((3,), (3, 37, 41), folder=disk)
    with GdsReader(known.dataset, device) as reader:
        assert_reads_every_image(reader, known, device, batch_size=3, threads=1)
    assert kvikio.reads == [(8192, 0, 0), (3 * 4551 - 8192, 8192, 8192)]


def test_the_way_is_found_out_and_kept(
    make_dataset: MakeTensors, device: StorageDevice, kvikio: Kvikio, disk: Path
) -> None:
    known = make_dataset((5, 3), folder=disk)
    with GdsReader(known.dataset, device) as reader:
        kvikio.refuses = "no more"
        kvikio.settings["compat_mode"] = CompatMode.AUTO
        with pytest.raises(ReadError, match=r"cannot open .*images-00\.tensors: no more$"):
            reader.read([Piece(0, 0, 1, 0)], reader.buffer(1))
        (way,) = reader.facts["ways"]
    assert way["lacks"] == ""
    assert way["files"] == 2
    assert way["on"].startswith(filesystem(disk).fstype)
    assert kvikio.modes == [CompatMode.OFF]
    assert kvikio.settings["compat_mode"] is CompatMode.AUTO


def test_compatibility_mode_is_taken_on_purpose_and_told(
    make_dataset: MakeTensors, device: StorageDevice, kvikio: Kvikio, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kvikio.refuses = "cuFile error: 5027\n  not supported"
    known = make_dataset((5, 3), folder=disk)
    reasons = {
        None: r"nvidia-fs is not loaded \(cuFile error: 5027 not supported\): install",
        "2.2": r"^cuFile refuses \w+: cuFile error: 5027 not supported$",
    }
    for version, reason in reasons.items():
        monkeypatch.setattr(gds, "nvidia_fs", lambda version=version: version)
        with GdsReader(known.dataset, device) as reader:
            buffer = reader.buffer(3)
            assert_delivers(reader.read([Piece(1, 0, 3, 5)], buffer), [Piece(1, 0, 3, 5)], known)
            (way,) = reader.facts["ways"]
            assert re.search(reason, way["lacks"]), way
    assert kvikio.modes == [CompatMode.ON] * 2
    assert not kvikio.registered


def test_memory_takes_no_part(device: StorageDevice, kvikio: Kvikio, shm: Path, make_dataset: MakeTensors) -> None:
    known = make_dataset((5, 3), folder=shm / "data")
    with GdsReader(known.dataset, device) as reader:
        assert_reads_every_image(reader, known, device, batch_size=4, threads=2)
        assert [way["lacks"] for way in reader.facts["ways"]] == ["tmpfs is memory, and no disk"]


def test_a_file_system_that_refuses_o_direct_is_named(
    make_dataset: MakeTensors, device: StorageDevice, kvikio: Kvikio, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = make_dataset(folder=disk)
    real = os.open

    def without(path: Path, flags: int, *mode: int) -> int:
        if flags & os.O_DIRECT:
            raise OSError(22, "Invalid argument")
        return real(path, flags, *mode)

    monkeypatch.setattr(os, "open", without)
    with GdsReader(known.dataset, device) as reader:
        (way,) = reader.facts["ways"]
    assert "does not open files with O_DIRECT: " in way["lacks"]


def test_files_on_several_file_systems_go_each_their_way(
    make_dataset: MakeTensors, device: StorageDevice, kvikio: Kvikio, disk: Path, shm: Path
) -> None:
    known = make_dataset((5, 3, 7), (3, 37, 41), folder=disk)
    moved = known.dataset.path(1)
    (shm / moved.name).write_bytes(moved.read_bytes())
    moved.unlink()
    moved.symlink_to(shm / moved.name)
    with GdsReader(known.dataset, device) as reader:
        assert_reads_every_image(reader, known, device, batch_size=15, threads=1)
        assert [(way["files"], bool(way["lacks"])) for way in reader.facts["ways"]] == [(2, False), (1, True)]
    assert kvikio.modes == [CompatMode.OFF, CompatMode.OFF, CompatMode.ON, CompatMode.OFF]


def test_cufile_may_fall_back_to_nothing(
    make_dataset: MakeTensors, device: StorageDevice, kvikio: Kvikio, disk: Path
) -> None:
    with GdsReader(make_dataset(folder=disk).dataset, device) as reader:
        assert os.environ["CUFILE_ALLOW_COMPAT_MODE"] == os.environ["CUFILE_FORCE_COMPAT_MODE"] == "false"
        assert kvikio.settings["auto_direct_io_read"] is True
        assert reader.facts["target"] == "device memory"
        assert reader.facts["library"] == "KvikIO 26.10.00, cuFile 1.15"


def test_buffers_are_known_to_cufile_until_they_are_freed(
    make_dataset: MakeTensors, device: StorageDevice, kvikio: Kvikio, disk: Path
) -> None:
    with GdsReader(make_dataset(folder=disk).dataset, device) as reader:
        buffers = [reader.buffer(4) for _ in range(3)]
        assert kvikio.registered == {buffer.address for buffer in buffers}
        for buffer in [*buffers, *buffers]:
            buffer.close()
        assert not kvikio.registered
        kvikio.unmappable = "CU_FILE_NO_MEMORY"
        with pytest.raises(DeviceError, match=r"cannot map \d+ bytes .* \(CU_FILE_NO_MEMORY\): lower host_batches"):
            reader.buffer(4)


@pytest.mark.parametrize("left", [0, 3000, 4096, 4551 + 1])
def test_truncated_while_open(
    make_dataset: MakeTensors, device: StorageDevice, kvikio: Kvikio, disk: Path, left: int
) -> None:
    known = make_dataset((4,), (3, 37, 41), folder=disk)
    path = known.dataset.path(0)
    with GdsReader(known.dataset, device) as reader:
        buffer = reader.buffer(4)
        reader.read([Piece(0, 0, 1, 0)], buffer)
        os.truncate(path, left)
        with pytest.raises(ReadError, match=f"cannot read {path} at byte {left} into the GPU's memory: POSIX error"):
            reader.read([Piece(0, 0, 4, 0)], buffer)


def test_vanished_and_replaced_files(
    make_dataset: MakeTensors, device: StorageDevice, kvikio: Kvikio, disk: Path
) -> None:
    known = make_dataset(folder=disk)
    with GdsReader(known.dataset, device) as reader:
        known.dataset.path(1).unlink()
        with pytest.raises(ReadError, match=r"cannot open .*No such file"):
            reader.read([Piece(1, 0, 1, 5)], reader.buffer(1))
        known.dataset.path(2).write_bytes(known.dataset.path(2).read_bytes())
        with pytest.raises(ReadError, match="was replaced or written to"):
            reader.read([Piece(2, 0, 1, 8)], reader.buffer(1))


def test_many_files_are_closed_again(
    make_dataset: MakeTensors, device: StorageDevice, kvikio: Kvikio, disk: Path
) -> None:
    known: Known = make_dataset((1,) * (2 * base.OPEN_FILES_PER_THREAD), (1,), folder=disk)
    with GdsReader(known.dataset, device) as reader:
        assert_reads_every_image(reader, known, device, batch_size=3, threads=1)
        assert kvikio.opened == base.OPEN_FILES_PER_THREAD
    assert kvikio.opened == 0


def test_a_cpu_has_no_memory_of_its_own(make_dataset: MakeTensors, kvikio: Kvikio, disk: Path) -> None:
    with (
        CpuDevice() as cpu,
        GdsReader(make_dataset(folder=disk).dataset, cpu) as reader,
        pytest.raises(DeviceError, match="no 'device' memory"),
    ):
        reader.buffer(1)


def test_without_kvikio(make_dataset: MakeTensors, device: StorageDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = make_dataset().dataset
    monkeypatch.setattr("inferkit.machine.direct_storage.find_spec", lambda name: None)
    with pytest.raises(DeviceError, match=r"pip install 'inferkit\[gds\]'"):
        GdsReader(dataset, device)


def test_a_kvikio_that_does_not_load(
    make_dataset: MakeTensors, device: StorageDevice, kvikio: Kvikio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "kvikio.cufile_driver", None)
    with pytest.raises(DeviceError, match=r"KvikIO does not load .*kvikio\.cufile_driver.*\(kvikio-cu12, -cu13\)"):
        GdsReader(make_dataset().dataset, device)
