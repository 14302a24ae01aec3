import errno
import os
import re
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from inferkit.batch import Piece
from inferkit.dataset.images import make_from_images
from inferkit.dataset.tensors import Dataset
from inferkit.devices.base import Slot
from inferkit.devices.cpu import CpuDevice
from inferkit.engines.null import NullEngine
from inferkit.errors import DatasetError, ParameterError, ReadError
from inferkit.linux.page_cache import resident_share
from inferkit.measure.measure import measure
from inferkit.pipeline.loop import Loop
from inferkit.pipeline.ring import Ring
from inferkit.pipeline.timeline import TIMES, Timeline
from inferkit.plan.build import plan
from inferkit.readers.jpeg import JpegReader
from inferkit.readers.split import batches, split
from inferkit.records.params import MakeDataset, SingleProcess, StorageToHost
from inferkit.records.windows import Window
from inferkit.validity.checksums import Verifier
from tests.conftest import Known, MakeTensors
from tests.dataset.corpus import TOO_MANY_BLOCKS, cmyk, planes, sampled, with_frame
from tests.dataset.encoder import encode
from tests.dataset.pictures import folder_of
from tests.readers.conftest import assert_delivers, assert_reads_every_image
from tests.verdicts import verdict

pytestmark = pytest.mark.xdist_group("photographs")  # made into a data set once

SIZE, COUNT = 24, 11


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return folder_of(tmp_path / "photographs", COUNT)


def found(images: Path, *, dtype: str = "uint8") -> Dataset:
    return JpegReader.find(images, dtype, (3, SIZE, SIZE))


def made(images: Path, out: Path, dtype: str = "uint8", resize: str = "stretch", fast: bool = False) -> Known:
    """What stage 01 makes of the same files."""
    options = {"size": SIZE, "dtype": dtype, "resize": resize, "fast": fast, "workers": 1}
    dataset = make_from_images(MakeDataset.check({"images": str(images), "data": str(out), **options})).dataset
    return Known(dataset, dataset.read_images(0, COUNT).reshape(COUNT, -1).view(np.uint8))


@pytest.fixture(scope="module", params=product(("uint8", "float32"), (("stretch", False), ("crop", True))), ids=str)
def stage_01(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Known, str, bool]:
    """Make each kind of data set once; return it, how photographs were resized, and whether fast."""
    folder, (dtype, (resize, fast)) = tmp_path_factory.mktemp("stage-01"), request.param
    return made(folder_of(folder / "photographs", COUNT), folder / "out", dtype, resize, fast), resize, fast


@pytest.mark.parametrize(("batch_size", "threads"), [(1, 1), (4, 3), (15, 1), (4, 20)])
def test_the_pixels_are_those_of_stage_01(
    images: Path, device: CpuDevice, stage_01: tuple[Known, str, bool], batch_size: int, threads: int
) -> None:
    known, resize, fast = stage_01
    dataset = found(images, dtype=known.dataset.dtype)
    with JpegReader(dataset, device, resize=resize, fast=fast) as reader:
        assert reader.buffer_bytes(batch_size) == batch_size * known.dataset.image_bytes
        assert_reads_every_image(reader, Known(dataset, known.content), device, batch_size=batch_size, threads=threads)


def test_through_ring_and_loop_with_hashes(images: Path, tmp_path: Path, device: CpuDevice) -> None:
    known = made(images, tmp_path / "out")
    dataset = found(images)
    verifier = Verifier(known.dataset, 100)
    timeline = Timeline(Window(warmup_s=3600), ("read", "decode", "copy", "infer", "out"), lambda progress: None)
    rows: list[NDArray[np.int64]] = []
    timeline.log = lambda window, start_ns, own: rows.append(own.copy())
    slots: list[Slot] = [device.slot(4 * dataset.image_bytes) for _ in range(2)]
    with JpegReader(dataset, device) as reader:
        shares = split([file.images for file in dataset.files], 3, "uniform")
        with Ring(reader, device, shares, 4, buffers=4, epochs=2) as ring:
            Loop(ring, device, NullEngine(), slots).run(timeline, verifier)
        assert sum(own.images for own in ring.stats) == 2 * COUNT
        assert sum(own.nbytes for own in ring.stats) == 2 * dataset.nbytes
        assert all(own.share_done_ns for own in ring.stats)
    assert verifier.images == 2 * COUNT
    timeline.sum_up()
    batches = np.concatenate(rows)
    read_end, decode_start, decode_end = batches[:, TIMES + 1 : TIMES + 4].T
    assert len(batches) == timeline.course.totals[2]
    assert (read_end == decode_start).all()
    assert (decode_end > decode_start).all()


