from pathlib import Path

import pytest

from inferkit.devices.cpu import CpuDevice
from inferkit.engines.null import NullEngine
from inferkit.pipeline.held_source import HeldSource
from inferkit.pipeline.loop import Loop
from inferkit.pipeline.timeline import Timeline
from inferkit.readers.buffered import BufferedReader
from inferkit.readers.split import split
from inferkit.records.job import ReadOptions
from inferkit.records.windows import Window
from tests.conftest import MakeTensors


@pytest.fixture
def source(make_dataset: MakeTensors, device: CpuDevice) -> HeldSource:
    known = make_dataset((3, 4))
    shares = split([3, 4], 1, "uniform")
    return HeldSource(BufferedReader(known.dataset, device), shares, ReadOptions(batch_size=2, held=3))


def test_batches_come_again_in_the_order_in_which_they_were_given_back(source: HeldSource) -> None:
    with source:
        first = [source.get() for _ in range(3)]
        assert all(batch is not None for batch in first)
        for batch in (first[1], first[0], first[2]):
            assert batch is not None
            batch.release()
        again = [source.get() for _ in range(3)]
        assert [own and own.segments for own in again] == [
            own and own.segments for own in (first[1], first[0], first[2])
        ]
        for batch in again:
            assert batch is not None
            assert batch.images == 2
            batch.release()


def test_nothing_comes_once_it_is_cancelled(source: HeldSource) -> None:
    with source:
        source.cancel()
        assert source.get() is None


@pytest.mark.parametrize("feeders", [1, 2, 3])
def test_a_loop_with_several_feeders_completes_every_batch(
    source: HeldSource, device: CpuDevice, feeders: int, tmp_path: Path
) -> None:
    timeline = Timeline(Window(warmup_s=0.0, duration_s=0.05, repeats=2), ("read", "decode", "infer", "out"), print)
    slots = [device.slot(10_000) for _ in range(4)]
    with source:
        Loop(source, device, NullEngine(), list(slots), feeders=feeders).run(timeline)
        assert len(timeline.repeats) == 3
        back = [source._idle.get_nowait() for _ in range(source._idle.qsize())]
    assert sum(segments is not None for segments in back) == 3  # each was given back, once
