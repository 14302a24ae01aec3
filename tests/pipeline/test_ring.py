import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from time import process_time, sleep, thread_time

import numpy as np
import pytest

from inferkit.batch import Batch, Piece, Segment
from inferkit.dataset.tensors import Dataset
from inferkit.devices.base import HostMemory, bytes_at
from inferkit.devices.cpu import CpuDevice, CpuMemory
from inferkit.errors import DeviceError, ReadError
from inferkit.pipeline.ring import POISON, Ring
from inferkit.readers.base import Reader
from inferkit.readers.memory import in_memory
from inferkit.readers.split import split


class Numbering(Reader):
    """Fills a buffer with the numbers of its images; fails at one of them; waits when it is told to."""

    name = "numbering"

    def __init__(self, dataset: Dataset, device: CpuDevice, fails_at: int = -1) -> None:
        super().__init__(dataset, device)
        self.fails_at = fails_at
        self.reads = 0
        self.go = threading.Event()
        self.go.set()

    def buffer_bytes(self, batch_size: int) -> int:
        return batch_size

    def read(self, pieces: Sequence[Piece], buffer: HostMemory | None) -> tuple[Segment, ...]:
        assert buffer is not None
        self.reads += 1
        self.go.wait()
        images = [image for piece in pieces for image in range(piece.first, piece.first + piece.images)]
        if self.fails_at in images:
            raise ReadError(f"image {self.fails_at} cannot be read")
        buffer.array[: len(images)] = images
        return (Segment("ring", buffer.address, len(images), images[0], len(images), 0),)


@pytest.fixture
def reader(device: CpuDevice) -> Numbering:
    return Numbering(in_memory((1,), "uint8", images=30), device)


def taken(ring: Ring) -> Iterator[list[int]]:
    while (batch := ring.get()) is not None:
        yield bytes_at(batch.segments[0].address, batch.nbytes).tolist()
        batch.release()


def next_of(ring: Ring) -> Batch:
    batch = ring.get()
    assert batch is not None
    return batch


@pytest.mark.parametrize("threads", [1, 3, 30, 40])
@pytest.mark.parametrize("buffers", [1, 2, 7])
def test_delivers_what_was_read(device: CpuDevice, reader: Numbering, threads: int, buffers: int) -> None:
    with Ring(reader, device, split([30], threads, "uniform"), 4, buffers=buffers, epochs=2) as ring:
        batches = list(taken(ring))
        assert ring.get() is None
    assert Counter(image for batch in batches for image in batch) == Counter(list(range(30)) * 2)
    if threads == 1:
        assert [image for batch in batches for image in batch] == list(range(30)) * 2


def test_the_buffer_that_came_back_last_is_filled_first(device: CpuDevice, reader: Numbering) -> None:
    with Ring(reader, device, split([30], 1, "uniform"), 1, buffers=3) as ring:
        held = [next_of(ring) for _ in range(3)]  # the reader waits for one to come back
        reader.go.clear()
        held[0].release()
        while reader.reads < 4:
            sleep(0.001)
        held[1].release()  # two are free now, while the reader fills the first
        held[2].release()
        reader.go.set()
        places = [next_of(ring).segments[0].address for _ in range(3)]
    assert places == [held[k].segments[0].address for k in (0, 2, 1)]


def test_a_reader_that_waits_for_a_buffer_ends_when_cancelled(device: CpuDevice, reader: Numbering) -> None:
    with Ring(reader, device, split([30], 2, "uniform"), 1, buffers=2) as ring:
        held = [next_of(ring) for _ in range(2)]
        ring.cancel()
        assert ring.get() is None
        for batch in held:
            batch.release()


def test_reads_no_further_than_there_are_buffers(device: CpuDevice, reader: Numbering) -> None:
    with Ring(reader, device, split([30], 2, "uniform"), 1, buffers=3) as ring:
        held = [next_of(ring) for _ in range(3)]
        sleep(0.02)
        assert reader.reads == 3
        assert len({batch.segments[0].address for batch in held}) == 3
        held[1].release()
        assert next_of(ring).segments[0].address == held[1].segments[0].address


def test_released_buffers_are_poisoned(device: CpuDevice, reader: Numbering) -> None:
    with Ring(reader, device, split([30], 1, "uniform"), 3, buffers=1, epochs=1) as ring:
        batch = next_of(ring)
        view = bytes_at(batch.segments[0].address, 3)
        assert view.tolist() == [0, 1, 2]
        reader.go.clear()
        batch.release()
        assert set(view) == {POISON}
        reader.go.set()
        assert next(taken(ring)) == [3, 4, 5]


def test_batches_know_when_they_were_read(device: CpuDevice, reader: Numbering) -> None:
    with Ring(reader, device, split([30], 1, "uniform"), 5, buffers=2, epochs=1) as ring:
        first, second = next_of(ring), next_of(ring)
        assert 0 < first.times[0] <= first.times[1] <= second.times[0] <= second.times[1]


def test_no_images_no_batches(device: CpuDevice, reader: Numbering) -> None:
    with Ring(reader, device, split([], 3, "uniform"), 4, buffers=2) as ring:
        assert ring.get() is None


