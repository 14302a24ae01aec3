"""JPEG files in host memory to images in a slot: the GPU's own decoder, then one small kernel that resizes."""

import base64
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np
from cuda.bindings import driver as bindings
from numpy.typing import NDArray

from inferkit.batch import COLUMNS_REVERSED, ROWS_REVERSED, TRANSPOSED, Segment
from inferkit.devices import why_no_decoder
from inferkit.devices.base import Decoding, Slot, bytes_at
from inferkit.devices.pinned import checked
from inferkit.devices.spans import CudaSpan
from inferkit.errors import DeviceError
from inferkit.records.figures import Json

if TYPE_CHECKING:
    from inferkit.devices.cuda import CudaDevice

KERNEL = Path(__file__).with_name("resize.cu")
THREADS = 256
MOST_PIXELS = 2**28
"""Photographs that are decoded in one call have at most so many pixels, or are one: 0.8 GB of the GPU's memory."""
SETS = 2
"""Decoded photographs of a lane's last calls: the next ones are decoded while these are being resized."""
PROBE = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDABALDA4MChAODQ4SERATGCgaGBYWGDEjJR0oOjM9PDkzODdASFxOQERXRTc4UG1RV19iZ2hnPk1xeX"
    "BkeFxlZ2P/wAALCAAIAAgBAREA/8QAFAABAAAAAAAAAAAAAAAAAAAAAP/EABQQAQAAAAAAAAAAAAAAAAAAAAD/2gAIAQEAAD8AP//Z"
)
"""A grey photograph of 8 × 8 pixels, to see whether the GPU has a decoder."""


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
        library = _library()
        self._lanes: SimpleQueue[_Lane] = SimpleQueue()
        self._own = []
        with device.pushed("opening the JPEG decoder"):
            self._kernel = kernel = _kernel(device.compute_capability)
            self._backend, backends = _backends(library, gpu)
            for _ in range(decoding.lanes):
                self._own.append(_Lane(device, library, library.Decoder(gpu, 1, backends), kernel, decoding))
                self._lanes.put(self._own[-1])

    @property
    def facts(self) -> dict[str, Json]:
        """What decoded: ``hardware``, or ``cuda`` where the GPU has no decoder; images that it took and refused."""
        counts = {name: sum(getattr(lane, name) for lane in self._own) for name in ("decoded", "refused")}
        return {"backend": self._backend, "lanes": len(self._own), **counts}

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
            return lane.fill(segments, slot)
        finally:
            self._lanes.put(lane)

    def close(self) -> None:
        """Free what the lanes hold, when all work has finished; the GPU's context must be pushed."""
        for lane in self._own:
            lane.close()
        self._kernel.close()


