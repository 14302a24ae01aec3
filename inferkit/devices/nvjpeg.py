"""JPEG files in host memory to images in a slot: the GPU's own decoder, then one small kernel that resizes."""

import base64
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from queue import SimpleQueue
from typing import TYPE_CHECKING

import numpy as np
from cuda.bindings import driver as bindings
from numpy.typing import NDArray

from inferkit.batch import Segment
from inferkit.devices.base import Decoding, Slot, bytes_at
from inferkit.devices.nvjpeg_batch import CUDA, HARDWARE, BatchDecoder, Encoded
from inferkit.devices.pinned import checked
from inferkit.devices.resize import ResizeKernel, compiled, photographs_table
from inferkit.devices.spans import CudaSpan
from inferkit.errors import DeviceError
from inferkit.records.figures import Json

if TYPE_CHECKING:
    from inferkit.devices.cuda import CudaDevice, CudaSlot

MOST_PIXELS = 2**28
"""Photographs that are decoded in one call have at most so many pixels, or are one: 0.8 GB of the GPU's memory."""
ALIGNED = 256
"""Where a photograph may begin in the GPU's memory."""
SETS = 2
"""Decoded photographs of a lane's last calls: the next ones are decoded while these are being resized."""
PROBE = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDABALDA4MChAODQ4SERATGCgaGBYWGDEjJR0oOjM9PDkzODdASFxOQERXRTc4UG1RV19iZ2hnPk1xeX"
    "BkeFxlZ2P/wAALCAAIAAgBAREA/8QAFAABAAAAAAAAAAAAAAAAAAAAAP/EABQQAQAAAAAAAAAAAAAAAAAAAAD/2gAIAQEAAD8AP//Z"
)
"""A grey photograph of 8 × 8 pixels, to see whether the GPU has a decoder."""


class Prepared(tuple[Segment, ...]):
    """Segments whose headers were looked at already, so that the thread that decodes need not.

    Attributes
    ----------
    addresses, nbytes : shape (images,)
        The encoded images in host memory.
    rows : shape (images, 4)
        Of each: height, width, how it is turned, and its place in the batch.
    """

    addresses: NDArray[np.uint64]
    nbytes: NDArray[np.uint64]
    rows: NDArray[np.int64]


