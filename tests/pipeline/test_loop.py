import os
import threading
from collections.abc import Iterator
from pathlib import Path
from time import sleep

import pytest

from inferkit.batch import Batch
from inferkit.devices.base import Slot, Span
from inferkit.devices.cpu import CpuDevice
from inferkit.engines.null import NullEngine
from inferkit.errors import EngineError, ReadError
from inferkit.pipeline.loop import Loop, infer_resident, read_only
from inferkit.pipeline.resident_source import ResidentSource
from inferkit.pipeline.ring import Ring
from inferkit.pipeline.timeline import Timeline
from inferkit.readers import READERS
from inferkit.readers.base import Reader
from inferkit.readers.split import split
from inferkit.records.windows import Window
from inferkit.validity.checksums import Verifier
from tests.conftest import Known, write_dataset
from tests.pipeline.conftest import FOREVER, SHORT, ignore

STAGES = ("read", "copy", "infer", "out")


class Kept(Timeline):
    """Keeps the times of every batch."""

    def __init__(self, window: Window = FOREVER, stages: tuple[str, ...] = STAGES) -> None:
        super().__init__(window, stages, ignore)
        self.kept: list[tuple[int, ...]] = []

    def add(self, images: int, nbytes: int, *times: int, device: int = 0) -> bool:
        self.kept.append(times)
        return super().add(images, nbytes, *times, device=device)


class Slow(NullEngine):
    """Takes a while on the compute thread; fails at its nth batch."""

    def __init__(self, device: CpuDevice, seconds: float = 0.003, fails_at: int = -1) -> None:
        self._device, self._seconds, self._fails_at = device, seconds, fails_at
        self.calls = 0

    def infer(self, slot: Slot, images: int, after: Span | None) -> Span:
        self.calls += 1
        fails = self.calls == self._fails_at

        def work() -> None:
            sleep(self._seconds)
            if fails:
                raise EngineError("no workspace left")

        return self._device.compute.submit(work, after=after)


@pytest.fixture
def known(tmp_path: Path) -> Known:
    return write_dataset(tmp_path, (20, 20), (3, 5, 7), hashes=True)


@pytest.fixture(params=["buffered", "mapped"])
def reader(request: pytest.FixtureRequest, known: Known, device: CpuDevice) -> Iterator[Reader]:
    with READERS[request.param](known.dataset, device) as reader:
        yield reader


def ring_of(reader: Reader, device: CpuDevice, epochs: int | None = None) -> Ring | ResidentSource:
    shares = split([20, 20], 2, "uniform")
    if reader.capabilities.has_ceiling:
        return Ring(reader, device, shares, 4, buffers=4, epochs=epochs)
    return ResidentSource(reader, shares, 4, epochs=epochs)


def slots_of(device: CpuDevice, count: int) -> list[Slot]:
    return [device.slot(4 * 105) for _ in range(count)]


def test_without_overlap_each_batch_waits_for_the_one_before(device: CpuDevice, reader: Reader) -> None:
    timeline = Kept()
    with ring_of(reader, device, epochs=1) as ring:
        Loop(ring, device, Slow(device), slots_of(device, 3), overlap=False).run(timeline)
    assert len(timeline.kept) == 10
    for before, after in zip(timeline.kept, timeline.kept[1:], strict=False):
        assert before[5] <= after[2]  # inferred before the next is copied


def test_with_overlap_the_next_batch_is_copied_meanwhile(device: CpuDevice, reader: Reader) -> None:
    timeline = Kept()
    with ring_of(reader, device, epochs=1) as ring:
        Loop(ring, device, Slow(device, 0.01), slots_of(device, 2)).run(timeline)
    meanwhile = [b[4] <= a[2] <= b[5] for b, a in zip(timeline.kept, timeline.kept[1:], strict=False)]
    assert sum(meanwhile) >= 5
    for read_start, read_end, copy_start, copy_end, infer_start, infer_end, *_ in timeline.kept:
        assert read_start <= read_end <= copy_start <= copy_end <= infer_start <= infer_end


def test_ends_with_its_last_window_and_queues_no_more(device: CpuDevice, reader: Reader) -> None:
    timeline, engine = Kept(SHORT), Slow(device)
    with ring_of(reader, device) as ring:
        Loop(ring, device, engine, slots_of(device, 3)).run(timeline)
        assert ring.get() is None
    assert len(timeline.repeats) == 3
    assert engine.calls <= len(timeline.kept) + 3


