"""The CPU as a device: streams are threads, a slot is memory, a copy is a memcpy on the copy thread."""

import ctypes
import mmap
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import SimpleQueue
from time import monotonic_ns
from types import TracebackType

import numpy as np

from inferkit.batch import Segment
from inferkit.devices.base import Bytes, Device, Slot, Span, bytes_at, check_fits
from inferkit.errors import DeviceError
from inferkit.linux.cgroups import memory_left
from inferkit.units import gibibytes

POISON = 0xA5
HUGE_PAGE = 2 * 2**20
"""Size and alignment of a huge page of x86-64 and of 4 KiB kernels on ARM."""
LEAST_HUGE = HUGE_PAGE // 8
"""Smaller memory gets no huge page of its own: a read into it has few pages anyway."""


class CpuSpan:
    """Work on a thread, done inside this context; what it raises is kept for ``wait``.

    The cheapest event that Python has is a lock, held until the work is done.
    """

    __slots__ = ("_done", "end_ns", "error", "start_ns")

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.start_ns = self.end_ns = 0
        self._done = threading.Lock()
        self._done.acquire()

    def __enter__(self) -> None:
        self.start_ns = monotonic_ns()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self.error = error
        self.end_ns = monotonic_ns()
        self._done.release()
        return True

    def wait(self) -> None:
        """Block until the work is done; raise what it raised."""
        with self._done:
            pass
        if self.error is not None:
            raise self.error

    def done(self) -> bool:
        """Tell whether the work is done."""
        return self.end_ns > 0


class CpuStream:
    """A thread that does work in the order in which it was submitted."""

    def __init__(self, name: str) -> None:
        self._queue: SimpleQueue[tuple[CpuSpan, Callable[[], None], Span | None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[], None], *, after: Span | None = None) -> CpuSpan:
        """Queue work that begins once ``after`` is done; if that failed, this fails with the same error."""
        span = CpuSpan()
        self._queue.put((span, work, after))
        return span

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            span, work, after = item
            with span:
                if after is not None:
                    after.wait()
                    span.start_ns = monotonic_ns()
                work()

    def close(self) -> None:
        """Finish what was submitted and end the thread."""
        self._queue.put(None)
        self._thread.join()


class CpuMemory:
    """Anonymous memory with all its pages present, and with huge pages if it is large enough and the machine has them.

    A disk may take only so many pages per request: one read 0.6 MB into a huge page at 2.9 GB/s, into small pages at
    1.3 GB/s. The mapping therefore always holds the whole of its last huge page.
    """

    def __init__(self, nbytes: int) -> None:
        whole = -(-nbytes // HUGE_PAGE) * HUGE_PAGE if nbytes >= LEAST_HUGE else nbytes
        _check_room(nbytes)
        try:
            pages = mmap.mmap(-1, whole + HUGE_PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except OSError as error:
            message = f"cannot allocate {gibibytes(nbytes)} of host memory ({error}): lower host_batches or batch_sizes"
            raise DeviceError(message) from error
        with suppress(OSError):  # a kernel without huge pages
            pages.madvise(mmap.MADV_HUGEPAGE)
        base = int(np.frombuffer(pages, np.uint8, 1).ctypes.data)
        self.nbytes = nbytes
        self.array: Bytes = np.frombuffer(pages, np.uint8, nbytes, -base % HUGE_PAGE)
        self.array[:: mmap.PAGESIZE] = 0  # now, not in the middle of a measurement
        self.address = int(self.array.ctypes.data)

    def close(self) -> None:
        """Give the memory back as soon as no view of it is left: a traceback may hold a reader's view."""
        self.array = np.empty(0, np.uint8)


def _check_room(nbytes: int) -> None:
    """Refuse what is more than the machine or the container has left: touching it would end the process."""
    left = memory_left() if nbytes >= LEAST_HUGE else None
    if left is not None and nbytes > left:
        message = (
            f"cannot allocate {gibibytes(nbytes)} of host memory, {gibibytes(max(0, left))} may still be taken here: "
            "lower host_batches or batch_sizes, or raise the container's limit"
        )
        raise DeviceError(message)


class _NothingToUndo:
    def close(self) -> None:
        """Nothing was registered."""


class CpuDevice(Device):
    """The CPU: a copy 'to the device' goes from one place in host memory to another.

    Parameters
    ----------
    poison
        Overwrite memory that is given back, so that a use after release shows; only for tests.
    """

    kind = "cpu"
    name = "CPU (host-to-host copies)"
    memories = ("pageable", "mapped")

    def __init__(self, *, poison: bool = False) -> None:
        self.poison = poison
        self.compute = CpuStream("compute")
        self._copies = CpuStream("copy")
        self._slots: list[CpuMemory] = []
        self._closed = False

    def allocate(self, nbytes: int, memory: str = "") -> CpuMemory:
        """Allocate host memory; the CPU knows only ``pageable``."""
        if memory not in {"", "pageable"}:
            message = f"device cpu has no {memory!r} memory to allocate, only pageable: pinned memory needs device cuda"
            raise DeviceError(message)
        return CpuMemory(nbytes)

    def register(self, address: int, nbytes: int, *, writable: bool) -> _NothingToUndo:
        """Accept any memory: the CPU can copy from all of it."""
        return _NothingToUndo()

    def slot(self, nbytes: int) -> CpuMemory:
        """Allocate one batch's input."""
        self._slots.append(CpuMemory(nbytes))
        return self._slots[-1]

    def copy_in(self, segments: Sequence[Segment], slot: Slot) -> Span:
        """Copy the segments to the slot on the copy thread."""
        check_fits(segments, slot)
        if self.poison:
            ctypes.memset(slot.address, POISON, slot.nbytes)

        def copy() -> None:
            target = slot.address
            for segment in segments:
                ctypes.memmove(target, segment.address, segment.nbytes)
                target += segment.nbytes

        return self._copies.submit(copy)

    def synchronize(self) -> None:
        """Wait until both threads have emptied their queues."""
        for stream in (self._copies, self.compute):
            stream.submit(lambda: None).wait()

    def read_back(self, slot: Slot, nbytes: int) -> Bytes:
        """Return a copy of the slot's first bytes."""
        return bytes_at(slot.address, nbytes).copy()

    def close(self) -> None:
        """Finish all work and free the slots."""
        if self._closed:
            return
        self._closed = True
        self._copies.close()
        self.compute.close()
        for slot in self._slots:
            slot.close()
