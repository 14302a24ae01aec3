"""JPEG files in host memory to images in a slot: the GPU's own decoder, then one small kernel that resizes."""

import base64
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from ctypes import string_at
from queue import SimpleQueue
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from cuda.bindings import driver as bindings
from numpy.typing import NDArray

from inferkit.batch import Segment
from inferkit.devices.base import Decoding, Slot, bytes_at
from inferkit.devices.cuda_errors import checked
from inferkit.devices.nvjpeg_batch import CUDA, HARDWARE, BatchDecoder, Encoded, Library, NoBackendError
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
AHEAD = 2
"""Decoders to each batch that is decoded at a time: one is handed its images while the other's are decoded. Beside a
network the GPU takes its time."""
PROBE = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDABALDA4MChAODQ4SERATGCgaGBYWGDEjJR0oOjM9PDkzODdASFxOQERXRTc4UG1RV19iZ2hnPk1xeX"
    "BkeFxlZ2P/wAALCAAIAAgBAREA/8QAFAABAAAAAAAAAAAAAAAAAAAAAP/EABQQAQAAAAAAAAAAAAAAAAAAAAD/2gAIAQEAAD8AP//Z"
)
"""A grey photograph of 8 × 8 pixels, to see whether the GPU has a decoder."""
FRAME = 9
"""Bytes of a frame's header up to its width: the marker, its length, the bits of a value, height, width."""


class _Frame(NamedTuple):
    """What was found out of a file when it came first; where its frame's header lies in it, and what it was."""

    height: int
    width: int
    at: int
    header: bytes


REFUSED = _Frame(0, 0, 0, b"")
"""Of a file that nvJPEG does not decode in a batch."""


class Prepared(tuple[Segment, ...]):
    """Segments that were looked at already, so that the thread that decodes need not.

    Attributes
    ----------
    addresses, nbytes : shape (images,)
        The encoded images in host memory.
    rows : shape (images, 4)
        Of each: height, width, how it is turned, and its place in the batch.
    refused
        How many images were decoded in software, since nvJPEG refused them.
    """

    addresses: NDArray[np.uint64]
    nbytes: NDArray[np.uint64]
    rows: NDArray[np.int64]
    refused: int


