"""JPEG files in host memory to images in a slot: the GPU's own decoder, then one small kernel that resizes."""

import base64
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np
from cuda.bindings import driver as bindings
from numpy.typing import NDArray

from inferkit.batch import Segment
from inferkit.devices import why_no_decoder
from inferkit.devices.base import Decoding, Slot, bytes_at
from inferkit.devices.cuda_errors import checked
from inferkit.devices.resize import ResizeKernel, compiled, photographs
from inferkit.devices.spans import CudaSpan
from inferkit.errors import DeviceError
from inferkit.records.figures import Json

if TYPE_CHECKING:
    from inferkit.devices.cuda import CudaDevice

MOST_PIXELS = 2**28
"""Photographs that are decoded in one call have at most so many pixels, or are one: 0.8 GB of the GPU's memory."""
SETS = 2
"""Decoded photographs of a lane's last calls: the next ones are decoded while these are being resized."""
_WHAT_TO_DO = (
    "lower batch_sizes or threads if memory is short; its version must suit the driver's CUDA "
    "(nvidia-nvimgcodec-cu12, -cu13); dmesg | grep -i xid tells of a GPU that failed"
)
PROBE = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDABALDA4MChAODQ4SERATGCgaGBYWGDEjJR0oOjM9PDkzODdASFxOQERXRTc4UG1RV19iZ2hnPk1xeX"
    "BkeFxlZ2P/wAALCAAIAAgBAREA/8QAFAABAAAAAAAAAAAAAAAAAAAAAP/EABQQAQAAAAAAAAAAAAAAAAAAAAD/2gAIAQEAAD8AP//Z"
)
"""A grey photograph of 8 × 8 pixels, to see whether the GPU has a decoder."""


class Prepared(tuple[Segment, ...]):
    """Segments whose encoded images the decoder knows already, so that the thread that decodes need not look at them.

    Attributes
    ----------
    streams
        The encoded images, as nvImageCodec's objects.
    rows : shape (images, 4)
        Of each: height, width, how it is turned, and its place in the batch.
    """

    streams: list[Any]
    rows: NDArray[np.int64]


class NvJpegDecoder:
    """Decodes what reader ``nvjpeg`` delivers; several threads may call :meth:`fill`, each has a lane for that time.

    Parameters
    ----------
    device, gpu
        Whose decoder, and its number as CUDA counts.
    decoding
        What to make of the files, and how many lanes there are.

    Raises
    ------
    DeviceError
        If nvImageCodec or NVRTC is not there or does not work.
    """

    def __init__(self, device: "CudaDevice", gpu: int, decoding: Decoding) -> None:
        self._library = library = _library()
        self._lanes: SimpleQueue[_Lane] = SimpleQueue()
        self._own = []
        with device.pushed("opening the JPEG decoder"):
            self._kernel = compiled(device.compute_capability)
            self._backend, backends = _backends(library, gpu)
            for _ in range(decoding.lanes):
                with _told():
                    decoder = library.Decoder(gpu, 1, backends)
                self._own.append(_Lane(device, decoder, _params(library), self._kernel, decoding))
                self._lanes.put(self._own[-1])

    @property
    def facts(self) -> dict[str, Json]:
        """What decoded: ``hardware``, or ``cuda`` where the GPU has no decoder; images that it took and refused."""
        counts = {name: sum(getattr(lane, name) for lane in self._own) for name in ("decoded", "refused")}
        return {"backend": self._backend, "lanes": len(self._own), **counts}

    def prepare(self, segments: Sequence[Segment]) -> Prepared:
        """Look at the headers of encoded images; reader threads do so, side by side.

        Raises
        ------
        DeviceError
            If nvImageCodec refuses one.
        """
        prepared = Prepared(segments)
        encoded = [own for own in enumerate(segments) if own[1].kind == "jpeg"]
        base = min((segment.address for _, segment in encoded), default=0)
        end = max((segment.address + segment.nbytes for _, segment in encoded), default=0)
        memory = bytes_at(base, end - base)
        with _told():
            prepared.streams = [
                self._library.CodeStream(memory[own.address - base : own.address - base + own.nbytes])
                for _, own in encoded
            ]
        rows = [
            (stream.height, stream.width, segment.turned, place)
            for stream, (place, segment) in zip(prepared.streams, encoded, strict=True)
        ]
        prepared.rows = np.array(rows, np.int64).reshape(-1, 4)
        return prepared

    def fill(self, segments: Sequence[Segment], slot: Slot) -> CudaSpan:
        """Decode the encoded images to their places in the slot, and copy those that are pixels already.

        Returns once the decoder has read its input; the resizing goes on in the background.

        Raises
        ------
        DeviceError
            If they do not fit, or the GPU fails.
        ReadError
            If a file can be decoded neither by it nor in software.
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
        self._kernel.close()


class _Images:
    """A lane's decoded photographs, used again and again; their memory only grows."""

    def __init__(self) -> None:
        self.own: list[Any] = []
        self._nbytes = np.empty(0, np.int64)
        self._addresses = np.empty(0, np.int64)
        self.span: CudaSpan | None = None

    def addresses(self, images: list[Any], pixels: NDArray[np.int64], *, reused: bool) -> NDArray[np.int64]:
        """Return where the images lie; they are asked only where more room was needed than ever, which takes time."""
        if not reused:
            self._nbytes, self._addresses = np.zeros((2, len(images)), np.int64)
        for index in np.flatnonzero(pixels * 3 > self._nbytes[: len(images)]):
            if images[index] is not None:
                self._addresses[index] = images[index].__cuda_array_interface__["data"][0]
                self._nbytes[index] = pixels[index] * 3
        return self._addresses[: len(images)]


