"""Copies to the device, alone: one size, one kind of host memory."""

import mmap
import os
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np

from inferkit.batch import Segment
from inferkit.devices.base import Bytes, Device, HostMemory, Slot, Span
from inferkit.errors import DeviceError
from inferkit.pipeline.job import Job
from inferkit.pipeline.timeline import Timeline

PERIOD = 1_048_573
COPIES_UNDER_WAY = 4
"""Enough that the next copy is queued while one runs, so that queueing is not in the times."""


def copies(job: Job, device: Device, begin: Callable[[tuple[str, ...]], Timeline]) -> Timeline:
    """Copy ``transfer_bytes`` again and again, from one place in host memory to one on the device.

    Each copy's own start and end are taken on its stream; the content is compared on the device before and after.

    Raises
    ------
    DeviceError
        If what arrived is not what was sent.
    """
    source = host_memory(device, job.transfer_bytes, job.memory)
    try:
        source.array[:] = pattern(job.transfer_bytes)
        slot = device.slot(job.transfer_bytes)
        segments = [Segment("memory", source.address, job.transfer_bytes, 0, 0, 0)]
        _copy_and_compare(device, segments, slot)
        timeline = begin(("copy",))
        under_way: deque[Span] = deque(device.copy_in(segments, slot) for _ in range(COPIES_UNDER_WAY))
        finished = False
        while under_way:
            span = under_way.popleft()
            span.wait()
            finished = finished or timeline.add(0, job.transfer_bytes, span.start_ns, span.end_ns)
            if not finished:
                under_way.append(device.copy_in(segments, slot))
        _copy_and_compare(device, segments, slot)
        return timeline
    finally:
        device.synchronize()
        source.close()


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
            self._registration.close()
            self.array = np.empty(0, np.uint8)
            self._map.close()


def _copy_and_compare(device: Device, segments: Sequence[Segment], slot: Slot) -> None:
    device.copy_in(segments, slot).wait()
    nbytes = segments[0].nbytes
    if not np.array_equal(device.read_back(slot, nbytes), pattern(nbytes)):
        msg = f"a copy of {nbytes} bytes to {device.name} arrived altered: the memory or the link is at fault"
        raise DeviceError(msg)
