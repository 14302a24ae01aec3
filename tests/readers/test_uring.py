import errno
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inferkit.batch import Piece
from inferkit.devices.cpu import CpuDevice
from inferkit.errors import ReadError
from inferkit.linux.io_uring import Read, ReadQueue
from inferkit.readers import files, uring
from inferkit.readers.uring import UringReader
from tests.conftest import MakeTensors, write_dataset
from tests.readers.conftest import assert_delivers, assert_reads_every_image

pytestmark = pytest.mark.usefixtures("io_uring")

IMAGE_BYTES = 3 * 37 * 41
FILES = (9, 1, 4, 1, 1, 17, 3)

Spoil = Callable[[int, int], int]
"""What to report in place of a result: by the read's place in the queue and its true result."""


def spoiled(monkeypatch: pytest.MonkeyPatch, spoil: Spoil) -> None:
    """Report other results than the kernel's."""
    read = ReadQueue.read

    def reading(queue: ReadQueue, reads: Iterable[Read]) -> list[int]:
        return [spoil(place, result) for place, result in enumerate(read(queue, reads))]

    monkeypatch.setattr(ReadQueue, "read", reading)


def test_facts(make_dataset: MakeTensors, device: CpuDevice, disk: Path) -> None:
    with UringReader(make_dataset(folder=disk).dataset, device) as reader:
        assert reader.facts["depth"] == 64
        assert reader.facts["block"] == reader.block


# More files in a batch than a thread holds open; more reads than may be in flight.
@pytest.mark.parametrize("images", [1, 2])
@pytest.mark.parametrize(("batch_size", "threads"), [(100, 1), (7, 3), (40, 2)])
def test_many_small_files(
    make_dataset: MakeTensors, device: CpuDevice, disk: Path, images: int, batch_size: int, threads: int
) -> None:
    known = make_dataset((images,) * 100, (3, 5, 7), folder=disk)
    with UringReader(known.dataset, device) as reader:
        assert_reads_every_image(reader, known, device, batch_size=batch_size, threads=threads)
        assert_reads_every_image(reader, known, device, batch_size=batch_size, threads=threads)


def test_no_file_is_closed_before_its_read_was_handed_over(
    make_dataset: MakeTensors, device: CpuDevice, disk: Path
) -> None:
    # A file that was opened long ago comes first, and so many others behind it that some must be closed.
    known = make_dataset((1,) * 60, (3, 5, 7), folder=disk)
    with UringReader(known.dataset, device) as reader:
        buffer = device.allocate(reader.buffer_bytes(30))
        for order in (range(16), [0, *range(16, 31)], [16, 1, 30, *range(31, 58)]):
            buffer.array[:] = 0xEE
            pieces = [Piece(file, 0, 1, file) for file in order]
            assert_delivers(reader.read(pieces, buffer), pieces, known)


@pytest.mark.parametrize("most", [4096, 8192, 2**20])
@pytest.mark.parametrize("batch_size", [1, 9, 36])
def test_reads_in_parts_where_the_kernel_gives_no_more(
    make_dataset: MakeTensors,
    device: CpuDevice,
    disk: Path,
    monkeypatch: pytest.MonkeyPatch,
    most: int,
    batch_size: int,
) -> None:
    monkeypatch.setattr(uring, "LARGEST_READ", most)
    known = make_dataset(FILES, (3, 37, 41), folder=disk)
    with UringReader(known.dataset, device) as reader:
        assert_reads_every_image(reader, known, device, batch_size=batch_size, threads=2)


pieces_of_files = st.lists(
    st.integers(0, len(FILES) - 1).flatmap(
        lambda file: st.tuples(st.just(file), st.integers(0, FILES[file] - 1), st.integers(1, FILES[file]))
    ),
    max_size=30,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    wanted=pieces_of_files,
    depth=st.sampled_from([1, 2, 16, 64]),
    lost=st.dictionaries(st.integers(0, 40), st.integers(-8192, 8192), max_size=5),
)
def test_whatever_is_asked_for_and_however_little_comes(
    disk: Path,
    device: CpuDevice,
    wanted: list[tuple[int, int, int]],
    depth: int,
    lost: dict[int, int],
) -> None:
    def shorter(place: int, result: int) -> int:
        if place not in lost:
            return result
        return -errno.EAGAIN if lost[place] < 0 else max(0, result - lost[place]) // 4096 * 4096

    known = write_dataset(disk, FILES, (3, 37, 41))
    firsts = [sum(FILES[:file]) for file in range(len(FILES))]
    pieces = [Piece(f, start, min(n, FILES[f] - start), firsts[f] + start) for f, start, n in wanted]
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(uring, "DEPTH", depth)
        monkeypatch.setattr(uring, "OPEN_FILES_PER_THREAD", min(depth, files.OPEN_FILES_PER_THREAD))
        spoiled(monkeypatch, shorter)
        with UringReader(known.dataset, device) as reader:
            buffer = device.allocate(max(1, reader.buffer_bytes(sum(piece.images for piece in pieces))))
            segments = reader.read(pieces, buffer)
            if pieces:
                assert_delivers(segments, pieces, known)
            buffer.close()