def test_runs_out_of_batches(device: CpuDevice, reader: Reader) -> None:
    timeline = Kept()
    with ring_of(reader, device, epochs=3) as ring:
        Loop(ring, device, NullEngine(), slots_of(device, 1)).run(timeline)
    assert len(timeline.kept) == 30
    assert timeline.repeats == []


@pytest.mark.parametrize("overlap", [True, False])
@pytest.mark.parametrize("slots", [1, 3])
def test_engine_that_fails_ends_everything(device: CpuDevice, reader: Reader, overlap: bool, slots: int) -> None:
    timeline = Kept()
    with ring_of(reader, device) as ring:
        loop = Loop(ring, device, Slow(device, 0.001, fails_at=5), slots_of(device, slots), overlap=overlap)
        with pytest.raises(EngineError, match="no workspace left"):
            loop.run(timeline)
    assert len(timeline.kept) == 4
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("reader", "feeder"))]
    device.synchronize()


def test_interrupt_leaves_nothing(device: CpuDevice, reader: Reader) -> None:
    class Interrupting(Kept):
        def add(self, images: int, nbytes: int, *times: int, device: int = 0) -> bool:
            if len(self.kept) == 3:
                raise KeyboardInterrupt
            return super().add(images, nbytes, *times, device=device)

    with ring_of(reader, device) as ring, pytest.raises(KeyboardInterrupt):
        Loop(ring, device, NullEngine(), slots_of(device, 2)).run(Interrupting())
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("reader", "feeder"))]


def test_verifies_the_first_batches_on_the_device(device: CpuDevice, reader: Reader, known: Known) -> None:
    verifier = Verifier(known.dataset, 3)
    with ring_of(reader, device, epochs=1) as ring:
        Loop(ring, device, NullEngine(), slots_of(device, 2)).run(Kept(), verifier)
    assert (verifier.images, verifier.wanted) == (12, 0)


def test_verifies_while_reading_alone(device: CpuDevice, reader: Reader, known: Known) -> None:
    path = known.dataset.path(1)
    before = path.stat()
    with path.open("r+b") as file:
        file.write(b"\xfb")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # else opening the file tells that it changed
    verifier = Verifier(known.dataset, 1000)
    with ring_of(reader, device, epochs=1) as ring, pytest.raises(ReadError, match=r"image 20 .* did not arrive"):
        read_only(ring, device, Kept(stages=("read",)), verifier)
    assert verifier.images % 4 == 0


def test_without_hashes_nothing_is_verified(device: CpuDevice, tmp_path: Path) -> None:
    known = write_dataset(tmp_path / "plain", (5,))
    verifier = Verifier(known.dataset, 3)
    assert verifier.wanted == 0
    assert Verifier(known.dataset, 0).wanted == 0


def test_reading_alone_ends_with_its_last_window(device: CpuDevice, reader: Reader) -> None:
    timeline = Kept(SHORT, ("read",))
    with ring_of(reader, device) as ring:
        read_only(ring, device, timeline)
    assert len(timeline.repeats) == 3


def test_batches_are_given_back_when_adding_them_fails(device: CpuDevice, reader: Reader) -> None:
    class Broken(Kept):
        def add(self, images: int, nbytes: int, *times: int, device: int = 0) -> bool:
            raise ZeroDivisionError

    handed: list[Batch] = []
    with ring_of(reader, device) as ring:
        get = ring.get

        def remember() -> Batch | None:
            batch = get()
            if batch is not None:
                handed.append(batch)
            return batch

        ring.get = remember  # type: ignore[method-assign]
        with pytest.raises(ZeroDivisionError):
            Loop(ring, device, NullEngine(), slots_of(device, 3)).run(Broken())
    assert handed
    assert all(batch._release is None for batch in handed)


def test_inference_alone_keeps_all_slots_busy(device: CpuDevice) -> None:
    timeline, engine = Kept(SHORT, ("infer",)), Slow(device, 0.001)
    infer_resident(engine, slots_of(device, 3), 4, 420, timeline)
    assert engine.calls >= len(timeline.kept)
    gaps = [after[0] - before[1] for before, after in zip(timeline.kept, timeline.kept[1:], strict=False)]
    assert all(gap >= 0 for gap in gaps)


def test_failing_inference_alone_surfaces(device: CpuDevice) -> None:
    with pytest.raises(EngineError, match="no workspace left"):
        infer_resident(Slow(device, 0, fails_at=7), slots_of(device, 3), 4, 420, Kept(SHORT, ("infer",)))