def test_the_data_set_is_the_files(images: Path) -> None:
    dataset = found(images)
    assert dataset.images == len(dataset.files) == COUNT
    assert dataset.nbytes == sum(path.stat().st_size for path in images.rglob("*.*"))
    assert dataset.image_bytes == 3 * SIZE * SIZE


def test_evict_leaves_no_page(images: Path, device: CpuDevice) -> None:
    dataset = found(images)
    paths = [dataset.path(k) for k in range(COUNT)]
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
    with JpegReader(dataset, device, evict=True) as reader:
        share = resident_share(paths)
        buffer = device.allocate(reader.buffer_bytes(COUNT))
        reader.read(next(batches(split([1] * COUNT, 1, "uniform")[0], COUNT, 1)), buffer)
        assert resident_share(paths) == share


def test_short_reads_are_completed(
    images: Path, tmp_path: Path, device: CpuDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = made(images, tmp_path / "out")
    real = os.read
    monkeypatch.setattr(os, "read", lambda descriptor, nbytes: real(descriptor, min(nbytes, 700)))
    with JpegReader(found(images), device) as reader:
        buffer = device.allocate(reader.buffer_bytes(2))
        pieces = [Piece(0, 0, 1, 0), Piece(1, 0, 1, 1)]
        assert_delivers(reader.read(pieces, buffer), pieces, Known(reader.dataset, known.content))


def one(images: Path, device: CpuDevice, dataset: Dataset) -> None:
    with JpegReader(dataset, device) as reader:
        reader.read([Piece(0, 0, 1, 0)], device.allocate(reader.buffer_bytes(1)))


@pytest.mark.parametrize("change", [-1, 1])
def test_a_file_that_changed(images: Path, device: CpuDevice, change: int) -> None:
    dataset = found(images)
    path = dataset.path(0)
    data = path.read_bytes()
    path.write_bytes(data[:-1] if change < 0 else data + b"x")
    with pytest.raises(ReadError, match=f"{path} had {len(data)} bytes when reading began, now {len(data) + change}"):
        one(images, device, dataset)


def test_a_file_that_is_no_image_is_named(images: Path, device: CpuDevice) -> None:
    (images / "aaa.jpg").write_bytes(b"\x89PNG and more")
    with pytest.raises(ReadError, match=r"aaa\.jpg is PNG, not JPEG: move it out of the folder"):
        one(images, device, found(images))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (TOO_MANY_BLOCKS["2×2 thrice"][0], "has 12 blocks in each unit of a scan (factors 2×2 2×2 2×2)"),
        (with_frame(sampled("4:2:0"), 0xC1, bits=12), "has 12 bits a sample; only 8 can be decoded"),
        (with_frame(sampled("4:2:0"), height=0), "its height is told behind the pixels alone"),
        (with_frame(sampled("4:2:0"), 0xC5), "is hierarchical JPEG, which cannot be decoded here"),
        (encode(planes(), [(3, 1), (2, 1), (1, 1)]), "has fractional subsampling (factors 3×1 2×1 1×1)"),
        (encode(planes()[:2], [(1, 1)] * 2), "has 2 colour components"),
        (sampled("4:1:0")[:-60], "damaged or truncated"),
    ],
)
def test_what_cannot_be_decoded_is_called_so_as_stage_01_does(
    images: Path, tmp_path: Path, device: CpuDevice, data: bytes, reason: str
) -> None:
    (images / "aaa.jpg").write_bytes(data)
    with pytest.raises(ReadError, match=rf"aaa\.jpg {re.escape(reason)}.*move it out of the folder"):
        one(images, device, found(images))
    options = {"images": str(images), "data": str(tmp_path / "out"), "size": SIZE, "workers": 1}
    (skipped,) = make_from_images(MakeDataset.check(options)).skipped
    assert skipped.name == "aaa.jpg"
    assert reason in skipped.reason


