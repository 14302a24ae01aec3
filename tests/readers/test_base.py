"""What readers say that they can do, and whether it is true of each."""

from pathlib import Path

import numpy as np
import pytest

from inferkit.batch import Piece
from inferkit.dataset.contents import contents
from inferkit.dataset.tensors import Dataset
from inferkit.devices.cpu import CpuDevice
from inferkit.errors import DatasetError, ParameterError, ReadError
from inferkit.linux.io_uring import ReadQueue
from inferkit.readers import READERS, find_dataset, reader_class
from inferkit.readers.base import Capabilities, DecodingReader, EncodedReader, Reader, whole
from inferkit.readers.direct import direct_io_block
from inferkit.records.job import ReadOptions
from tests.conftest import MakeTensors, write_dataset
from tests.dataset.pictures import folder_of
from tests.kvikio_stand_in import install
from tests.object_store import shared_store

SIZE = 24
SHAPE = (3, SIZE, SIZE)
CAPABILITIES = {
    "memory": Capabilities(has_files=False, has_ceiling=False, memory_passes=0),
    "buffered": Capabilities(can_evict=True, memory_passes=2),
    "direct": Capabilities(passes_cache=True),
    "uring": Capabilities(passes_cache=True),
    "mapped": Capabilities(has_ceiling=False, memory_passes=0),
    "gds": Capabilities(passes_cache=True, to_device=True, memory_passes=None),
    "nvjpeg": Capabilities(can_evict=True, decodes=True, on_device=True, memory_passes=None),
    "nvjpeg-direct": Capabilities(passes_cache=True, decodes=True, on_device=True, memory_passes=None),
    "nvjpeg-uring": Capabilities(passes_cache=True, decodes=True, on_device=True, memory_passes=None),
    "jpeg": Capabilities(reads=("files", "objects"), can_evict=True, decodes=True, memory_passes=None),
    "s3": Capabilities(reads=("objects",), passes_cache=True, memory_passes=2),
}
every_reader = pytest.mark.parametrize("name", READERS)


