"""The GPU's own JPEG decoder: its pixels beside stage 01's, of every kind of file, through the whole pipeline."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from inferkit.devices import open_device, why_no_decoder
from inferkit.errors import DeviceError, ReadError
from inferkit.pipeline.timeline import Timeline
from inferkit.pipeline.workloads import WORKLOADS
from inferkit.readers import reader_class
from inferkit.readers.base import EncodedReader
from inferkit.readers.split import split
from inferkit.records.job import DeviceOptions, InferOptions, PipelineJob, ReadJob, ReadOptions
from inferkit.records.outcome import Outcome
from inferkit.records.windows import Window
from inferkit.validity.outputs import copy_to_slot
from inferkit.validity.pixels import compare_pixels

if TYPE_CHECKING:
    from inferkit.devices.cuda import CudaDevice

pytestmark = pytest.mark.gpu
SIZE = 64
KINDS = {
    "4:4:4": {"subsampling": 0},
    "4:2:2": {"subsampling": 1},
    "4:2:0": {"subsampling": 2},
    "grey": {"mode": "L"},
    "restarts": {"restart_marker_rows": 1},
    "progressive": {"progressive": True},
    "cmyk": {"mode": "CMYK"},
    "rgb": {"keep_rgb": True},
    **{f"exif{k}": {"orientation": k} for k in range(1, 9)},
}
SOFTWARE = {"progressive", "cmyk", "rgb", "4:1:1", "ends early"}
MOST = 3.0
"""Mean difference of 255 on smooth pictures: colours of 4:2:0 are spread otherwise."""


@pytest.fixture(scope="module")
def cuda() -> Iterator["CudaDevice"]:
    try:
        device = open_device("cuda")
    except DeviceError as error:
        pytest.skip(str(error))
    if why := why_no_decoder("cuda", assumed=False):
        device.close()
        pytest.skip(why)
    with device:
        yield device  # type: ignore[misc]


def picture(index: int, height: int, width: int) -> NDArray[np.uint8]:
    """A smooth picture whose content depends on position."""
    rng = np.random.default_rng(index)
    small = rng.integers(0, 256, (5, 7, 3), np.uint8)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def write(path: Path, pixels: NDArray[np.uint8], mode: str = "RGB", orientation: int = 0, **options: Any) -> None:
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    Image.fromarray(pixels).convert(mode).save(path, quality=92, exif=exif, **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    for index, (kind, options) in enumerate(KINDS.items()):
        write(folder / f"{index:02}-{kind.replace(':', '')}.jpg", picture(index, 75 + index, 101 - index), **options)  # type: ignore[arg-type]
    odd = cv2.imencode(".jpg", picture(40, 90, 120), [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x411111])[1]
    (folder / "40-411.jpg").write_bytes(odd.tobytes())
    (folder / "41-padded.jpg").write_bytes((folder / "00-444.jpg").read_bytes() + b"\0\0")
    write(folder / "42-tiny.jpg", picture(42, 3, 5))
    write(folder / "43-large.jpg", picture(43, 1501, 2003))
    return folder


def opened(name: str, folder: Path, device: "CudaDevice", resize: str = "stretch") -> EncodedReader:
    options = ReadOptions(reader=name, folder=str(folder), dtype="uint8", shape=(3, SIZE, SIZE), resize=resize)
    reader = reader_class(name).open(options, device)
    assert isinstance(reader, EncodedReader)
    return reader


@pytest.mark.parametrize("resize", ["stretch", "crop"])
@pytest.mark.parametrize("batch_size", [1, 7, 32])
@pytest.mark.parametrize("lanes", [1, 2])
def test_the_pixels_are_those_of_stage_01(
    cuda: "CudaDevice", folder: Path, resize: str, batch_size: int, lanes: int
) -> None:
    with opened("nvjpeg", folder, cuda, resize) as reader:
        decoder = cuda.open_decoder(reader.decoding(lanes))
        slot = cuda.slot(batch_size * reader.dataset.image_bytes)
        pieces = split([1] * len(reader.dataset.files), 1, "uniform")[0]
        seen = 0
        for first in range(0, len(pieces), batch_size):
            part = pieces[first : first + batch_size]
            there = copy_to_slot(cuda, reader, slot, part).reshape(len(part), 3, SIZE, SIZE)
            for piece, image in zip(part, there, strict=True):
                path = reader.dataset.path(piece.file)
                expected = np.empty((3, SIZE, SIZE), np.uint8)
                reader.decode_one(path.read_bytes(), piece.file, expected)
                difference = np.abs(image.astype(int) - expected)
                software = any(kind.replace(":", "") in path.name for kind in SOFTWARE) or "padded" in path.name
                assert difference.mean() <= (0 if software else MOST), (path.name, difference.mean())
                seen += 1
        assert seen == len(reader.dataset.files)
        told = reader.facts["files_in_software"]
        assert sum(told.values()) == 5, told
        assert decoder.facts["refused"] == 0
        assert decoder.facts["backend"] == "hardware"


def test_resizing_is_opencvs_to_the_bit(cuda: "CudaDevice", tmp_path: Path) -> None:
    """Of one colour each block: whatever decodes it gives the same pixels, so that only resizing is compared."""
    sizes = [(64, 64), (128, 128), (65, 191), (300, 40), (16, 16), (640, 480)]
    for index, (height, width) in enumerate(sizes):
        blocks = np.random.default_rng(index).integers(0, 256, (-(-height // 16), -(-width // 16)), np.uint8)
        grey = np.kron(blocks, np.ones((16, 16), np.uint8))[:height, :width]
        Image.fromarray(grey).save(tmp_path / f"{index}.jpg", quality=100)
    with opened("nvjpeg", tmp_path, cuda) as reader:
        cuda.open_decoder(reader.decoding(1))
        slot = cuda.slot(len(sizes) * reader.dataset.image_bytes)
        pieces = split([1] * len(sizes), 1, "uniform")[0]
        there = copy_to_slot(cuda, reader, slot, pieces).reshape(-1, 3, SIZE, SIZE)
        for piece, image in zip(pieces, there, strict=True):
            expected = np.empty((3, SIZE, SIZE), np.uint8)
            reader.decode_one(reader.dataset.path(piece.file).read_bytes(), piece.file, expected)
            assert np.abs(image.astype(int) - expected).max() <= 1, reader.dataset.path(piece.file)


def test_difference_is_told_by_subsampling(cuda: "CudaDevice", folder: Path) -> None:
    with opened("nvjpeg", folder, cuda) as reader:
        cuda.open_decoder(reader.decoding(1))
        slot = cuda.slot(8 * reader.dataset.image_bytes)
        told = compare_pixels(cuda, reader, slot, 4, 8)["pixels"]
    assert {"4:4:4", "4:2:2", "4:2:0", "grey"} <= set(told)
    assert all(own["mean"] <= MOST and own["images"] >= 1 for own in told.values())


def test_a_file_that_is_damaged_in_its_pixels_is_named(cuda: "CudaDevice", tmp_path: Path) -> None:
    write(tmp_path / "bad.jpg", picture(1, 400, 500))
    data = bytearray((tmp_path / "bad.jpg").read_bytes())
    data[len(data) // 3 : len(data) // 3 + len(data) // 4] = bytes(len(data) // 4)
    (tmp_path / "bad.jpg").write_bytes(data)
    with opened("nvjpeg", tmp_path, cuda) as reader:
        cuda.open_decoder(reader.decoding(1))
        slot = cuda.slot(reader.dataset.image_bytes)
        with pytest.raises(ReadError, match=r"bad\.jpg"):
            compare_pixels(cuda, reader, slot, 1, 1)


def run(job: PipelineJob | ReadJob) -> Outcome:
    return WORKLOADS[job.work](job, lambda stages: Timeline(job.window, stages, lambda progress: None))


@pytest.mark.parametrize("reader", ["nvjpeg", "nvjpeg-direct", "nvjpeg-uring"])
@pytest.mark.parametrize(("held", "decoders"), [(0, 1), (2, 2), (0, 2)])
def test_through_the_pipeline(folder: Path, cuda: "CudaDevice", reader: str, held: int, decoders: int) -> None:
    reading = ReadOptions(
        reader=reader,
        folder=str(folder),
        dtype="uint8",
        shape=(3, SIZE, SIZE),
        batch_size=8,
        threads=2,
        verify_batches=1,
        held=held,
        decoders=decoders,
    )
    window = Window(warmup_s=0.2, duration_s=0.5, repeats=2)
    job = PipelineJob(
        window=window, device=DeviceOptions(kind="cuda"), reading=reading, inference=InferOptions(slots=2 + decoders)
    )
    try:
        outcome = run(job)
    except ReadError as error:
        if "use reader buffered" not in str(error):
            raise
        pytest.skip(str(error))
    assert outcome.measured is not None
    assert outcome.measured.images_per_s
    assert "decode" in outcome.stages
    assert "copy" not in outcome.stages
    assert ("read" in outcome.stages) is (not held)
    assert outcome.facts["decoders"][0]["lanes"] == decoders
    assert outcome.facts["pixels"]