def test_odd_files_are_decoded_as_stage_01_does(images: Path, tmp_path: Path, device: CpuDevice) -> None:
    for index, data in enumerate((sampled("4:4:1", 64, 64), sampled("4:1:0"), cmyk())):
        (images / "class-0" / f"00{index * 2}.jpg").write_bytes(data)
    known = made(images, tmp_path / "out")
    with JpegReader(found(images), device) as reader:
        assert_reads_every_image(reader, Known(reader.dataset, known.content), device, batch_size=4, threads=3)


def test_what_is_no_file_is_named_before_anything_is_read(images: Path) -> None:
    os.mkfifo(images / "zzz\n.jpg")
    with pytest.raises(ReadError, match=r"zzz\\n\.jpg cannot be read: it is a pipe, not a file: move it out"):
        found(images)


def test_a_file_that_became_a_pipe_is_not_waited_for(images: Path, device: CpuDevice) -> None:
    dataset = found(images)
    dataset.path(0).unlink()
    os.mkfifo(dataset.path(0))
    with pytest.raises(ReadError, match="it is a pipe, not a file"):
        one(images, device, dataset)


def test_a_file_that_vanished(images: Path, device: CpuDevice) -> None:
    dataset = found(images)
    dataset.path(0).unlink()
    with pytest.raises(ReadError, match=r"cannot open .*errno 2"):
        one(images, device, dataset)


def test_a_file_that_cannot_be_read(images: Path, device: CpuDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int, nbytes: int) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    dataset = found(images)
    monkeypatch.setattr(os, "read", fail)
    with pytest.raises(ReadError, match=rf"cannot read {dataset.path(0)} at byte 0: .*errno 5"):
        one(images, device, dataset)


def test_what_it_cannot_decode_to_is_refused(
    images: Path, device: CpuDevice, tmp_path: Path, make_dataset: MakeTensors
) -> None:
    with pytest.raises(ReadError, match="set size"):
        JpegReader.find(images, "uint8", (3, 8, 9))
    with pytest.raises(DatasetError, match="holds no"):
        JpegReader.find(empty(tmp_path), "uint8", (3, 8, 8))
    for tensors in (make_dataset((1, 1), (3, 8, 8), hashes=True), make_dataset((2, 1), (3, 8, 8))):
        with pytest.raises(ReadError, match="opened as tensors"):
            JpegReader(tensors.dataset, device)


def empty(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


SHORT = {"warmup_s": 0.05, "duration_s": 0.1, "repeats": 1, "batch_sizes": [4], "size": SIZE, "readers": ["jpeg"]}


def test_03a_tells_decoding_apart_from_reading(images: Path) -> None:
    (run,) = measure(plan(StorageToHost.check(SHORT | {"images": str(images)})))
    assert verdict(run) == "VALID", run.failure
    assert set(run.stages) == {"read", "decode"}
    assert run.facts["reader"]["resize"] == "stretch"
    assert any("JPEG" in text for text in run.unverified)


def test_03b_streams_what_it_decodes(images: Path) -> None:
    runs = list(measure(plan(SingleProcess.check(SHORT | {"images": str(images), "engines": ["null"]}))))
    assert [verdict(run) for run in runs] == ["VALID"] * 3, [run.failure for run in runs]
    assert list(runs[-1].stages) == ["read", "decode", "copy"]


def test_beside_tensors_of_another_size_it_is_refused(images: Path, tmp_path: Path) -> None:
    known = made(images, tmp_path / "out")
    both = SHORT | {"images": str(images), "data": str(known.dataset.folder), "readers": ["buffered", "jpeg"]}
    assert len(plan(StorageToHost.check(both)).points) == 2
    with pytest.raises(ParameterError, match="size is 32"):
        plan(StorageToHost.check(both | {"size": 32}))
    with pytest.raises(ParameterError, match="images is empty"):
        plan(StorageToHost.check(both | {"images": ""}))