@pytest.fixture
def options(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ReadOptions:
    """Files as a reader wants them; skip where it cannot read here."""
    monkeypatch.setattr("inferkit.readers.memory.SYNTHETIC_BYTES", 2**20)
    reader = READERS[name].capabilities
    if reader.to_device:
        install(monkeypatch)
    folder = tmp_path / "files"
    if reader.decodes:
        folder_of(folder, 5)
    elif reader.has_files:
        write_dataset(folder, (3, 2), SHAPE)
    if reader.reads == ("objects",):
        place = shared_store().publish(folder)
        return ReadOptions(reader=name, folder=str(place), store=place.store, dtype="uint8", shape=SHAPE, batch_size=2)
    if reader.passes_cache:
        try:
            direct_io_block(next(file for file in folder.rglob("*") if file.is_file()))
            ReadQueue(1, 1).close()
        except ReadError as error:
            pytest.skip(str(error))
    return ReadOptions(
        reader=name, folder=str(folder) if reader.has_files else "", dtype="uint8", shape=SHAPE, batch_size=2
    )


@pytest.fixture
def dataset(options: ReadOptions) -> Dataset:
    return find_dataset(options)


def test_every_reader_says_what_it_can_do() -> None:
    assert {name: reader.capabilities for name, reader in READERS.items()} == CAPABILITIES


@every_reader
def test_its_name_is_its_name_in_the_list(name: str) -> None:
    assert READERS[name].name == name
    assert reader_class(name) is READERS[name]


def test_a_reader_that_there_is_not_is_refused_with_those_there_are() -> None:
    with pytest.raises(ParameterError, match="'mmap' is none: use memory, buffered, direct, uring, mapped, jpeg"):
        find_dataset(ReadOptions(reader="mmap"))


@every_reader
def test_what_decodes_does_so_in_a_stage_of_its_own(name: str) -> None:
    reader = READERS[name]
    own = reader.capabilities
    assert own.on_device is issubclass(reader, EncodedReader)
    assert (own.decodes and not own.on_device) is issubclass(reader, DecodingReader)
    assert own.stages == (("read", "decode") if issubclass(reader, DecodingReader) else ("read",))


@every_reader
def test_no_reader_passes_the_cache_that_it_evicts_from(name: str) -> None:
    own = READERS[name].capabilities
    assert not (own.passes_cache and own.can_evict)
    assert own.has_files or not (own.can_evict or own.passes_cache or own.decodes)


def test_what_a_reader_can_do_is_fixed() -> None:
    with pytest.raises(AttributeError):
        READERS["direct"].capabilities.has_files = False  # type: ignore[misc]


@every_reader
def test_only_what_has_files_looks_for_some(name: str, options: ReadOptions, dataset: Dataset, tmp_path: Path) -> None:
    nowhere = options.changed(folder=str(tmp_path / "nowhere"))
    if READERS[name].capabilities.has_files:
        assert dataset.folder == options.place
        assert dataset.images == 5
        there = contents(dataset.folder)
        assert all(there.size(file.name) == file.nbytes for file in dataset.files)
        nowhere = options.changed(folder=f"{options.folder}/nowhere")
        with pytest.raises(DatasetError, match="nowhere"):
            find_dataset(nowhere)
    else:
        assert find_dataset(nowhere) == dataset
        assert not contents(dataset.folder).exists()


def test_reader_memory_needs_no_folder(make_dataset: MakeTensors) -> None:
    known = make_dataset((3, 2))
    options = ReadOptions(folder=str(known.dataset.folder), dtype="uint8", shape=(3, 5, 7))
    assert find_dataset(options.changed(reader="memory")).files[0].name == "(random)"
    assert find_dataset(options.changed(reader="buffered")) == known.dataset


def opened(options: ReadOptions, device: CpuDevice) -> Reader:
    return reader_class(options.reader).open(options, device)


@every_reader
def test_only_what_has_no_ceiling_delivers_what_lies_in_memory_already(
    name: str, options: ReadOptions, device: CpuDevice
) -> None:
    with opened(options, device) as reader:
        assert (reader.buffer_bytes(2) > 0) is READERS[name].capabilities.has_ceiling
        pieces = [Piece(0, 0, 1, 0)]
        if not READERS[name].capabilities.has_ceiling:
            first, again = (reader.read(pieces, None) for _ in range(2))
            assert first == again


@every_reader
def test_it_is_opened_as_a_job_says(name: str, options: ReadOptions, dataset: Dataset, device: CpuDevice) -> None:
    with opened(options.changed(evict=READERS[name].capabilities.can_evict), device) as reader:
        assert type(reader) is READERS[name]
        assert reader.dataset == dataset
        assert reader.evict is READERS[name].capabilities.can_evict


def test_a_decoder_is_opened_with_the_options_of_a_job(tmp_path: Path, device: CpuDevice) -> None:
    folder = str(folder_of(tmp_path / "files", 2))
    options = ReadOptions(reader="jpeg", folder=folder, dtype="uint8", shape=SHAPE)
    pixels = []
    for own in (options, options.changed(resize="crop", fast=True)):
        with opened(own, device) as reader:
            assert (reader.facts["resize"], reader.facts["fast"]) == (own.resize, int(own.fast))
            buffer = device.allocate(reader.buffer_bytes(1))
            reader.read([Piece(0, 0, 1, 0)], buffer)
            pixels.append(buffer.array.copy())
    assert not np.array_equal(pixels[0], pixels[1])


def test_a_reader_through_the_page_cache_asks_for_whole_pages(make_dataset: MakeTensors, device: CpuDevice) -> None:
    known = make_dataset((5, 3), (1, 16, 48))
    with READERS["buffered"](known.dataset, device) as reader:
        assert reader.rounding([]) == 2 * 4096 / (8 * 768)


@pytest.mark.parametrize(
    ("offset", "nbytes", "expected"), [(0, 1, 512), (0, 512, 512), (511, 1, 512), (511, 2, 1024), (1024, 0, 0)]
)
def test_whole_blocks(offset: int, nbytes: int, expected: int) -> None:
    assert whole(offset, nbytes, 512) == expected
