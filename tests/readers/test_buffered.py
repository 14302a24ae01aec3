import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from inferkit.batch import Piece
from inferkit.dataset.tensors import Dataset, TensorFile
from inferkit.devices.cpu import CpuDevice
from inferkit.errors import ReadError
from inferkit.linux.mounts import filesystem
from inferkit.linux.page_cache import evict, resident_share
from inferkit.readers import files as base
from inferkit.readers.buffered import BufferedReader
from tests.conftest import MakeTensors
from tests.readers.conftest import assert_delivers, assert_reads_every_image


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("shape", [(3, 5, 7), (1,), (3, 32, 32), (3, 37, 41)])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize(("batch_size", "threads"), [(1, 1), (4, 3), (15, 1), (40, 20)])
def test_reads_every_image(
    make_dataset: MakeTensors, device: CpuDevice, shape: tuple[int, ...], dtype: str, batch_size: int, threads: int
) -> None:
    known = make_dataset((5, 3, 7), shape, dtype)
    with BufferedReader(known.dataset, device) as reader:
        assert_reads_every_image(reader, known, device, batch_size=batch_size, threads=threads)


def test_buffer_is_as_large_as_the_batch(make_dataset: MakeTensors, device: CpuDevice) -> None:
    assert BufferedReader(make_dataset().dataset, device).buffer_bytes(4) == 4 * 105