class NvJpegDecoder:
    """Decodes what reader ``nvjpeg`` delivers; several threads may call :meth:`fill`, each has a lane for that time.

    It is the lane that was used longest ago, so that one is filled while others are decoded.

    Parameters
    ----------
    device
        Whose decoder.
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
        self._frames: list[_Frame | None] = [None] * decoding.files
        with device.pushed("opening the JPEG decoder"), ExitStack() as stack:
            self._kernel = compiled(device.compute_capability)
            stack.callback(self._kernel.close)
            self._backend, self._library = _opened(device)
            stack.enter_context(self._library)
            for _ in range(decoding.lanes * AHEAD):
                decoder = stack.enter_context(BatchDecoder(self._library))
                self._own.append(_Lane(device, decoder, self._kernel, decoding))
                self._lanes.put(self._own[-1])
            self._open = stack.pop_all()

    @property
    def facts(self) -> dict[str, Json]:
        """What decoded: ``hardware``, or ``cuda`` where the GPU has no decoder; images that it took and refused."""
        counts = {name: sum(getattr(lane, name) for lane in self._own) for name in ("decoded", "refused")}
        return {"backend": self._backend, "lanes": self._decoding.lanes, **counts}

    def prepare(self, segments: Sequence[Segment]) -> Prepared:
        """Look at the encoded images, in detail when a file comes first; reader threads do so, side by side.

        What nvJPEG refuses is decoded in software, in its place: the reader left room for it.

        Raises
        ------
        ReadError
            If a file can be decoded neither by nvJPEG nor in software.
        """
        found, rows, own = list(segments), [], []
        refused = 0
        for place, segment in enumerate(segments):
            if segment.kind != "jpeg":
                continue
            frame = self._frame(segment)
            if frame is REFUSED:
                refused += 1
                found[place] = self._in_software(segment)
            else:
                rows.append((frame.height, frame.width, segment.turned, place))
                own.append(segment)
        prepared = Prepared(found)
        prepared.rows = np.array(rows, np.int64).reshape(-1, 4)
        prepared.addresses = np.array([segment.address for segment in own], np.uint64)
        prepared.nbytes = np.array([segment.nbytes for segment in own], np.uint64)
        prepared.refused = refused
        return prepared

    def _frame(self, segment: Segment) -> _Frame:
        """Return what is known of a file; one that was replaced by an image of another size is looked at again."""
        frame = self._frames[segment.file]
        if frame is None or (frame.header and string_at(segment.address + frame.at, FRAME) != frame.header):
            frame = self._frames[segment.file] = self._looked_at(segment)
        return frame

    def _looked_at(self, segment: Segment) -> _Frame:
        dimensions = self._library.dimensions(segment.address, segment.nbytes)
        if dimensions is None:
            return REFUSED
        at = _frame_at(string_at(segment.address, segment.nbytes))
        return _Frame(*dimensions, at, string_at(segment.address + at, FRAME))

    def _in_software(self, segment: Segment) -> Segment:
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


class _Lane:
    """A decoder with a stream and memory of its own: its photographs lie where the last ones lay."""

    def __init__(self, device: "CudaDevice", decoder: BatchDecoder, kernel: ResizeKernel, decoding: Decoding) -> None:
        self._device = device
        self._decoder = decoder
        self._kernel: ResizeKernel | None = kernel
        self._decoding = decoding
        self._nbytes = 3 * decoding.size * decoding.size
        self._stream = device.new_stream()
        self._photographs: CudaSlot | None = None
        self._table: Slot | None = None
        self._spans: list[CudaSpan] = []
        self.decoded = self.refused = 0

    def fill(self, prepared: Prepared, slot: Slot) -> CudaSpan:
        if len(prepared) * self._nbytes > slot.nbytes:
            message = f"{len(prepared)} images of {self._nbytes} bytes do not fit a slot of {slot.nbytes}: enlarge it"
            raise DeviceError(message)
        pixels = prepared.rows[:, 0] * prepared.rows[:, 1]
        self.refused += prepared.refused
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
        """Decode some of the images, and queue their resizing."""
        places, rows = self._places(pixels), prepared.rows[part]
        batch = Encoded(prepared.addresses[part], prepared.nbytes[part], places, rows[:, 1].astype(np.uint64))
        with self._device.span(self._stream) as decoded:
            there = self._decoder.decode(batch, self._stream.handle)
        self._spans.append(decoded)
        if there:
            self.decoded += len(rows)
            table = photographs_table(places.astype(np.int64), rows, crop=self._decoding.crop)
            self._spans.append(self._resize(table, slot))
            return
        for place in rows[:, 3].tolist():  # which of them it refuses, it does not say
            self._decode_in_software(prepared[place], slot.address + place * self._nbytes)

    def _places(self, pixels: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Return where each photograph begins, once the last ones were decoded and resized."""
        while self._spans:
            self._spans.pop().wait()
        ends = np.cumsum(-(pixels * -3 // ALIGNED) * ALIGNED)
        if self._photographs is None or self._photographs.nbytes < ends[-1]:
            self._free()
            self._photographs = self._device.slot(int(ends[-1]))
        begins = np.concatenate([[0], ends[:-1]])
        return np.asarray(self._photographs.address + begins, np.uint64)

    def _free(self) -> None:
        if self._photographs is not None:
            self._photographs.close()
            self._photographs = None

    def _decode_in_software(self, segment: Segment, target: int) -> None:
        self.refused += 1
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
        """Free the photographs, and let go of the stream; the counts stay."""
        self._free()
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


def _frame_at(data: bytes) -> int:
    """Return where a file's frame begins: the only marker segment that tells its size (ISO/IEC 10918-1, B.2.2)."""
    at = 2
    while data[at : at + 1] == b"\xff" and data[at + 1] != 0xC0:
        at += 1 if data[at + 1] == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4])
    return min(at, len(data) - FRAME)


def _opened(device: "CudaDevice") -> tuple[str, Library]:
    """Return what decodes: the decoder in hardware, or else the GPU's cores with the CPU's help."""
    probe = np.frombuffer(PROBE, np.uint8)
    target = device.slot(3 * 8 * 8)
    batch = Encoded(*(np.array([value], np.uint64) for value in (probe.ctypes.data, probe.nbytes, target.address, 8)))
    why = "it decoded nothing"
    for name, backend in {"hardware": HARDWARE, "cuda": CUDA}.items():
        try:
            with ExitStack() as undo:
                library = undo.enter_context(Library(backend))
                with BatchDecoder(library) as decoder:
                    there = decoder.decode(batch, device.compute.handle)
                    device.compute.synchronize()
                if there:
                    undo.pop_all()
                    return name, library
        except NoBackendError as error:
            why = str(error)
    message = f"{device.name} decodes no JPEG: {why}; use reader jpeg"
    raise DeviceError(message)