def test_an_error_names_file_offset_and_errno(
    make_dataset: MakeTensors, device: CpuDevice, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = make_dataset((20, 20, 20), (3, 37, 41), folder=disk)
    pieces = [Piece(0, 17, 3, 17), Piece(1, 5, 15, 25), Piece(2, 0, 20, 40)]
    with UringReader(known.dataset, device) as reader:
        spoiled(monkeypatch, lambda place, result: -errno.EIO if place else result)
        at = 5 * IMAGE_BYTES // reader.block * reader.block
        told = re.escape(f"cannot read {known.dataset.path(1)} at byte {at}: Input/output error (errno 5)")
        with pytest.raises(ReadError, match=told):
            reader.read(pieces, device.allocate(reader.buffer_bytes(38)))


def test_a_descriptor_that_went_bad(make_dataset: MakeTensors, device: CpuDevice, disk: Path) -> None:
    known = make_dataset((4, 1), (3, 37, 41), folder=disk)
    pieces = [Piece(0, 0, 4, 0), Piece(1, 0, 1, 4)]
    with UringReader(known.dataset, device) as reader:
        buffer = device.allocate(reader.buffer_bytes(5))
        reader.read(pieces, buffer)
        descriptor = reader._files.descriptor(0)
        os.close(descriptor)
        with pytest.raises(ReadError, match=r"at byte 0: Bad file descriptor \(errno 9\)"):
            reader.read(pieces, buffer)
        other = os.open(known.dataset.path(0), os.O_RDONLY)  # the reader will close its number
        if other != descriptor:
            os.dup2(other, descriptor)
            os.close(other)


@pytest.mark.parametrize("left", [0, 3000, 8192, 10_000])
def test_truncated_among_others(make_dataset: MakeTensors, device: CpuDevice, disk: Path, left: int) -> None:
    known = make_dataset((9, 9, 9), (3, 37, 41), folder=disk)
    path = known.dataset.path(1)
    with UringReader(known.dataset, device) as reader:
        buffer = device.allocate(reader.buffer_bytes(27))
        pieces = [Piece(file, 0, 9, 9 * file) for file in range(3)]
        assert_delivers(reader.read(pieces, buffer), pieces, known)
        os.truncate(path, left)
        with pytest.raises(ReadError, match=f"{path} ends at byte {left}, {9 * IMAGE_BYTES - left} bytes early"):
            reader.read(pieces, buffer)


def test_a_batch_fails_whole_where_a_file_vanished(make_dataset: MakeTensors, device: CpuDevice, disk: Path) -> None:
    known = make_dataset((1,) * 50, (3, 5, 7), folder=disk)
    known_pieces = [Piece(file, 0, 1, file) for file in range(50)]
    with UringReader(known.dataset, device) as reader:
        buffer = device.allocate(reader.buffer_bytes(50))
        known.dataset.path(30).unlink()
        with pytest.raises(ReadError, match=r"cannot open .*images-30.tensors: No such file"):
            reader.read(known_pieces, buffer)
        assert_delivers(reader.read(known_pieces[:30], buffer), known_pieces[:30], known)


def test_where_it_is_forbidden_the_reader_does_not_open(
    make_dataset: MakeTensors, device: CpuDevice, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(depth: int, group: int) -> ReadQueue:
        message = "io_uring is refused: use reader direct"
        raise ReadError(message)

    monkeypatch.setattr(uring, "ReadQueue", refuse)
    with pytest.raises(ReadError, match="use reader direct"):
        UringReader(make_dataset(folder=disk).dataset, device)


def test_nothing_stays_open(make_dataset: MakeTensors, device: CpuDevice, disk: Path) -> None:
    known = make_dataset((5, 5), (3, 5, 7), folder=disk)
    before = set(Path("/proc/self/fd").iterdir())
    with UringReader(known.dataset, device) as reader:
        assert_reads_every_image(reader, known, device, batch_size=4, threads=1)
        assert set(Path("/proc/self/fd").iterdir()) > before
    reader.close()
    assert set(Path("/proc/self/fd").iterdir()) <= before