def test_batch_of_more_files_than_are_kept_open(make_dataset: MakeTensors, device: CpuDevice) -> None:
    files = 3 * base.OPEN_FILES_PER_THREAD
    known = make_dataset((1, 2) * (files // 2))
    before = open_files()
    with BufferedReader(known.dataset, device) as reader:
        assert_reads_every_image(reader, known, device, batch_size=known.dataset.images, threads=1)
        assert_reads_every_image(reader, known, device, batch_size=7, threads=2)
        assert open_files() == before + base.OPEN_FILES_PER_THREAD
    assert open_files() == before


def test_reads_in_parts_where_the_kernel_gives_no_more(
    make_dataset: MakeTensors, device: CpuDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "LARGEST_READ", 17)
    known = make_dataset()
    with BufferedReader(known.dataset, device) as reader:
        assert_reads_every_image(reader, known, device, batch_size=6, threads=2)


def test_close_twice_does_nothing_more(make_dataset: MakeTensors, device: CpuDevice) -> None:
    known = make_dataset()
    reader = BufferedReader(known.dataset, device)
    buffer = device.allocate(reader.buffer_bytes(1))
    reader.read([Piece(0, 0, 1, 0)], buffer)
    reader.close()
    reader.close()
    assert_delivers(reader.read([Piece(1, 2, 1, 7)], buffer), [Piece(1, 2, 1, 7)], known)
    reader.close()


@pytest.mark.parametrize("left", [0, 2 * 105, 2 * 105 + 50])
def test_truncated_while_open(make_dataset: MakeTensors, device: CpuDevice, left: int) -> None:
    known = make_dataset()
    with BufferedReader(known.dataset, device) as reader:
        buffer = device.allocate(reader.buffer_bytes(3))
        reader.read([Piece(2, 0, 3, 8)], buffer)
        path = known.dataset.path(2)
        os.truncate(path, left)
        with pytest.raises(ReadError, match=f"{path} ends at byte {left}, {5 * 105 - left} bytes early"):
            reader.read([Piece(2, 0, 5, 8)], device.allocate(reader.buffer_bytes(5)))


def test_grown_file_is_read_as_far_as_it_was(make_dataset: MakeTensors, device: CpuDevice) -> None:
    known = make_dataset()
    with known.dataset.path(0).open("ab") as file:
        file.write(b"more")
    with BufferedReader(known.dataset, device) as reader:
        assert_reads_every_image(reader, known, device, batch_size=4, threads=1)


def test_vanished_file(make_dataset: MakeTensors, device: CpuDevice) -> None:
    known = make_dataset()
    with BufferedReader(known.dataset, device) as reader:
        known.dataset.path(1).unlink()
        buffer = device.allocate(reader.buffer_bytes(1))
        reader.read([Piece(0, 0, 1, 0)], buffer)
        with pytest.raises(ReadError, match=f"cannot open {known.dataset.path(1)}: No such file.*errno 2.*mounted"):
            reader.read([Piece(1, 0, 1, 5)], buffer)


def test_vanished_folder(make_dataset: MakeTensors, device: CpuDevice) -> None:
    known = make_dataset()
    with BufferedReader(known.dataset, device) as reader:
        shutil.rmtree(known.dataset.path(0).parent)
        with pytest.raises(ReadError, match="No such file"):
            reader.read([Piece(0, 0, 1, 0)], device.allocate(105))
    with pytest.raises(ReadError, match=r"cannot examine .*images-00.*No such file"):
        BufferedReader(known.dataset, device)


def test_evicts_before_the_first_batch_too(make_dataset: MakeTensors, device: CpuDevice) -> None:
    known = make_dataset((9, 9), (3, 64, 64))
    paths = [known.dataset.path(k) for k in range(2)]
    if filesystem(paths[0]).in_memory:
        pytest.skip("nothing can be evicted from memory")
    assert resident_share(paths) == 1.0
    with BufferedReader(known.dataset, device, evict=True):
        assert resident_share(paths) == 0.0


def replaced(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    other.replace(path)


def written_to(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"altered")


@pytest.mark.parametrize("change", [replaced, written_to])
def test_changed_files_are_found_when_opened_and_at_the_end(
    make_dataset: MakeTensors, device: CpuDevice, change: Callable[[Path], None]
) -> None:
    known = make_dataset()
    path = known.dataset.path(1)
    with BufferedReader(known.dataset, device) as reader:
        reader.check_unchanged()
        buffer = device.allocate(105)
        reader.read([Piece(0, 0, 1, 0)], buffer)
        change(path)
        with pytest.raises(
            ReadError, match=f"{path} was replaced or written to .315 bytes when reading began, now 315"
        ):
            reader.read([Piece(1, 0, 1, 5)], buffer)
        with pytest.raises(ReadError, match=f"{path} was replaced or written to"):
            reader.check_unchanged()


def test_folder_in_place_of_the_file(make_dataset: MakeTensors, device: CpuDevice) -> None:
    known = make_dataset()
    path = known.dataset.path(0)
    with BufferedReader(known.dataset, device) as reader:
        path.unlink()
        path.mkdir()
        with pytest.raises(ReadError, match=f"{path} was replaced or written to"):
            reader.read([Piece(0, 1, 1, 1)], device.allocate(105))


def test_input_output_error(tmp_path: Path, device: CpuDevice) -> None:
    # The kernel answers EIO where a process reads its own memory at an address that is not mapped, such as 0.
    (tmp_path / "failing.tensors").symlink_to("/proc/self/mem")
    dataset = Dataset(tmp_path, "uint8", (105,), (TensorFile("failing.tensors", 4, 420),), described=False)
    with (
        BufferedReader(dataset, device) as reader,
        pytest.raises(ReadError, match=r"failing.tensors at byte 210: Input/output error \(errno 5\)"),
    ):
        reader.read([Piece(0, 2, 1, 2)], device.allocate(105))


@pytest.mark.parametrize("shape", [(3, 5, 7), (3, 64, 64), (3, 37, 41)])
def test_evict_drops_the_pages_behind_each_batch(
    make_dataset: MakeTensors, device: CpuDevice, shape: tuple[int, ...]
) -> None:
    known = make_dataset((96, 32), shape)
    if filesystem(known.dataset.path(0)).in_memory:
        pytest.skip(f"{known.dataset.folder} lies in memory: nothing can be evicted")
    paths = [known.dataset.path(k) for k in range(2)]
    with BufferedReader(known.dataset, device) as reader:
        assert_reads_every_image(reader, known, device, batch_size=9, threads=1)
    assert resident_share(paths) == 1.0
    for path in paths:
        evict(path)
    with BufferedReader(known.dataset, device, evict=True) as reader:
        assert_reads_every_image(reader, known, device, batch_size=9, threads=1)
    assert resident_share(paths) == 0.0


def test_evict_leaves_a_file_in_memory_as_it_is(make_dataset: MakeTensors, device: CpuDevice, shm: Path) -> None:
    known = make_dataset(folder=shm)
    with BufferedReader(known.dataset, device, evict=True) as reader:
        assert_reads_every_image(reader, known, device, batch_size=4, threads=2)
    assert np.array_equal(np.fromfile(known.dataset.path(0), np.uint8), known.content[:5].ravel())
