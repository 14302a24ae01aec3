"""Files straight into a GPU's memory, by whichever way there is here: content, ends of files, threads, the pipeline."""

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from inferkit.batch import Piece
from inferkit.dataset.synthetic import make_synthetic
from inferkit.devices import open_device
from inferkit.devices.base import OWN
from inferkit.errors import DeviceError, ReadError
from inferkit.pipeline.timeline import Timeline
from inferkit.pipeline.workloads import WORKLOADS
from inferkit.readers.gds import GdsReader
from inferkit.readers.split import batches, split
from inferkit.records.job import DeviceOptions, InferOptions, PipelineJob, ReadJob, ReadOptions
from inferkit.records.outcome import Outcome
from inferkit.records.params import MakeDataset
from inferkit.records.windows import Window
from inferkit.validity.direct_storage import direct_storage
from tests.conftest import Known, write_dataset

if TYPE_CHECKING:
    from inferkit.devices.cuda import CudaDevice

pytestmark = pytest.mark.gpu
GPU = DeviceOptions(kind="cuda")
# 105 bytes: many images in a block; 4551: a block and a bit; 12288: whole blocks; the files have odd lengths.
SHAPES = [(3, 5, 7), (3, 37, 41), (3, 64, 64)]


@pytest.fixture(scope="module")
def cuda() -> Iterator["CudaDevice"]:
    if not find_spec("kvikio"):
        pytest.skip("KvikIO is not installed: pip install 'inferkit[gds]'")
    try:
        device = open_device("cuda")
    except DeviceError as error:
        pytest.skip(str(error))
    with device:
        yield device  # type: ignore[misc]


@pytest.fixture(params=["disk", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Give a folder on whatever holds temporary files, and one in /dev/shm."""
    return tmp_path / "data" if request.param == "disk" else Path(request.getfixturevalue("shm")) / "data"


def assert_arrives(device: "CudaDevice", reader: GdsReader, known: Known, pieces: tuple[Piece, ...]) -> None:
    """Read a batch to the GPU, copy it to a slot, and compare what lies there."""
    images = [image for piece in pieces for image in range(piece.first, piece.first + piece.images)]
    size = known.dataset.image_bytes
    buffer, slot = reader.buffer(len(images)), device.slot(len(images) * size)
    segments = reader.read(pieces, buffer)
    assert {segment.kind for segment in segments} == {OWN}
    device.copy_in(segments, slot).wait()
    assert np.array_equal(device.read_back(slot, len(images) * size), known.content[images].ravel())
    slot.close()
    buffer.close()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("batch_size", [1, 4, 15])
def test_every_image_arrives(cuda: "CudaDevice", place: Path, shape: tuple[int, ...], batch_size: int) -> None:
    known = write_dataset(place, (5, 3, 7), shape)
    with GdsReader(known.dataset, cuda) as reader:
        for pieces in batches(split([5, 3, 7], 1, "uniform")[0], batch_size, 1):
            assert_arrives(cuda, reader, known, pieces)


def test_large_reads_arrive_whole(cuda: "CudaDevice", place: Path) -> None:
    """Larger than a bounce buffer of KvikIO (16 MiB), and of cuFile (1 MiB)."""
    known = write_dataset(place, (3, 2), (3, 2048, 2053))
    with GdsReader(known.dataset, cuda) as reader:
        assert_arrives(cuda, reader, known, (Piece(0, 0, 3, 0), Piece(1, 0, 2, 3)))
        assert_arrives(cuda, reader, known, (Piece(0, 1, 2, 1), Piece(1, 1, 1, 4)))


def test_a_file_that_is_cut_is_named(cuda: "CudaDevice", place: Path) -> None:
    known = write_dataset(place, (4,), (3, 37, 41))
    with GdsReader(known.dataset, cuda) as reader:
        buffer = reader.buffer(4)
        reader.read([Piece(0, 0, 4, 0)], buffer)
        os.truncate(known.dataset.path(0), 5000)
        with pytest.raises(ReadError, match=str(known.dataset.path(0))):
            reader.read([Piece(0, 0, 4, 0)], buffer)
        buffer.close()


def test_the_way_is_told(cuda: "CudaDevice", shm: Path) -> None:
    with GdsReader(write_dataset(shm / "data", (2,)).dataset, cuda) as reader:
        assert [way["lacks"] for way in reader.facts["ways"]] == ["tmpfs is memory, and no disk"]


def run(job: PipelineJob | ReadJob) -> Outcome:
    return WORKLOADS[job.work](job, lambda stages: Timeline(job.window, stages, lambda progress: None))


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("alone", [True, False])
def test_images_are_verified_through_ring_and_loop(cuda: "CudaDevice", place: Path, threads: int, alone: bool) -> None:
    make_synthetic(MakeDataset(data=str(place), limit=120, shape=[3, 37, 41], images_per_file=50))
    reading = ReadOptions(
        reader="gds",
        folder=str(place),
        dtype="uint8",
        shape=(3, 37, 41),
        batch_size=16,
        threads=threads,
        verify_batches=20,
    )
    window = Window(warmup_s=0.2, duration_s=0.5, repeats=2)
    if alone:
        outcome = run(ReadJob(window=window, device=GPU, reading=reading))
    else:
        outcome = run(PipelineJob(window=window, device=GPU, reading=reading, inference=InferOptions(slots=3)))
    assert outcome.measured is not None
    assert outcome.measured.images_per_s
    assert ("copy" in outcome.stages) is not alone
    assert outcome.facts["reader"]["target"] == "device memory"
    assert outcome.facts["verified_images"] == 16 * 20
    told = [finding.text for finding in direct_storage(outcome.facts)]
    assert len(told) == len([way for way in outcome.facts["reader"]["ways"] if way["lacks"]])


def test_another_content_is_seen(cuda: "CudaDevice", place: Path) -> None:
    make_synthetic(MakeDataset(data=str(place), limit=40, shape=[3, 37, 41]))
    with min(place.glob("*.tensors")).open("r+b") as file:
        file.seek(7 * 4551)
        file.write(bytes(100))
    shape = (3, 37, 41)
    reading = ReadOptions(reader="gds", folder=str(place), dtype="uint8", shape=shape, batch_size=4, verify_batches=10)
    window = Window(warmup_s=0.2, duration_s=0.5, repeats=2)
    with pytest.raises(ReadError, match=r"image 7 .* did not arrive as it was made"):
        run(ReadJob(window=window, device=GPU, reading=reading))
