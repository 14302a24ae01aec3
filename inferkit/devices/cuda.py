"""An NVIDIA GPU as a device: copies and inference on streams of their own."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from inferkit.batch import Segment
from inferkit.closing import close_all
from inferkit.devices.base import OWN, Bytes, Decoding, Device, HostMemory, Slot, Span, check_fits
from inferkit.devices.cpu import POISON, CpuMemory
from inferkit.devices.spans import CudaSpan, Stopwatch
from inferkit.errors import DeviceError, NoDeviceError
from inferkit.machine.gpus import driver_version
from inferkit.units import gibibytes

try:
    import pycuda.driver as drv
    from cuda.bindings import driver as bindings

    from inferkit.devices.contexts import PrimaryContext, context_of, explained, gpu_of, takes_read_only
    from inferkit.devices.cuda_errors import checked
    from inferkit.devices.pinned import PORTABLE, READ_ONLY, CudaRegistration, PinnedMemory
except ImportError as _error:
    message = f"{_error}: device cuda needs pycuda, cuda-bindings and NVIDIA's driver; run `inferkit doctor`"
    raise NoDeviceError(message) from _error

if TYPE_CHECKING:
    from inferkit.devices.nvjpeg import NvJpegDecoder

COPYING = "queueing a copy to the GPU"


class CudaSlot:
    """Memory of a GPU."""

    array: Bytes = np.empty(0, np.uint8)  # the host sees nothing of it

    def __init__(self, context: PrimaryContext, nbytes: int) -> None:
        self.nbytes = nbytes
        self._context = context
        with context.pushed("asking for free memory"):
            free, total = map(gibibytes, drv.mem_get_info())
        with context.pushed(f"allocating {gibibytes(nbytes)} on the GPU, where {free} of {total} are free"):
            self._memory: Any = drv.mem_alloc(max(nbytes, 1))
        self.address = int(self._memory)

    def close(self) -> None:
        """Free the memory, when its work has finished; calling it again does nothing."""
        if self._memory is not None:
            with self._context.pushed("freeing memory of the GPU"):
                self._memory.free()
            self._memory = None


class CudaDevice(Device):
    """One GPU.

    Parameters
    ----------
    gpu
        Which one, as CUDA counts them (``CUDA_VISIBLE_DEVICES`` and ``CUDA_DEVICE_ORDER`` decide).
    poison
        Overwrite a slot before each copy, so that a use after release shows; only for tests.
    spin
        Wait by polling: this reacts some microseconds sooner, and takes a core per waiting thread.

    Attributes
    ----------
    compute
        The stream of inference (a ``pycuda.driver.Stream``).
    compute_capability
        Such as ``9.0``.
    driver
        Version of NVIDIA's driver, and the CUDA version that it offers.

    Raises
    ------
    DeviceError
        If there is no such GPU, or CUDA does not start.
    """

    kind = "cuda"
    memories = ("pinned", "pageable", "mapped")

    def __init__(self, gpu: int, *, poison: bool = False, spin: bool = False) -> None:
        self.poison = poison
        found = gpu_of(gpu)
        with explained(f"asking GPU {gpu} what it is", opening=True):
            self.name = str(found.name())
            self.compute_capability = ".".join(map(str, found.compute_capability()))
            self.driver = f"{driver_version() or 'unknown'} (CUDA {drv.get_driver_version()})"
        self._takes_read_only = takes_read_only(gpu)
        self._decoder: NvJpegDecoder | None = None
        self._slots: list[CudaSlot] = []
        self._more: list[Any] = []
        self._closed = False
        self._context = context_of(gpu)
        self._context.hold(spin=spin)
        try:
            self._open(0 if spin else int(drv.event_flags.BLOCKING_SYNC))
        except DeviceError:
            self._context.drop()
            raise

    def _open(self, event_flags: int) -> None:
        """Make streams that do not wait for CUDA's default stream."""
        flags = int(bindings.CUstream_flags.CU_STREAM_NON_BLOCKING)
        with self.pushed("making streams"):
            self.compute, self._copies, self._out, clock = (drv.Stream(flags) for _ in range(4))
        self._stopwatch = Stopwatch(self.pushed, drv.Event, lambda: drv.Event(event_flags), clock)

    def pushed(self, doing: str) -> AbstractContextManager[None]:
        """Make the GPU's context current on this thread for a while; all that TensorRT does belongs inside.

        A DeviceError from inside says ``doing``.
        """
        if self._closed:
            message = f"{doing}: {self.name} was closed before; keep the device open until its work is done"
            raise DeviceError(message)
        return self._context.pushed(doing)

    def attached(self) -> AbstractContextManager[None]:
        """Keep the GPU's context current on this thread until the block ends."""
        return self.pushed("working on the GPU")

    def allocate(self, nbytes: int, memory: str = "") -> HostMemory:
        """Allocate host memory: ``pinned``, from which copies reach full speed, or ``pageable``; or the GPU's own."""
        if memory == OWN:
            return CudaSlot(self._context, nbytes)
        if memory == "pageable":
            return CpuMemory(nbytes)
        if memory in {"", "pinned"}:
            return PinnedMemory(self._context, nbytes)
        message = f"device cuda has no {memory!r} memory to allocate: use pinned or pageable, or register a mapping"
        raise DeviceError(message)

    def register(self, address: int, nbytes: int, *, writable: bool) -> CudaRegistration:
        """Lock a mapping's pages for every GPU; devices that register the same share it."""
        if not writable and not self._takes_read_only:
            message = (
                f"{self.name} takes no pages that are mapped read-only: make the files writable, or use reader buffered"
            )
            raise DeviceError(message)
        return CudaRegistration(self._context, address, nbytes, PORTABLE if writable else PORTABLE | READ_ONLY)

    def open_decoder(self, decoding: Decoding) -> "NvJpegDecoder":
        """Decode encoded images by the GPU's own decoder."""
        from inferkit.devices.nvjpeg import NvJpegDecoder  # its library is large, and few readers need it

        if self._decoder is not None:
            self.synchronize()
            with self.pushed("closing the JPEG decoder"):
                self._decoder.close()
        self._decoder = NvJpegDecoder(self, decoding)
        return self._decoder

    def prepare(self, segments: tuple[Segment, ...]) -> tuple[Segment, ...]:
        """Let the decoder look at encoded images."""
        return segments if self._decoder is None else self._decoder.prepare(segments)

    def slot(self, nbytes: int) -> CudaSlot:
        """Allocate memory of the GPU; it is freed with the device at the latest."""
        with self.pushed("allocating a slot"):
            self._slots.append(CudaSlot(self._context, nbytes))
        return self._slots[-1]

    def copy_in(self, segments: Sequence[Segment], slot: Slot) -> CudaSpan:
        """Queue one copy per segment on the copy stream.

        Wait for the slot's last inference before: nothing on the GPU holds the copy back. From pageable memory CUDA
        itself takes the bytes, through a buffer of its own, and returns late; so does a decoder.
        """
        if self._decoder is not None:
            return self._decoder.fill(segments, slot)
        check_fits(segments, slot)
        if self.poison:
            with self.pushed("poisoning a slot"):
                drv.memset_d8_async(slot.address, POISON, slot.nbytes, self._copies)
        stream = self._copies.handle
        with self.span(self._copies) as span:
            target = slot.address
            for segment in segments:  # PyCUDA copies only from buffers; making one takes longer
                copy = bindings.cuMemcpyDtoDAsync if segment.kind == OWN else bindings.cuMemcpyHtoDAsync
                checked(copy(target, segment.address, segment.nbytes, stream), COPYING)
                target += segment.nbytes
        return span

    @contextmanager
    def span(self, stream: Any, after: Span | None = None) -> Iterator[CudaSpan]:
        """Time what is queued on a stream inside the block; it begins on the GPU once ``after`` is done."""
        with self.pushed("queueing a copy or an inference"):
            if after is not None and not isinstance(after, CudaSpan):
                after.wait()
                after = None
            span = self._stopwatch.begin(stream, after)
            yield span
            self._stopwatch.end(span, stream)

    def synchronize(self) -> None:
        """Wait for all streams; a failure is raised where its span is waited for, and a lost GPU has nothing to do."""
        with suppress(DeviceError), self.pushed("waiting for all work"):
            for stream in (self._copies, self.compute, *self._more, self._out):
                with suppress(drv.Error):
                    stream.synchronize()

    def copy_out(self, outputs: Sequence[tuple[Slot, HostMemory]], after: Span | None) -> CudaSpan:
        """Queue copies to host memory on a stream of their own, once ``after`` is done."""
        with self.span(self._out, after) as span:
            for source, target in outputs:
                drv.memcpy_dtoh_async(target.array, source.address, self._out)
        return span

    def new_stream(self) -> Any:
        """Make another compute stream, for an engine that infers several batches side by side."""
        with self.pushed("making a stream"):
            self._more.append(drv.Stream(int(bindings.CUstream_flags.CU_STREAM_NON_BLOCKING)))
        return self._more[-1]

    def read_back(self, slot: Slot, nbytes: int) -> Bytes:
        """Return a copy of the slot's first bytes as they are now; wait for the slot's work before."""
        found: Bytes = np.empty(nbytes, np.uint8)
        with self.pushed("copying from the GPU"):
            drv.memcpy_dtoh_async(found, slot.address, self._out)
            self._out.synchronize()
        return found

    def close(self) -> None:
        """Finish all work, free everything, and end the context if no other device holds it.

        Whatever of it fails, the rest is done as well.
        """
        if self._closed:
            return
        self.synchronize()
        close_all([self._free, self._end])

    def _free(self) -> None:
        with self.pushed("freeing memory of the GPU"):
            decoder = [self._decoder.close] if self._decoder is not None else []
            close_all([*(slot.close for slot in self._slots), *decoder, self._let_go])

    def _end(self) -> None:
        self._closed = True
        self._context.drop()

    def _let_go(self) -> None:
        """Drop the last references to streams and events: PyCUDA frees them, if the context is pushed."""
        self._decoder = None
        self._stopwatch.close()
        self.compute = self._copies = self._out = None
        self._more.clear()
