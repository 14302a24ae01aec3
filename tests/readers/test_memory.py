import numpy as np
import pytest

from inferkit.batch import Piece
from inferkit.devices.base import bytes_at
from inferkit.devices.cpu import CpuDevice
from inferkit.readers.memory import SYNTHETIC_BYTES, MemoryReader, in_memory
from tests.conftest import Known
from tests.readers.conftest import assert_reads_every_image


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize(("batch_size", "threads"), [(1, 1), (4, 3), (50, 2), (7, 60)])
def test_delivers_each_image_of_its_region(device: CpuDevice, dtype: str, batch_size: int, threads: int) -> None:
    dataset = in_memory((3, 5, 7), dtype, images=40)
    with MemoryReader(dataset, device) as reader:
        assert reader.buffer_bytes(batch_size) == 0
        known = Known(dataset, reader.region.array.reshape(40, -1).copy())
        assert_reads_every_image(reader, known, device, batch_size=batch_size, threads=threads)


def test_images_are_random_and_all_different(device: CpuDevice) -> None:
    with MemoryReader(in_memory((3, 32, 32), "uint8", images=64), device) as reader:
        images = reader.region.array.reshape(64, -1)
        assert len(np.unique(images, axis=0)) == 64
        assert len(np.unique(images)) == 256
    with MemoryReader(in_memory((3, 32, 32), "float32", images=8), device) as reader:
        values = reader.region.array.view(np.float32)
        assert 0 <= values.min() < 5
        assert 250 < values.max() <= 255


def test_batch_that_wraps(device: CpuDevice) -> None:
    with MemoryReader(in_memory((3, 5, 7), "uint8", images=5), device) as reader:
        segments = reader.read([Piece(0, 3, 2, 3), Piece(0, 0, 1, 0)], None)
        images = reader.region.array.reshape(5, -1)
        found = np.concatenate([bytes_at(s.address, s.nbytes) for s in segments])
        assert np.array_equal(found, images[[3, 4, 0]].ravel())


def test_no_cache_holds_them_all() -> None:
    data = in_memory((3, 224, 224), "uint8")
    assert SYNTHETIC_BYTES - data.image_bytes < data.nbytes <= SYNTHETIC_BYTES
    assert in_memory((SYNTHETIC_BYTES + 1,), "uint8").images == 1


def test_close_gives_the_region_back(device: CpuDevice) -> None:
    reader = MemoryReader(in_memory((3, 5, 7), "uint8", images=5), device)
    reader.close()
    reader.close()
    assert reader.region.array.size == 0
