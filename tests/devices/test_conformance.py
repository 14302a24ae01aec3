"""Every reader × memory kind × device, through the real ring and loop."""

import itertools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path
from time import sleep
from typing import cast

import numpy as np
import pytest

from inferkit.batch import Batch, Piece, Segment
from inferkit.dataset.format import open_dataset
from inferkit.devices.base import Device, HostMemory, Registration, Slot, Span, bytes_at
from inferkit.devices.cpu import CpuDevice
from inferkit.engines.base import Engine
from inferkit.engines.null import NullEngine
from inferkit.errors import DeviceError, EngineError, ReadError
from inferkit.linux.io_uring import ReadQueue
from inferkit.pipeline.loop import Loop, read_only
from inferkit.pipeline.ring import POISON, Ring
from inferkit.pipeline.timeline import Timeline
from inferkit.readers import READERS
from inferkit.readers.base import Reader
from inferkit.readers.direct import direct_io_block
from inferkit.readers.memory import MemoryReader, in_memory
from inferkit.readers.split import split
from inferkit.records.windows import Window
from inferkit.validity.checksums import Verifier
from tests.conftest import Known, Pixels, write_dataset
from tests.devices.conftest import KINDS, SETTINGS, open_or_skip
from tests.kvikio_stand_in import install
from tests.object_store import shared_store

FOREVER = Window(warmup_s=3600.0)
# 105 bytes: many images in a page; 4551: a page and a bit, so that segments begin anywhere; 12288: whole pages.
SHAPES = [(3, 5, 7), (3, 37, 41), (3, 64, 64)]


class Counted:
    """Host memory that is missed until it is closed."""

    def __init__(self, memory: HostMemory, live: set["Counted"]) -> None:
        self.memory, self.live = memory, live
        self.address, self.nbytes, self.array = memory.address, memory.nbytes, memory.array
        live.add(self)

    def close(self) -> None:
        self.array = np.empty(0, np.uint8)
        self.memory.close()
        self.live.discard(self)


class Allocating:
    """A device as readers and ring see it: allocates one kind of memory, and counts what is not given back."""

    def __init__(self, device: Device, memory: str) -> None:
        self.device, self.memory, self.poison = device, memory, device.poison
        self.live: set[Counted] = set()
        self.registered = 0

    def allocate(self, nbytes: int, memory: str = "") -> HostMemory:
        return Counted(self.device.allocate(nbytes, memory or self.memory), self.live)

    def prepare(self, segments: tuple[Segment, ...]) -> tuple[Segment, ...]:
        return self.device.prepare(segments)

    def attached(self) -> AbstractContextManager[None]:
        return self.device.attached()

    def register(self, address: int, nbytes: int, *, writable: bool) -> Registration:
        return self.device.register(address, nbytes, writable=writable)


class WatchedRing(Ring):
    """Remembers every batch that it handed out."""

    handed: list[Batch]

    def get(self) -> Batch | None:
        batch = super().get()
        if batch is not None:
            self.handed.append(batch)
        return batch


class Arrived(Verifier):
    """Keeps what lies on the device after each copy."""

    def __init__(self) -> None:
        self.wanted = 10**9
        self.images = 0
        self.batches: list[tuple[tuple[Segment, ...], Pixels]] = []

    def check(self, batch: Batch, data: Pixels) -> None:
        self.batches.append((batch.segments, data))

    def assert_right(self, known: Known) -> list[int]:
        """Compare every batch with the data set; returns the images in the order of their arrival."""
        order = []
        for segments, data in self.batches:
            images = [i for s in segments for i in range(s.first, s.first + s.images)]
            assert np.array_equal(data, known.content[images].ravel()), images
            order += images
        return order


class Ending(Timeline):
    """Ends after so many batches."""

    def __init__(self, batches: int) -> None:
        super().__init__(FOREVER, ("read", "copy", "infer", "out"), lambda progress: None)
        self.left = batches

    def add(self, images: int, nbytes: int, *times: int, device: int = 0) -> bool:
        assert len(times) == 8
        assert list(times) == sorted(times[:4]) + list(times[4:])
        super().add(images, nbytes, *times, device=device)
        self.left -= 1
        return self.left <= 0


