from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from inferkit.batch import Piece, Segment
from inferkit.devices.base import bytes_at
from inferkit.devices.cpu import CpuDevice
from inferkit.errors import ReadError
from inferkit.linux.io_uring import ReadQueue
from inferkit.readers.base import Reader
from inferkit.readers.direct import DirectReader, direct_io_block
from inferkit.readers.split import batches, split
from inferkit.readers.uring import UringReader
from tests.conftest import Known, Pixels


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """Give a folder whose files open with O_DIRECT."""
    probe = tmp_path / "probe"
    probe.write_bytes(bytes(4096))
    try:
        direct_io_block(probe)
    except ReadError as error:
        pytest.skip(str(error))
    return tmp_path / "disk"


@pytest.fixture
def io_uring() -> None:
    """Skip where the kernel, or what confines the tests, permits no io_uring."""
    try:
        ReadQueue(1, 1).close()
    except ReadError as error:
        pytest.skip(str(error))


@pytest.fixture(params=[DirectReader, UringReader], ids=lambda reader: reader.name)
def past_cache(request: pytest.FixtureRequest) -> type[DirectReader]:
    """Give each reader that reads past the page cache."""
    reader: type[DirectReader] = request.param
    if reader is UringReader:
        request.getfixturevalue("io_uring")
    return reader


def content(segments: Sequence[Segment]) -> Pixels:
    """What the segments show, one behind another."""
    return np.concatenate([bytes_at(s.address, s.nbytes) for s in segments])


def assert_reads_every_image(reader: Reader, known: Known, device: CpuDevice, *, batch_size: int, threads: int) -> None:
    """Read one epoch, all threads' shares one after another into one buffer, and compare it with what was written."""
    nbytes = reader.buffer_bytes(batch_size)
    buffer = device.allocate(nbytes) if nbytes else None
    seen: list[int] = []
    for share in split([file.images for file in known.dataset.files], threads, "uniform"):
        for pieces in batches(share, batch_size, 1):
            if buffer is not None:
                buffer.array[:] = 0xEE
            seen += assert_delivers(reader.read(pieces, buffer), pieces, known)
    assert sorted(seen) == list(range(known.dataset.images))
    if buffer is not None:
        buffer.close()


def assert_delivers(segments: Sequence[Segment], pieces: Sequence[Piece], known: Known) -> list[int]:
    """Compare a batch with what was written; returns the images that it holds, by their place in the data set."""
    assert [(s.file, s.first, s.images) for s in segments] == [(p.file, p.first, p.images) for p in pieces]
    images = [image for s in segments for image in range(s.first, s.first + s.images)]
    assert np.array_equal(content(segments), known.content[images].ravel())
    return images