class NvJpegDecoder:
    """Decodes what reader ``nvjpeg`` delivers; several threads may call :meth:`fill`, each has a lane for that time.

    What nvJPEG refuses once is decoded in software from then on.

    Parameters
    ----------
    device, gpu
        Whose decoder, and its number as CUDA counts.
    decoding
        What to make of the files, and how many lanes there are.

    Raises
    ------
    DeviceError
        If nvJPEG or NVRTC is not there or does not work.
    """

    def __init__(self, device: "CudaDevice", decoding: Decoding) -> None:
        self._decoding = decoding
        self._lanes: SimpleQueue[_Lane] = SimpleQueue()
        self._own = []
        self._refused: set[int] = set()
        with device.pushed("opening the JPEG decoder"), ExitStack() as stack:
            self._kernel = compiled(device.compute_capability)
            stack.callback(self._kernel.close)
            self._backend, backend, self._headers = _backend(device)
            stack.enter_context(self._headers)
            for _ in range(decoding.lanes):
                own = _Lane(device, stack.enter_context(BatchDecoder(backend)), self._kernel, decoding, self._refused)
                self._own.append(own)
                self._lanes.put(own)
            self._open = stack.pop_all()

    @property
    def facts(self) -> dict[str, Json]:
        """What decoded: ``hardware``, or ``cuda`` where the GPU has none; images, and files that it refused."""
        decoded = sum(lane.decoded for lane in self._own)
        return {"backend": self._backend, "lanes": len(self._own), "decoded": decoded, "refused": len(self._refused)}

    def prepare(self, segments: Sequence[Segment]) -> Prepared:
        """Look at the headers of encoded images; reader threads do so, side by side.

        Raises
        ------
        ReadError
            If a file can be decoded neither by nvJPEG nor in software.
        """
        found = []
        rows = []
        for place, segment in enumerate(segments):
            encoded = segment.kind == "jpeg" and segment.file not in self._refused
            dimensions = self._headers.dimensions(segment.address, segment.nbytes) if encoded else None
            if dimensions:
                rows.append((*dimensions, segment.turned, place))
            elif segment.kind == "jpeg":
                segment = self._in_software(segment)
            found.append(segment)
        prepared = Prepared(found)
        prepared.rows = np.array(rows, np.int64).reshape(-1, 4)
        own = [found[row[3]] for row in rows]
        prepared.addresses = np.array([segment.address for segment in own], np.uint64)
        prepared.nbytes = np.array([segment.nbytes for segment in own], np.uint64)
        return prepared

    def _in_software(self, segment: Segment) -> Segment:
        """Decode an image in the place where it lies encoded: the reader left room for it."""
        self._refused.add(segment.file)
        pixels = self._decoding.software(segment).ravel()
        bytes_at(segment.address, pixels.nbytes)[:] = pixels
        return segment._replace(kind="ring", nbytes=pixels.nbytes, turned=0)

    def fill(self, segments: Sequence[Segment], slot: Slot) -> CudaSpan:
        """Decode the encoded images to their places in the slot, and copy those that are pixels already.

        Returns once the decoder has read its input; the resizing goes on in the background.

        Raises
        ------
        DeviceError
            If they do not fit, or the GPU fails.
        ReadError
            If a file can be decoded neither by nvJPEG nor in software.
        """
        lane = self._lanes.get()
        try:
            return lane.fill(segments if isinstance(segments, Prepared) else self.prepare(segments), slot)
        finally:
            self._lanes.put(lane)

    def close(self) -> None:
        """Free what the lanes hold, when all work has finished; the GPU's context must be pushed."""
        for lane in self._own:
            lane.close()
        self._open.close()