def test_error_comes_after_what_was_read_before_it(device: CpuDevice, reader: Numbering) -> None:
    reader.fails_at = 13
    with Ring(reader, device, split([30], 1, "uniform"), 4, buffers=3) as ring:
        batches = taken(ring)
        assert [next(batches) for _ in range(3)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
        with pytest.raises(ReadError, match="image 13"):
            next(batches)
        assert ring.get() is None


def test_error_of_one_thread_does_not_silence_the_others(device: CpuDevice, reader: Numbering) -> None:
    reader.fails_at = 0
    with Ring(reader, device, split([30], 2, "uniform"), 5, buffers=4, epochs=1) as ring:
        seen: list[list[int]] = []
        with pytest.raises(ReadError, match="image 0"):
            seen.extend(taken(ring))
        seen.extend(taken(ring))
    assert sorted(seen) == [list(range(first, first + 5)) for first in (15, 20, 25)]


def test_cancel_wakes_who_waits(device: CpuDevice, reader: Numbering) -> None:
    reader.go.clear()
    with Ring(reader, device, split([30], 2, "uniform"), 4, buffers=3) as ring:
        timer = threading.Timer(0.02, ring.cancel)
        timer.start()
        assert ring.get() is None
        assert ring.get() is None
        timer.join()
        reader.go.set()


def test_closed_while_everything_is_full_or_waits(device: CpuDevice, reader: Numbering) -> None:
    with Ring(reader, device, split([30], 4, "uniform"), 2, buffers=3) as ring:
        next_of(ring)
        sleep(0.01)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("reader")]
    ring.close()


def test_closed_without_a_single_batch_taken(device: CpuDevice, reader: Numbering) -> None:
    for _ in range(20):
        with Ring(reader, device, split([30], 3, "uniform"), 4, buffers=2, epochs=1):
            pass


def test_too_little_memory_leaves_nothing(
    device: CpuDevice, reader: Numbering, monkeypatch: pytest.MonkeyPatch
) -> None:
    memories: list[CpuMemory] = []

    def allocate(nbytes: int, memory: str = "") -> CpuMemory:
        if len(memories) == 2:
            raise DeviceError("no memory left")
        memories.append(CpuMemory(nbytes))
        return memories[-1]

    monkeypatch.setattr(device, "allocate", allocate)
    with pytest.raises(DeviceError, match="no memory left"):
        Ring(reader, device, split([30], 2, "uniform"), 4, buffers=3)
    assert [memory.array.size for memory in memories] == [0, 0]


def test_too_few_threads_leave_nothing(device: CpuDevice, reader: Numbering, monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start
    started: list[threading.Thread] = []

    def few(thread: threading.Thread) -> None:
        if len(started) == 2:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", few)
    with pytest.raises(RuntimeError, match="can't start"):
        Ring(reader, device, split([30], 4, "uniform"), 4, buffers=1)
    assert not [thread for thread in started if thread.is_alive()]


def test_view_that_a_failed_reader_left_behind_does_not_hide_its_error(device: CpuDevice) -> None:
    # The traceback of a ReadError keeps the reader's frame, and with it a view of the buffer.
    class Viewing(Numbering):
        def read(self, pieces: Sequence[Piece], buffer: HostMemory | None) -> tuple[Segment, ...]:
            assert buffer is not None
            view = buffer.array.data
            raise ReadError(f"{len(view)} bytes were asked for")

    viewing = Viewing(in_memory((1,), "uint8", images=30), device)
    with (
        pytest.raises(ReadError, match="4 bytes were asked for"),
        Ring(viewing, device, split([30], 1, "uniform"), 4, buffers=1) as ring,
    ):
        ring.get()


def test_many_threads_and_batches(device: CpuDevice, reader: Numbering) -> None:
    seen: Counter[int] = Counter()
    with Ring(reader, device, split([30], 8, "all"), 3, buffers=5, epochs=10) as ring:
        for batch in taken(ring):
            seen.update(batch)
    assert seen == Counter(dict.fromkeys(range(30), 80))
    assert np.all([value == 80 for value in seen.values()])


class Working(Numbering):
    """Computes for a while for each batch."""

    def read(self, pieces: Sequence[Piece], buffer: HostMemory | None) -> tuple[Segment, ...]:
        end = thread_time() + 0.02
        while thread_time() < end:
            pass
        return super().read(pieces, buffer)


def test_each_thread_counts_its_own_cpu_time(device: CpuDevice) -> None:
    busy = threading.Event()

    def compute() -> None:
        while not busy.is_set():
            pass

    other = threading.Thread(target=compute)  # of this process, and no reader
    other.start()
    before = process_time()
    with Ring(Working(in_memory((1,), "uint8", images=30), device), device, split([30], 2, "uniform"), 5, buffers=3,
              epochs=1) as ring:  # fmt: skip
        assert len(list(taken(ring))) == 6
    busy.set()
    other.join()
    assert all(stats.cpu_s >= 3 * 0.02 for stats in ring.stats)
    assert sum(stats.cpu_s for stats in ring.stats) < process_time() - before
