from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from inferkit.batch import Segment
from inferkit.devices.base import Slot, Span, bytes_at
from inferkit.devices.cpu import CpuDevice, CpuMemory
from inferkit.errors import DeviceError
from inferkit.pipeline.copies import PERIOD, Link, copies, host_memory, pattern
from inferkit.pipeline.timeline import Timeline
from inferkit.records.job import CopyJob, DeviceOptions
from inferkit.records.windows import Window
from tests.pipeline.conftest import SHORT, begin


@pytest.fixture
def device() -> Iterator[CpuDevice]:
    with CpuDevice() as device:
        yield device


def job_of(nbytes: int, memory: str = "pageable", window: Window = SHORT) -> CopyJob:
    return CopyJob(window=window, device=DeviceOptions(), nbytes=nbytes, host_memory=memory)


@pytest.mark.parametrize("memory", ["pageable", "mapped"])
@pytest.mark.parametrize("nbytes", [1, 4095, 65536, PERIOD + 17])
def test_copies_are_counted(device: CpuDevice, memory: str, nbytes: int) -> None:
    job = job_of(nbytes, memory)
    timeline = copies(job, [device], begin(job))
    assert len(timeline.repeats) == 3
    for repeat in timeline.repeats:
        assert repeat.images == 0
        assert repeat.nbytes == nbytes * repeat.batches > 0
    stage = timeline.summarise({"copy": 1})["copy"]
    assert stage.bytes_per_s is not None
    assert stage.bytes_per_s > 0


def test_pattern_depends_on_the_position() -> None:
    found = pattern(3 * PERIOD)
    for distance in (1, 4096, 65536, 2**20):
        assert np.mean(found[:-distance] == found[distance:]) < 0.01
    assert np.array_equal(pattern(100), found[:100])


def test_memory_kinds(device: CpuDevice) -> None:
    for kind in device.memories:
        memory = host_memory(device, 5000, kind)
        assert memory.address % 4096 == 0
        memory.array[:] = 7
        assert (memory.nbytes, memory.array.nbytes) == (5000, 5000)
        memory.close()
        memory.close()
    assert "memfd:inferkit" not in Path("/proc/self/maps").read_text()
    with pytest.raises(DeviceError, match="no 'pinned' memory"):
        host_memory(device, 5000, "pinned")


class Altering(CpuDevice):
    """Alters one byte of its nth copy."""

    def __init__(self, nth: int) -> None:
        super().__init__()
        self.left = nth

    def copy_in(self, segments: Sequence[Segment], slot: Slot) -> Span:
        self.left -= 1
        span = super().copy_in(segments, slot)
        if not self.left:
            span.wait()
            bytes_at(slot.address, slot.nbytes)[77] ^= 1
        return span


def test_altered_copy_is_refused_before_it_is_measured() -> None:
    def never(stages: tuple[str, ...]) -> Timeline:
        raise AssertionError

    with (
        Altering(1) as device,
        pytest.raises(DeviceError, match=r"1000 bytes to CPU .* arrived altered: the memory or link"),
    ):
        copies(job_of(1000), [device], never)


def test_altered_last_copy_is_refused_too() -> None:
    class LastOne(Altering):
        def copy_in(self, segments: Sequence[Segment], slot: Slot) -> Span:
            if self.finished:
                self.left = 1
            return super().copy_in(segments, slot)

        finished = False

    class Watching(Timeline):
        def add(self, images: int, nbytes: int, *times: int, device: int = 0) -> bool:
            last.finished = super().add(images, nbytes, *times)
            return last.finished

    with LastOne(-1) as last, pytest.raises(DeviceError, match="arrived altered"):
        copies(job_of(1000), [last], lambda stages: Watching(SHORT, stages, lambda progress: None))


def test_window_that_wants_images_ends_all_the_same(device: CpuDevice) -> None:
    # Profile mlperf asks for 24,576 images in each window; a copy has none.
    job = job_of(1000, window=SHORT.changed(images=24_576))
    assert len(copies(job, [device], begin(job)).repeats) == 3


@pytest.mark.parametrize("kind", ["pageable", ""])
def test_what_goes_back_goes_to_the_kind_of_memory_that_was_asked_for(
    device: CpuDevice, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds: list[str] = []
    allocate = device.allocate

    def noted(nbytes: int, memory: str = "") -> CpuMemory:
        kinds.append(memory)
        return allocate(nbytes, memory)

    monkeypatch.setattr(device, "allocate", noted)
    link = Link(device, 64, "mapped", kind)
    with pytest.raises(DeviceError, match="no memory of its own"):
        link.copy_back()
    assert kinds == [kind]
    link.close()