class Failing:
    """Makes a reader fail at its nth batch."""

    def __init__(self, reader: Reader, at: int) -> None:
        self.wrapped, self.at = reader.read, at
        self.calls = itertools.count()

    def __call__(self, pieces: Sequence[Piece], buffer: HostMemory | None) -> tuple[Segment, ...]:
        if next(self.calls) >= self.at:
            raise ReadError(f"no bytes of image {pieces[0].first}")
        return self.wrapped(pieces, buffer)


class Bench:
    """A device of one kind, with one kind of host memory, and a way to stream a data set through it."""

    def __init__(self, device: Device, memory: str, folder: Path) -> None:
        self.device = device
        self.allocating = Allocating(device, memory)
        self.folder = folder
        self.handed: list[Batch] = []
        self.arrived = Arrived()

    def open(self, name: str, files: tuple[int, ...], shape: tuple[int, ...]) -> tuple[Reader, Known]:
        if name == "memory":
            reader = MemoryReader(in_memory(shape, "uint8", images=sum(files)), self.allocating)
            return reader, Known(reader.dataset, reader.region.array.reshape(sum(files), -1).copy())
        known = write_dataset(self.folder, files, shape)
        if READERS[name].capabilities.reads == ("objects",):
            objects = open_dataset(shared_store().publish(self.folder), dtype="uint8", shape=shape)
            return READERS[name](objects, self.allocating), known
        if READERS[name].capabilities.to_device and not find_spec("kvikio"):
            pytest.skip("KvikIO is not installed")
        if READERS[name].capabilities.passes_cache:
            try:
                direct_io_block(known.dataset.path(0))
                if name == "uring":
                    ReadQueue(1, 1).close()
            except ReadError as error:
                pytest.skip(str(error))
        return READERS[name](known.dataset, self.allocating), known

    def ring(self, reader: Reader, *, batch_size: int, threads: int, buffers: int, epochs: int | None) -> Ring:
        shares = split([file.images for file in reader.dataset.files], threads, "uniform")
        allocator = cast(Device, self.allocating)
        ring = WatchedRing(reader, allocator, shares, batch_size, buffers=buffers, epochs=epochs)
        ring.handed = self.handed
        return ring

    def stream(
        self,
        reader: Reader,
        *,
        batch_size: int = 4,
        threads: int = 2,
        buffers: int = 4,
        slots: int = 3,
        epochs: int | None = 1,
        overlap: bool = True,
        batches: int = 10**9,
        engine: Engine | None = None,
    ) -> None:
        places = [self.device.slot(batch_size * reader.dataset.image_bytes) for _ in range(slots)]
        with self.ring(reader, batch_size=batch_size, threads=threads, buffers=buffers, epochs=epochs) as ring:
            loop = Loop(ring, self.device, engine or NullEngine(), places, overlap=overlap)
            loop.run(Ending(batches), self.arrived)

    def assert_nothing_left(self) -> None:
        """Every batch was given back, once; every buffer was freed; no thread is left."""
        for batch in self.handed:
            with pytest.raises(DeviceError, match="given back twice"):
                batch.release()
        assert self.allocating.live == set()
        names = {thread.name for thread in threading.enumerate()}
        assert not [name for name in names if name.startswith(("reader", "feeder"))]


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Where the files lie: on disk, or in memory for the reader that maps them."""
    name = request.node.callspec.params.get("reader")
    return request.getfixturevalue("shm") / "data" if name == "mapped" else tmp_path / "data"


@pytest.fixture
def bench(kind: str, memory: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    if kind == "cpu":
        install(monkeypatch)
    with open_or_skip(kind) as device:
        yield Bench(device, memory, folder)


every_setting = pytest.mark.parametrize(("kind", "memory"), SETTINGS)
# What decodes has files of another kind: tests/readers/test_jpeg.py streams it.
every_reader = pytest.mark.parametrize(
    "reader", [name for name, reader in READERS.items() if not reader.capabilities.decodes]
)


@every_setting
@every_reader
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("batch_size", "threads", "buffers", "slots"), [(4, 2, 4, 3), (1, 1, 1, 1), (7, 3, 2, 2), (100, 40, 5, 2)]
)
def test_one_epoch_arrives_whole(
    bench: Bench, reader: str, shape: tuple[int, ...], batch_size: int, threads: int, buffers: int, slots: int
) -> None:
    opened, known = bench.open(reader, (5, 3, 1, 7), shape)
    with opened:
        bench.stream(opened, batch_size=batch_size, threads=threads, buffers=buffers, slots=slots)
    assert sorted(bench.arrived.assert_right(known)) == list(range(16))
    sizes = [len(segments) and sum(s.images for s in segments) for segments, _ in bench.arrived.batches]
    assert len([size for size in sizes if size < batch_size]) <= min(threads, 16)
    bench.assert_nothing_left()


@every_setting
@every_reader
@pytest.mark.parametrize("overlap", [True, False])
def test_epochs_wrap_and_every_batch_is_full(bench: Bench, reader: str, overlap: bool) -> None:
    opened, known = bench.open(reader, (5, 3, 7), (3, 37, 41))
    with opened:
        bench.stream(opened, batch_size=4, threads=1, epochs=None, overlap=overlap, batches=12)
    order = bench.arrived.assert_right(known)
    assert order == [k % 15 for k in range(48)]
    assert max(len(segments) for segments, _ in bench.arrived.batches) > 1  # across files
    bench.assert_nothing_left()


@every_setting
@every_reader
@pytest.mark.parametrize("at", [0, 1, 9])
@pytest.mark.parametrize("buffers", [1, 4])
def test_reader_that_fails(bench: Bench, reader: str, at: int, buffers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, known = bench.open(reader, (20, 20), (3, 5, 7))
    monkeypatch.setattr(opened, "read", Failing(opened, at))
    with opened, pytest.raises(ReadError, match="no bytes of image"):
        bench.stream(opened, batch_size=3, threads=2, buffers=buffers, epochs=None)
    assert len(bench.arrived.assert_right(known)) == 3 * len(bench.arrived.batches)
    assert len(bench.arrived.batches) <= at
    bench.assert_nothing_left()


@every_setting
@pytest.mark.parametrize("reader", ["buffered", "direct", "uring", "gds"])
def test_file_that_is_truncated_meanwhile(bench: Bench, reader: str) -> None:
    opened, known = bench.open(reader, (20, 20), (3, 37, 41))
    os.truncate(known.dataset.path(1), 10 * 4551 + 100)
    with opened, pytest.raises(ReadError, match=f"{known.dataset.path(1)} was replaced or written to"):
        bench.stream(opened, batch_size=3, threads=1, epochs=None)
    assert bench.arrived.assert_right(known) == list(range(18))
    bench.assert_nothing_left()


@every_setting
@every_reader
def test_cancelled_in_the_middle(bench: Bench, reader: str) -> None:
    opened, known = bench.open(reader, (20, 20), (3, 37, 41))
    slots = [bench.device.slot(3 * 4551) for _ in range(2)]
    with opened, bench.ring(opened, batch_size=3, threads=3, buffers=4, epochs=None) as ring:
        timer = threading.Timer(0.05, ring.cancel)
        timer.start()
        Loop(ring, bench.device, NullEngine(), slots).run(Ending(10**9), bench.arrived)
        assert ring.get() is None
        timer.join()
    assert bench.arrived.assert_right(known)
    bench.assert_nothing_left()


@every_setting
@every_reader
def test_reading_alone(bench: Bench, reader: str) -> None:
    opened, known = bench.open(reader, (5, 3, 7), (3, 5, 7))
    timeline = Timeline(FOREVER, ("read",), lambda progress: None)
    with opened, bench.ring(opened, batch_size=4, threads=2, buffers=2, epochs=2) as ring:
        read_only(ring, bench.device, timeline, bench.arrived)
    assert sorted(bench.arrived.assert_right(known)) == sorted([*range(15), *range(15)])
    bench.assert_nothing_left()


@every_setting
@every_reader
def test_batch_is_given_back_once(bench: Bench, reader: str) -> None:
    opened, _ = bench.open(reader, (5,), (3, 5, 7))
    with opened, bench.ring(opened, batch_size=2, threads=1, buffers=1, epochs=1) as ring:
        batch = ring.get()
        assert batch is not None
        batch.release()
        with pytest.raises(DeviceError, match=r"images \[0\] was given back twice"):
            batch.release()
        following = ring.get()
        assert following is not None
        assert following.segments[0].first == 2
        following.release()
    bench.assert_nothing_left()


@every_setting
@pytest.mark.parametrize("reader", ["buffered"])
def test_batch_that_does_not_fit_its_slot(bench: Bench, reader: str) -> None:
    opened, _ = bench.open(reader, (9,), (3, 5, 7))
    slots = [bench.device.slot(3 * 105)]
    with opened, bench.ring(opened, batch_size=4, threads=1, buffers=2, epochs=None) as ring:
        loop = Loop(ring, bench.device, NullEngine(), slots)
        with pytest.raises(DeviceError, match="420"):
            loop.run(Ending(5), None)
    bench.assert_nothing_left()


class Refusing(NullEngine):
    """Cannot queue its third batch."""

    calls = 0

    def infer(self, slot: Slot, images: int, after: Span | None) -> Span:
        self.calls += 1
        if self.calls == 3:
            raise EngineError("queue is full")
        return super().infer(slot, images, after)


@every_setting
@pytest.mark.parametrize("reader", ["buffered"])
@pytest.mark.parametrize("overlap", [True, False])
def test_engine_that_refuses_a_batch(bench: Bench, reader: str, overlap: bool) -> None:
    opened, known = bench.open(reader, (9,), (3, 5, 7))
    with opened, pytest.raises(EngineError, match="queue is full"):
        bench.stream(opened, batch_size=4, threads=1, epochs=None, overlap=overlap, engine=Refusing())
    assert bench.arrived.assert_right(known) == [k % 9 for k in range(8)]
    bench.assert_nothing_left()


@every_setting
@pytest.mark.parametrize("reader", ["buffered"])
def test_content_that_is_not_what_it_should_be(bench: Bench, reader: str) -> None:
    known = write_dataset(bench.folder, (9,), (3, 5, 7), hashes=True)
    with known.dataset.path(0).open("r+b") as file:
        file.seek(5 * 105 + 50)
        file.write(b"\xff")
    verifier = Verifier(known.dataset, 100)
    slots = [bench.device.slot(2 * 105) for _ in range(2)]
    with (
        READERS[reader](known.dataset, bench.allocating) as opened,
        bench.ring(opened, batch_size=2, threads=1, buffers=3, epochs=None) as ring,
    ):
        loop = Loop(ring, bench.device, NullEngine(), slots)
        with pytest.raises(ReadError, match=r"image 5 \(.*images-00.tensors\) did not arrive as it was made"):
            loop.run(Ending(100), verifier)
    assert verifier.images == 4
    bench.assert_nothing_left()


@pytest.mark.parametrize("kind", KINDS)
def test_copies_segments_one_behind_another(kind: str) -> None:
    with open_or_skip(kind) as device:
        source = device.allocate(1000)
        source.array[:] = np.arange(1000) % 251
        slot = device.slot(100)
        places = [(900, 7), (3, 50), (501, 1), (0, 42)]
        segments = [Segment("ring", source.address + at, nbytes, 0, 1, 0) for at, nbytes in places]
        span = device.copy_in(segments, slot)
        span.wait()
        assert span.done()
        assert 0 < span.start_ns <= span.end_ns
        expected = np.concatenate([source.array[at : at + nbytes] for at, nbytes in places])
        assert np.array_equal(device.read_back(slot, 100), expected)
        assert len(device.read_back(slot, 57)) == 57
        source.close()
        source.close()


@pytest.mark.parametrize("kind", KINDS)
def test_copies_keep_their_order(kind: str) -> None:
    with open_or_skip(kind) as device:
        source = device.allocate(64 * 4096)
        source.array.reshape(64, -1)[:] = np.arange(64)[:, None]
        slot = device.slot(4096)
        spans = [device.copy_in([Segment("ring", source.address + k * 4096, 4096, 0, 1, 0)], slot) for k in range(64)]
        device.synchronize()
        assert all(span.done() for span in spans)
        assert set(device.read_back(slot, 4096)) == {63}
        ends = [span.end_ns for span in spans]
        assert ends == sorted(ends)
        source.close()


@pytest.mark.parametrize("kind", KINDS)
def test_memory_is_aligned_writable_and_distinct(kind: str) -> None:
    with open_or_skip(kind) as device:
        for name in ("", *(memory for memory in device.memories if memory != "mapped")):
            first, second = device.allocate(5000, name), device.allocate(5000, name)
            assert first.address % 4096 == second.address % 4096 == 0
            first.array[:], second.array[:] = 1, 2
            assert first.array.nbytes == first.nbytes == 5000
            assert set(first.array) == {1}
            assert bytes_at(second.address, 5000)[4999] == 2
            first.close()
            second.close()
        with pytest.raises(DeviceError, match="'golden'"):
            device.allocate(10, "golden")
        with pytest.raises(DeviceError, match="lower host_batches or batch_sizes"):
            device.allocate(1 << 50)


@pytest.mark.parametrize("kind", KINDS)
def test_close_twice_does_nothing_more(kind: str) -> None:
    device = open_or_skip(kind)
    device.slot(100)
    device.close()
    device.close()


@pytest.fixture
def cpu() -> Iterator[CpuDevice]:
    with CpuDevice(poison=True) as device:
        yield device


@pytest.mark.parametrize("early", [True, False])
def test_poison_shows_a_release_before_the_copy_ended(cpu: CpuDevice, tmp_path: Path, early: bool) -> None:
    known = write_dataset(tmp_path, (4,), (3, 5, 7))
    slot = cpu.slot(4 * 105)
    copying = threading.Event()
    shares = [[Piece(0, 0, 4, 0)]]
    with READERS["buffered"](known.dataset, cpu) as reader, Ring(reader, cpu, shares, 4, buffers=1, epochs=1) as ring:
        batch = ring.get()
        assert batch is not None
        cpu._copies.submit(lambda: (copying.wait(), None)[1])
        span = cpu.copy_in(batch.segments, slot)
        if early:
            batch.release()
        copying.set()
        span.wait()
        if not early:
            batch.release()
        found = cpu.read_back(slot, 4 * 105)
    assert np.array_equal(found, known.content.ravel()) is not early
    assert set(found) == {POISON} or not early


class Slow(Engine):
    """Looks at its slot long after the copy, and keeps what it saw."""

    def __init__(self, device: CpuDevice, look: Callable[[Slot, int], None]) -> None:
        self._device = device
        self._look = look

    @classmethod
    def build(cls, *arguments: object, **options: object) -> "Slow":
        raise AssertionError

    def infer(self, slot: Slot, images: int, after: Span | None) -> Span:
        def work() -> None:
            sleep(0.002)
            self._look(slot, images)

        return self._device.compute.submit(work, after=after)

    def output(self, slot: Slot) -> None:
        return None


@pytest.mark.parametrize("slots", [1, 2, 3])
@pytest.mark.parametrize("overlap", [True, False])
def test_slot_stays_until_its_inference_ended(cpu: CpuDevice, tmp_path: Path, slots: int, overlap: bool) -> None:
    # A slot that is reused too early would hold poison or the next batch.
    bench = Bench(cpu, "pageable", tmp_path)
    reader, known = bench.open("buffered", (20,), (3, 5, 7))
    seen: list[Pixels] = []
    engine = Slow(cpu, lambda slot, images: seen.append(bytes_at(slot.address, images * 105).copy()))
    with reader:
        bench.stream(reader, batch_size=3, threads=1, slots=slots, overlap=overlap, engine=engine)
    assert np.array_equal(np.concatenate(seen), known.content.ravel())
    bench.assert_nothing_left()


def test_engine_that_fails_behind_the_copy(cpu: CpuDevice, tmp_path: Path) -> None:
    def fail(slot: Slot, images: int) -> None:
        seen.append(images)
        if len(seen) == 3:
            raise EngineError("out of workspace")

    seen: list[int] = []
    bench = Bench(cpu, "pageable", tmp_path)
    reader, _ = bench.open("buffered", (20,), (3, 5, 7))
    with reader, pytest.raises(EngineError, match="out of workspace"):
        bench.stream(reader, batch_size=3, threads=2, epochs=None, engine=Slow(cpu, fail))
    assert len(bench.arrived.batches) >= 3
    bench.assert_nothing_left()


def test_nothing_is_read_any_more_once_closed(cpu: CpuDevice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # With slow storage, filling all free buffers first would take long.
    known = write_dataset(tmp_path, (50,), (3, 5, 7))
    reader = READERS["buffered"](known.dataset, cpu)
    read = reader.read
    calls: list[int] = []

    def slow(pieces: Sequence[Piece], buffer: HostMemory | None) -> tuple[Segment, ...]:
        calls.append(pieces[0].first)
        sleep(0.02)
        return read(pieces, buffer)

    monkeypatch.setattr(reader, "read", slow)
    shares = split([50], 2, "uniform")
    with reader, Ring(reader, cpu, shares, 1, buffers=20) as ring:
        first = ring.get()
        assert first is not None
        first.release()
    assert len(calls) <= 6