class _Lane:
    """A decoder with a stream and memory of its own."""

    def __init__(self, device: "CudaDevice", library: Any, decoder: Any, kernel: Any, decoding: Decoding) -> None:
        self._device = device
        self._library = library
        self._decoder = decoder
        self._kernel = kernel
        self._decoding = decoding
        self._params = _params(library)
        self._stream = device.new_stream()
        self._sets: list[list[Any]] = [[] for _ in range(SETS)]
        self._used: list[CudaSpan | None] = [None] * SETS
        self._table: Slot | None = None
        self._next = 0
        self.decoded = self.refused = 0

    def fill(self, segments: Sequence[Segment], slot: Slot) -> CudaSpan:
        size = self._decoding.size
        nbytes, images = 3 * size * size, sum(segment.images for segment in segments)
        if images * nbytes > slot.nbytes:
            message = f"{images} images of {nbytes} bytes do not fit a slot of {slot.nbytes}: take larger slots"
            raise DeviceError(message)
        with self._device.span(self._stream) as span:
            self._decode([own for own in enumerate(segments) if own[1].kind == "jpeg"], slot)
            for place, segment in enumerate(segments):
                if segment.kind != "jpeg":
                    self._copy(slot.address + place * nbytes, segment.address, segment.nbytes)
        return span

    def close(self) -> None:
        """Let go of the decoder, its images and the stream; the counts stay."""
        self._sets, self._used = [], []
        self._decoder = self._stream = self._kernel = None

    def _copy(self, target: int, source: int, nbytes: int) -> None:
        doing = "queueing a copy to the GPU"
        checked(bindings.cuMemcpyHtoDAsync(target, source, nbytes, self._stream.handle), doing)

    def _decode(self, encoded: list[tuple[int, Segment]], slot: Slot) -> None:
        if not encoded:
            return
        base = min(segment.address for _, segment in encoded)
        memory = bytes_at(base, max(segment.address + segment.nbytes for _, segment in encoded) - base)
        views = [memory[own.address - base : own.address - base + own.nbytes] for _, own in encoded]
        streams = [self._library.CodeStream(view) for view in views]
        for first, last in _parts([stream.height * stream.width for stream in streams]):
            images = self._images(streams[first:last])
            self._resize(images, encoded[first:last], slot)

    def _images(self, streams: list[Any]) -> list[Any]:
        """Decode into the older set of images; returns None in place of each that was refused."""
        turn = self._next
        self._next = (turn + 1) % SETS
        span, self._used[turn] = self._used[turn], None
        if span is not None:
            span.wait()
        known = self._sets[turn]
        reused = known[: len(streams)] if len(known) >= len(streams) else None
        with _told():
            found: list[Any] = self._decoder.decode(
                streams, images=reused, params=self._params, cuda_stream=self._stream.handle
            )
        if reused is None:
            self._sets[turn] = [image for image in found if image is not None]
        return found

    def _resize(self, images: list[Any], encoded: list[tuple[int, Segment]], slot: Slot) -> None:
        size = self._decoding.size
        rows = [
            (image.__cuda_array_interface__["data"][0], image.width, image.height, segment.turned, place)
            for image, (place, segment) in zip(images, encoded, strict=True)
            if image is not None
        ]
        self.decoded += len(rows)
        if rows:
            table = photographs(np.array(rows, np.int64), crop=self._decoding.crop)
            self._launch(table, slot)
        for image, (place, segment) in zip(images, encoded, strict=True):
            if image is None:
                self.refused += 1
                pixels = self._decoding.software(segment)
                self._copy(slot.address + place * 3 * size * size, pixels.ctypes.data, pixels.nbytes)
                self._stream.synchronize()  # the pixels must outlive the copy

    def _launch(self, table: NDArray[np.int64], slot: Slot) -> None:
        size = self._decoding.size
        if self._table is None or self._table.nbytes < table.nbytes:
            self._table = self._device.slot(table.nbytes)
        with self._device.span(self._stream) as span:
            self._copy(self._table.address, table.ctypes.data, table.nbytes)
            blocks = (-(-size * size // THREADS), len(table), 1)
            self._kernel(self._stream.handle, blocks, self._table.address, slot.address, size)
        self._used[(self._next - 1) % SETS] = span


def photographs(rows: NDArray[np.int64], *, crop: bool) -> NDArray[np.int64]:
    """Return the kernel's table: which part of each photograph is used, how it is turned, and its place.

    Parameters
    ----------
    rows : shape (images, 5)
        Address, width, height, how it is turned (see :class:`inferkit.batch.Segment`) and place of each.
    crop
        Use the largest square at the centre of the upright photograph; else the whole.

    Returns
    -------
    ndarray, shape (images, 8)
        As ``struct Photograph`` in resize.cu.
    """
    address, width, height, turned, place = rows.T
    top = left = np.zeros_like(width)
    used = (height, width)
    if crop:
        side = np.minimum(height, width)
        transposed = (turned & TRANSPOSED) > 0
        backwards = [(turned & bit) > 0 for bit in (ROWS_REVERSED, COLUMNS_REVERSED)]
        down, across = np.where(transposed, backwards[::-1], backwards)
        top, left = (height - side + down) // 2, (width - side + across) // 2
        used = (side, side)
    return np.ascontiguousarray(np.stack([address, width, top, left, *used, turned, place], axis=1))


def _parts(pixels: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield consecutive parts, first to last, of at most :data:`MOST_PIXELS` or of one photograph."""
    first = total = 0
    for index, own in enumerate(pixels):
        if index > first and total + own > MOST_PIXELS:
            yield first, index
            first, total = index, 0
        total += own
    yield first, len(pixels)


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
        message = f"nvImageCodec: {error}; its version must suit the driver's CUDA (nvidia-nvimgcodec-cu12, -cu13)"
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


class _Kernel:
    """The compiled kernel; call it with a stream, the grid, and its arguments."""

    def __init__(self, program: bytes) -> None:
        doing = "loading the kernel that resizes"
        self._module = checked(bindings.cuModuleLoadData(program), doing)
        self._function = checked(bindings.cuModuleGetFunction(self._module, b"resize"), doing)

    def close(self) -> None:
        """Unload it."""
        checked(bindings.cuModuleUnload(self._module), "unloading the kernel that resizes")

    def __call__(self, stream: int, blocks: tuple[int, int, int], table: int, batch: int, size: int) -> None:
        import ctypes

        arguments = ((table, batch, size), (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int))
        launched = bindings.cuLaunchKernel(self._function, *blocks, THREADS, 1, 1, 0, stream, arguments, 0)
        checked(launched, "resizing photographs")


def _kernel(compute_capability: str) -> _Kernel:
    """Compile the kernel for a GPU.

    Raises
    ------
    DeviceError
        If NVRTC is not there, or knows no such GPU.
    """
    from cuda.bindings import nvrtc

    doing = f"compiling {KERNEL.name} with NVRTC (pip install nvidia-cuda-nvrtc, in the version of the driver's CUDA)"
    try:
        program = checked(nvrtc.nvrtcCreateProgram(KERNEL.read_bytes(), KERNEL.name.encode(), 0, [], []), doing)
    except RuntimeError as error:  # the library cannot be loaded
        message = f"{error}: {doing}"
        raise DeviceError(message) from error
    # Without fused operations: OpenCV's weights are rounded after each.
    options = [f"--gpu-architecture=compute_{compute_capability.replace('.', '')}".encode(), b"--fmad=false"]
    checked(nvrtc.nvrtcCompileProgram(program, len(options), options), doing)
    compiled = b" " * checked(nvrtc.nvrtcGetPTXSize(program), doing)
    checked(nvrtc.nvrtcGetPTX(program, compiled), doing)
    checked(nvrtc.nvrtcDestroyProgram(program), doing)
    return _Kernel(compiled)