class _Lane:
    """A decoder with a stream and memory of its own."""

    def __init__(
        self, device: "CudaDevice", decoder: Any, params: Any, kernel: ResizeKernel, decoding: Decoding
    ) -> None:
        self._device = device
        self._decoder = decoder
        self._params = params
        self._kernel: ResizeKernel | None = kernel
        self._decoding = decoding
        self._nbytes = 3 * decoding.size * decoding.size
        self._stream = device.new_stream()
        self._sets = [_Images() for _ in range(SETS)]
        self._table: Slot | None = None
        self.decoded = self.refused = 0

    def fill(self, prepared: Prepared, slot: Slot) -> CudaSpan:
        if len(prepared) * self._nbytes > slot.nbytes:
            message = f"{len(prepared)} images of {self._nbytes} bytes do not fit a slot of {slot.nbytes}: enlarge it"
            raise DeviceError(message)
        pixels = prepared.rows[:, 0] * prepared.rows[:, 1]
        with self._device.span(self._stream) as span:
            for part in _parts(pixels.tolist()) if prepared.streams else ():
                self._decode(prepared, part, pixels[part], slot)
            if len(prepared.streams) < len(prepared):
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
        images = self._sets.pop(0)
        self._sets.append(images)
        if images.span is not None:
            images.span.wait()
        streams, rows = prepared.streams[part], prepared.rows[part]
        reused = images.own[: len(streams)] if len(images.own) >= len(streams) else None
        with _told():
            found: list[Any] = self._decoder.decode(
                streams, images=reused, params=self._params, cuda_stream=self._stream.handle
            )
            addresses = images.addresses(found, pixels, reused=reused is not None)
        there = np.array([image is not None for image in found])
        if reused is None and there.all():
            images.own = found
        self.decoded += int(there.sum())
        table = photographs(addresses[there], rows[there], crop=self._decoding.crop)
        if len(table):
            images.span = self._resize(table, slot)
        for place in rows[~there, 3]:
            self._decode_in_software(prepared[place], slot.address + int(place) * self._nbytes)

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
        """Let go of the decoder, its images and the stream; the counts stay."""
        self._sets = []
        self._decoder = self._stream = self._kernel = None


def _parts(pixels: Sequence[int]) -> Iterator[slice]:
    """Yield consecutive parts of at most :data:`MOST_PIXELS`, or of one photograph."""
    first = total = 0
    for index, own in enumerate(pixels):
        if index > first and total + own > MOST_PIXELS:
            yield slice(first, index)
            first, total = index, 0
        total += own
    yield slice(first, len(pixels))


def _library() -> Any:
    """Import nvImageCodec, which otherwise prints a warning for every codec that is not installed.

    Raises
    ------
    DeviceError
        If it is not installed.
    """
    if why := why_no_decoder("cuda", assumed=False):
        raise DeviceError(why)
    os.environ.setdefault("PYNVIMGCODEC_VERBOSITY", "0")
    with _told():
        from nvidia import nvimgcodec
    return nvimgcodec


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (ImportError, RuntimeError, ValueError) as error:
        message = f"nvImageCodec: {error}: {_WHAT_TO_DO}"
        raise DeviceError(message) from error


def _params(library: Any) -> Any:
    return library.DecodeParams(apply_exif_orientation=False, color_spec=library.ColorSpec.SRGB)


def _backends(library: Any, gpu: int) -> tuple[str, list[Any]]:
    """Return what decodes: the decoder in hardware, or else the GPU's cores with the CPU's help."""
    kinds = library.BackendKind
    choices = {"hardware": [kinds.HW_GPU_ONLY], "cuda": [kinds.GPU_ONLY, kinds.HYBRID_CPU_GPU]}
    for name, own in choices.items():
        backends = [library.Backend(kind) for kind in own]
        with _told():
            found = library.Decoder(gpu, 1, backends).decode(library.CodeStream(PROBE), params=_params(library))
        if found is not None:
            return name, backends
    message = "this GPU decodes no JPEG: use reader jpeg, or look at the versions of nvidia-nvjpeg and the driver"
    raise DeviceError(message)
