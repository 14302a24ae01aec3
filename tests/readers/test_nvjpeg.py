"""Files as they are, for a device that decodes; here one on the CPU, which decodes as stage 01 does."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from inferkit.batch import Piece
from inferkit.dataset.images import make_from_images
from inferkit.dataset.tensors import Dataset
from inferkit.errors import ReadError
from inferkit.readers import READERS
from inferkit.readers.direct import direct_io_block
from inferkit.readers.nvjpeg import ALIGNED, NvJpegReader
from inferkit.readers.split import batches, split
from inferkit.records.params import MakeDataset
from inferkit.validity.outputs import copy_to_slot
from inferkit.validity.pixels import compare_pixels
from tests.dataset.corpus import cmyk, grey, sampled, with_orientation
from tests.dataset.pictures import jpeg, photograph
from tests.devices.decoding import DecodingDevice, turned

SIZE = 24
NAMES = ["nvjpeg", "nvjpeg-direct", "nvjpeg-uring"]
FILES = {
    "a.jpg": sampled("4:2:0"),
    "b.jpg": sampled("4:4:4", 31, 47),
    "c.jpg": jpeg(photograph(3), progressive=True),
    "d.jpg": grey(),
    "e.jpg": cmyk(),
    "f.jpg": with_orientation(6, sampled("4:2:2")),
    "g.jpg": sampled("4:1:1"),
    "h.jpg": jpeg(photograph(4, 200, 300), quality=100),
}
SOFTWARE = {"c.jpg", "e.jpg", "g.jpg"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture
def device() -> Iterator[DecodingDevice]:
    with DecodingDevice() as device:
        yield device


def found(folder: Path) -> Dataset:
    return NvJpegReader.find(folder, "uint8", (3, SIZE, SIZE))


def opened(name: str, folder: Path, device: DecodingDevice, resize: str = "stretch") -> NvJpegReader:
    reader = READERS[name]
    assert issubclass(reader, NvJpegReader)
    if name != "nvjpeg":
        try:
            direct_io_block(folder / "a.jpg")
        except ReadError as error:
            pytest.skip(str(error))
    made = reader(found(folder), device, resize=resize)
    device.open_decoder(made.decoding(1))
    return made


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("batch_size", "resize"), [(1, "stretch"), (3, "crop"), (8, "stretch"), (11, "crop")])
def test_batches_are_those_of_stage_01(
    name: str, batch_size: int, resize: str, folder: Path, tmp_path: Path, device: DecodingDevice
) -> None:
    params = {"images": str(folder), "data": str(tmp_path / "out"), "size": SIZE, "resize": resize, "workers": 1}
    known = make_from_images(MakeDataset.check(params)).dataset
    content = known.read_images(0, len(FILES))
    with opened(name, folder, device, resize) as reader:
        slot = device.slot(batch_size * reader.dataset.image_bytes)
        seen = []
        for pieces in batches(split([1] * len(FILES), 1, "uniform")[0], batch_size, 1):
            there = copy_to_slot(device, reader, slot, pieces).reshape(-1, 3, SIZE, SIZE)
            assert np.array_equal(there, content[[piece.first for piece in pieces]])
            seen += [piece.file for piece in pieces]
        assert sorted(seen) == list(range(len(FILES)))
        told = reader.facts
    assert sum(told["files_in_software"].values()) == len(SOFTWARE)
    assert told["files_seen"] == len(FILES)
    assert device.decoder.decoded == len(FILES) - len(SOFTWARE)


@pytest.mark.parametrize("name", NAMES)
def test_what_the_device_decodes_is_the_file_as_it_is(name: str, folder: Path, device: DecodingDevice) -> None:
    with opened(name, folder, device) as reader:
        buffer = device.allocate(reader.buffer_bytes(len(FILES)))
        pieces = split([1] * len(FILES), 1, "uniform")[0]
        for _ in range(2):  # a file's header is looked at once
            buffer.array[:] = 0xEE
            segments = reader.read(pieces, buffer)
            for segment, file in zip(segments, sorted(FILES), strict=True):
                assert segment.kind == ("ring" if file in SOFTWARE else "jpeg")
                assert segment.address % ALIGNED == 0
                there = buffer.array[segment.address - buffer.address :][: segment.nbytes].tobytes()
                assert there == FILES[file] or file in SOFTWARE
        assert {segment.turned for segment in segments} == {0, 5}  # transposed, columns reversed
        assert reader.file_bytes(pieces) == sum(map(len, FILES.values()))
        buffer.close()


def test_any_batch_fits_its_buffer(folder: Path, device: DecodingDevice) -> None:
    """The largest file again and again, as of a data set of one."""
    largest = max(range(len(FILES)), key=lambda k: len(FILES[sorted(FILES)[k]]))
    with opened("nvjpeg", folder, device) as reader:
        for images in (1, 8):
            buffer = device.allocate(reader.buffer_bytes(images))
            segments = reader.read([Piece(k, 0, 1, k) for k in ([largest] if images == 1 else range(8))], buffer)
            assert len(segments) == images
            assert all(own.address + own.nbytes <= buffer.address + buffer.nbytes for own in segments)
            buffer.close()


@pytest.mark.parametrize("change", ["shorter", "longer", "gone", "pipe"])
def test_a_file_that_changes_is_named(change: str, tmp_path: Path, device: DecodingDevice) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(FILES["a.jpg"])
    with opened("nvjpeg", tmp_path, device) as reader:
        buffer = device.allocate(reader.buffer_bytes(1))
        if change in ("gone", "pipe"):
            path.unlink()
        if change == "pipe":
            os.mkfifo(path)
        if change in ("shorter", "longer"):
            path.write_bytes(FILES["a.jpg"][:-9] if change == "shorter" else FILES["a.jpg"] + b"more")
        with pytest.raises(ReadError, match=r"a\.jpg"):
            reader.read([Piece(0, 0, 1, 0)], buffer)
        buffer.close()


@pytest.mark.parametrize("data", [b"GIF89a", b"", FILES["a.jpg"][: len(FILES["a.jpg"]) // 2], FILES["e.jpg"][:-600]])
def test_a_bad_file_is_named_with_the_reason(data: bytes, tmp_path: Path, device: DecodingDevice) -> None:
    (tmp_path / "bad.jpg").write_bytes(data)
    with opened("nvjpeg", tmp_path, device) as reader:
        buffer = device.allocate(reader.buffer_bytes(1))
        with pytest.raises(ReadError, match=r"bad\.jpg .*(GIF|empty|damaged)"):
            reader.read([Piece(0, 0, 1, 0)], buffer)
        buffer.close()


def test_images_other_than_bytes_are_refused(folder: Path, device: DecodingDevice) -> None:
    with pytest.raises(ReadError, match="delivers uint8, not float32"):
        NvJpegReader(NvJpegReader.find(folder, "float32", (3, SIZE, SIZE)), device)


def test_pixels_of_the_device_are_held_against_stage_01(folder: Path, device: DecodingDevice) -> None:
    with opened("nvjpeg", folder, device) as reader:
        slot = device.slot(4 * reader.dataset.image_bytes)
        told = compare_pixels(device, reader, slot, 2, 4)["pixels"]
    assert {kind: own["mean"] for kind, own in told.items()} == dict.fromkeys(told, 0.0)
    assert set(told) >= {"4:2:0", "4:4:4", "4:2:2", "grey", "other"}


def test_a_device_that_decodes_another_image_is_found(folder: Path, device: DecodingDevice) -> None:
    with opened("nvjpeg", folder, device) as reader:
        wrong = np.zeros((3, SIZE, SIZE), np.uint8)
        device.decoding = device.decoding._replace(software=lambda segment: wrong)
        slot = device.slot(4 * reader.dataset.image_bytes)
        with pytest.raises(ReadError, match="decodes it to another image than stage 01"):
            compare_pixels(device, reader, slot, 2, 4)


def test_every_orientation_is_told(tmp_path: Path, device: DecodingDevice) -> None:
    for value in range(1, 9):
        (tmp_path / f"{value}.jpg").write_bytes(with_orientation(value, sampled("4:2:0")))
    with opened("nvjpeg", tmp_path, device) as reader:
        buffer = device.allocate(reader.buffer_bytes(8))
        segments = reader.read(split([1] * 8, 1, "uniform")[0], buffer)
        buffer.close()
    small = np.arange(6, dtype=np.uint8).reshape(2, 3)
    upright = {1: small, 2: small[:, ::-1], 3: small[::-1, ::-1], 4: small[::-1], 5: small.T}
    upright |= {6: small.T[:, ::-1], 7: small.T[::-1, ::-1], 8: small.T[::-1]}
    for value, segment in enumerate(segments, 1):
        assert np.array_equal(turned(small, segment.turned), upright[value])
