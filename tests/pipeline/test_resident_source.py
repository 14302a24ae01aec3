from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from inferkit.devices.cpu import CpuDevice
from inferkit.pipeline.resident_source import ResidentSource
from inferkit.readers.mapped import MappedReader
from inferkit.readers.split import split
from tests.conftest import write_dataset


@pytest.mark.parametrize("batch_size", [1, 4, 7, 15, 40])
def test_one_epoch_delivers_every_image_once(tmp_path: Path, batch_size: int) -> None:
    known = write_dataset(tmp_path, (5, 3, 7), (3, 5, 7))
    with CpuDevice() as device, MappedReader(known.dataset, device) as reader:
        source = ResidentSource(reader, split([5, 3, 7], 2, "uniform"), batch_size, epochs=1)
        images: list[int] = []
        while (batch := source.get()) is not None:
            images += [image for s in batch.segments for image in range(s.first, s.first + s.images)]
            batch.release()
    assert images == list(range(15))


def test_threads_share_it_and_after_cancel_nothing_comes(tmp_path: Path) -> None:
    known = write_dataset(tmp_path, (6, 6), (3, 5, 7))
    with CpuDevice() as device, MappedReader(known.dataset, device) as reader:
        source = ResidentSource(reader, split([6, 6], 1, "uniform"), 4)
        with ThreadPoolExecutor(4) as pool:
            taken = list(pool.map(lambda _: source.get(), range(300)))
        firsts = [batch.segments[0].first for batch in taken if batch is not None]
        assert sorted(firsts) == sorted([0, 4, 8] * 100)
        source.cancel()
        assert source.get() is None