class _Photographs:
    """A lane's decoded photographs: memory that is used again and again, and only grows."""

    def __init__(self, device: "CudaDevice") -> None:
        self._device = device
        self._memory: CudaSlot | None = None
        self.resized: CudaSpan | None = None

    def places(self, pixels: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Return where each begins, once those that lay there were resized."""
        if self.resized is not None:
            self.resized.wait()
            self.resized = None
        ends = np.cumsum(-(pixels * -3 // ALIGNED) * ALIGNED)
        if self._memory is None or self._memory.nbytes < ends[-1]:
            self.close()
            self._memory = self._device.slot(int(ends[-1]))
        begins = np.concatenate([[0], ends[:-1]])
        return np.asarray(self._memory.address + begins, np.uint64)

    def close(self) -> None:
        """Free the memory."""
        if self._memory is not None:
            self._memory.close()
            self._memory = None


class _Lane:
    """A decoder with a stream and memory of its own."""

    def __init__(
        self,
        device: "CudaDevice",
        decoder: BatchDecoder,
        kernel: ResizeKernel,
        decoding: Decoding,
        refused: set[int],
    ) -> None:
        self._device = device
        self._decoder = decoder
        self._kernel: ResizeKernel | None = kernel
        self._decoding = decoding
        self._refused = refused
        self._nbytes = 3 * decoding.size * decoding.size
        self._stream = device.new_stream()
        self._sets = [_Photographs(device) for _ in range(SETS)]
        self._table: Slot | None = None
        self.decoded = 0

    def fill(self, prepared: Prepared, slot: Slot) -> CudaSpan:
        if len(prepared) * self._nbytes > slot.nbytes:
            message = f"{len(prepared)} images of {self._nbytes} bytes do not fit a slot of {slot.nbytes}: enlarge it"
            raise DeviceError(message)
        pixels = prepared.rows[:, 0] * prepared.rows[:, 1]
        with self._device.span(self._stream) as span:
            for part in _parts(pixels.tolist()) if len(pixels) else ():
                self._decode(prepared, part, pixels[part], slot)
            if len(pixels) < len(prepared):
                self._copy_pixels(prepared, slot)
        return span

    def _copy_pixels(self, prepared: Prepared, slot: Slot) -> None:
        for place, segment in enumerate(prepared):
            if segment.kind != "jpeg":
                self._copy(slot.address + place * self._nbytes, segment.address, segment.nbytes)

    def _copy(self, target: int, source: int, nbytes: int) -> None:
        doing = "queueing a copy to the GPU"
        checked(bindings.cuMemcpyHtoDAsync(target, source, nbytes, self._stream.handle), doing)

    def _decode(self, prepared: Prepared, part: slice, pixels: NDArray[np.int64], slot: Slot) -> None:
        """Decode some of the images into the older set, and queue their resizing."""
        photographs = self._sets.pop(0)
        self._sets.append(photographs)
        places, rows = photographs.places(pixels), prepared.rows[part]
        batch = Encoded(prepared.addresses[part], prepared.nbytes[part], places, rows[:, 1].astype(np.uint64))
        there = np.full(len(rows), self._decoder.decode(batch, self._stream.handle))
        if not there.all():  # which of them it refuses, it does not say
            there = np.array([self._decoder.decode(image, self._stream.handle) for image in batch.each()])
        self.decoded += int(there.sum())
        table = photographs_table(places[there].astype(np.int64), rows[there], crop=self._decoding.crop)
        if len(table):
            photographs.resized = self._resize(table, slot)
        for place in rows[~there, 3]:
            self._decode_in_software(prepared[place], slot.address + int(place) * self._nbytes)

    def _decode_in_software(self, segment: Segment, target: int) -> None:
        self._refused.add(segment.file)
        pixels = self._decoding.software(segment)
        self._copy(target, pixels.ctypes.data, pixels.nbytes)
        self._stream.synchronize()  # the pixels must outlive the copy

    def _resize(self, table: NDArray[np.int64], slot: Slot) -> CudaSpan:
        size = self._decoding.size
        if self._table is None or self._table.nbytes < table.nbytes:
            self._table = self._device.slot(table.nbytes)
        assert self._kernel is not None
        with self._device.span(self._stream) as span:
            self._copy(self._table.address, table.ctypes.data, table.nbytes)
            self._kernel(self._stream.handle, len(table), self._table.address, slot.address, size)
        return span

    def close(self) -> None:
        """Free the photographs, and let go of the stream; the count stays."""
        for photographs in self._sets:
            photographs.close()
        self._stream = self._kernel = None


def _parts(pixels: Sequence[int]) -> Iterator[slice]:
    """Yield consecutive parts of at most :data:`MOST_PIXELS`, or of one photograph."""
    first = total = 0
    for index, own in enumerate(pixels):
        if index > first and total + own > MOST_PIXELS:
            yield slice(first, index)
            first, total = index, 0
        total += own
    yield slice(first, len(pixels))


def _backend(device: "CudaDevice") -> tuple[str, int, BatchDecoder]:
    """Return what decodes, the decoder in hardware or else the GPU's cores, and one such decoder."""
    probe = np.frombuffer(PROBE, np.uint8)
    values = probe.ctypes.data, probe.nbytes, device.slot(3 * 8 * 8).address, 8
    batch = Encoded(*(np.array([value], np.uint64) for value in values))
    why = "it decoded nothing"
    for name, backend in {"hardware": HARDWARE, "cuda": CUDA}.items():
        try:
            with ExitStack() as stack:
                decoder = stack.enter_context(BatchDecoder(backend))
                if decoder.decode(batch, device.compute.handle):
                    device.synchronize()
                    stack.pop_all()
                    return name, backend, decoder
        except DeviceError as error:
            why = str(error)
    message = f"{device.name} decodes no JPEG: {why}; use reader jpeg, or nvidia-nvjpeg in the version of the driver"
    raise DeviceError(message)
