"""Copies to the device, alone: one size, one kind of host memory."""

import mmap
import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, closing

import numpy as np

from inferkit.batch import Segment
from inferkit.closing import close_all
from inferkit.devices.base import Bytes, Device, HostMemory, Span
from inferkit.errors import DeviceError
from inferkit.pipeline.timeline import Timeline
from inferkit.records.job import CopyJob

PERIOD = 1_048_573
COPIES_UNDER_WAY = 4
"""Enough that the next copy is queued while one runs, so that queueing is not in the times."""


class Link:
    """One device's copies of one size, from one place in host memory to one on the device and back.

    Parameters
    ----------
    device, nbytes, memory
        Where to, how much, and from what kind of host memory.
    back
        To what kind of host memory it goes back; empty: the device's usual one, as results do.
    """

    def __init__(self, device: Device, nbytes: int, memory: str, back: str = "") -> None:
        self._device = device
        self._kind_back = back
        self._host = host_memory(device, nbytes, memory)
        self._memory = [self._host]
        self._back: HostMemory | None = None
        self.nbytes = nbytes
        with ExitStack() as undo:
            undo.callback(self.close)
            self._slot = device.slot(nbytes)
            undo.pop_all()
        self._segments = [Segment("memory", self._host.address, nbytes, 0, 0, 0)]

    def copy_in(self) -> Span:
        """Queue a copy to the device."""
        return self._device.copy_in(self._segments, self._slot)

    def copy_back(self) -> Span:
        """Queue a copy from the device to host memory of its own."""
        if self._back is None:
            self._back = host_memory(self._device, self.nbytes, self._kind_back)
            self._memory.append(self._back)
        return self._device.copy_out([(self._slot, self._back)], None)

    def compare(self) -> None:
        """Send a pattern and compare what arrived.

        Raises
        ------
        DeviceError
            If it arrived altered.
        """
        self._host.array[:] = pattern(self.nbytes)
        self.copy_in().wait()
        if not np.array_equal(self._device.read_back(self._slot, self.nbytes), self._host.array):
            message = (
                f"a copy of {self.nbytes} bytes to {self._device.name} arrived altered: the memory or link is at fault"
            )
            raise DeviceError(message)

    def repeat(self, direction: str, timeline: Timeline) -> None:
        """Keep copies under way until the timeline's last window has ended."""
        with self._device.attached():
            copy = self.copy_back if direction == "out" else self.copy_in
            back = deque(self.copy_back() for _ in range(COPIES_UNDER_WAY)) if direction == "both" else deque()
            under_way = deque(copy() for _ in range(COPIES_UNDER_WAY))
            finished = False
            while under_way:
                span = under_way.popleft()
                span.wait()
                finished = finished or timeline.add(0, self.nbytes, span.start_ns, span.end_ns)
                for _ in range(len(back)):  # each once: small copies are done before the next question
                    if not back[0].done():
                        break
                    back.popleft()
                    if not finished:
                        back.append(self.copy_back())
                if not finished:
                    under_way.append(copy())
            for span in back:
                span.wait()

    def close(self) -> None:
        """Free the memory."""
        self._device.synchronize()
        close_all(memory.close for memory in self._memory)


def copies(job: CopyJob, devices: Sequence[Device], begin: Callable[[tuple[str, ...]], Timeline]) -> Timeline:
    """Copy ``nbytes`` again and again, on all devices at once.

    Each copy's own start and end are taken on its stream; the content is compared on the device before and after.
    ``direction`` is ``in`` (to the device), ``out`` (from it), or ``both``: to the device while others go back, as
    results do.

    Raises
    ------
    DeviceError
        If what arrived is not what was sent.
    """
    with ExitStack() as stack:
        back = job.host_memory if job.direction == "out" else ""
        links = [stack.enter_context(closing(Link(device, job.nbytes, job.host_memory, back))) for device in devices]
        for link in links:
            link.compare()
        timeline = begin(("copy",))
        with ThreadPoolExecutor(len(links), "copies") as pool:
            running = [pool.submit(link.repeat, job.direction, timeline) for link in links]
            for done in as_completed(running):
                done.result()
        for link in links:
            link.compare()
        return timeline


def pattern(nbytes: int) -> Bytes:
    """Return bytes whose content depends on position: random ones that repeat after a prime number of bytes."""
    return np.resize(np.random.default_rng(0).integers(0, 256, PERIOD, np.uint8), nbytes)


def host_memory(device: Device, nbytes: int, memory: str) -> HostMemory:
    """Allocate host memory of a kind; ``mapped`` is a file in memory whose pages the device was told about."""
    return MappedMemory(device, nbytes) if memory == "mapped" else device.allocate(nbytes, memory)


class MappedMemory:
    """Pages of a file in memory (it has no name, so nothing can be left behind), registered with the device."""

    def __init__(self, device: Device, nbytes: int) -> None:
        descriptor = os.memfd_create("inferkit")
        try:
            os.ftruncate(descriptor, nbytes)
            self._map = mmap.mmap(descriptor, nbytes, mmap.MAP_SHARED)
        finally:
            os.close(descriptor)
        self.nbytes = nbytes
        self.array: Bytes = np.frombuffer(self._map, np.uint8)
        self.address = int(self.array.ctypes.data)
        self._registration = device.register(self.address, nbytes, writable=True)

    def close(self) -> None:
        """Undo the registration and the mapping."""
        if self.array.size:
            try:
                self._registration.close()
            finally:
                self.array = np.empty(0, np.uint8)
                self._map.close()
