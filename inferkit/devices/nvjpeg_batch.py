"""Batches of JPEG files through nvJPEG's C interface: as much of it as that takes (nvjpeg.h of CUDA 12 and 13)."""

import ctypes
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from inferkit.closing import Closing
from inferkit.errors import DeviceError

HARDWARE, CUDA = 3, 2
"""Backends: the decoder in hardware, and the GPU's cores (NVJPEG_BACKEND_HARDWARE, NVJPEG_BACKEND_GPU_HYBRID)."""
RGB = 5
"""Interleaved red, green, blue (NVJPEG_OUTPUT_RGBI)."""
INTERPOLATED = 32
"""Colours are spread as libjpeg does by default (NVJPEG_FLAGS_UPSAMPLING_WITH_INTERPOLATION)."""
STATUSES = (
    *("SUCCESS", "NOT_INITIALIZED", "INVALID_PARAMETER", "BAD_JPEG", "JPEG_NOT_SUPPORTED", "ALLOCATOR_FAILURE"),
    *("EXECUTION_FAILED", "ARCH_MISMATCH", "INTERNAL_ERROR", "IMPLEMENTATION_NOT_SUPPORTED", "INCOMPLETE_BITSTREAM"),
)
REFUSED = {2, 3, 4, 6, 9, 10}
"""Statuses of a batch of which one image or more cannot be decoded; the library does not say which."""
PLANES = 4
_IMAGE = np.dtype([("channel", np.uint64, PLANES), ("pitch", np.uint64, PLANES)])  # nvjpegImage_t
_FOUR = ctypes.c_int * PLANES


class Encoded(NamedTuple):
    """A batch of encoded images, each array of shape (images,).

    Parameters
    ----------
    addresses, nbytes
        Where they lie in host memory.
    targets, widths
        Where on the GPU each one's rows begin, and how many pixels a row has: rows follow without gaps.
    """

    addresses: NDArray[np.uint64]
    nbytes: NDArray[np.uint64]
    targets: NDArray[np.uint64]
    widths: NDArray[np.uint64]

    def each(self) -> Iterator["Encoded"]:
        """Yield every image as a batch of its own."""
        for index in range(len(self.addresses)):
            yield Encoded(*(array[index : index + 1] for array in self))


class BatchDecoder(Closing):
    """One decoder with its state; one thread at a time may use it. The GPU's context must be current.

    Parameters
    ----------
    backend
        :data:`HARDWARE` or :data:`CUDA`.

    Raises
    ------
    DeviceError
        If nvJPEG is not installed, or this GPU has no such backend.
    """

    def __init__(self, backend: int) -> None:
        self._library = _library()
        self._handle, self._state = ctypes.c_void_p(), ctypes.c_void_p()
        self._images = 0
        self._call("nvjpegCreateEx", backend, None, None, INTERPOLATED, ctypes.byref(self._handle))
        self._call("nvjpegJpegStateCreate", self._handle, ctypes.byref(self._state))

    def dimensions(self, address: int, nbytes: int) -> tuple[int, int] | None:
        """Return height and width by an encoded image's header; None if the library knows no such image."""
        components, subsampling, widths, heights = ctypes.c_int(), ctypes.c_int(), _FOUR(), _FOUR()
        status = self._library.nvjpegGetImageInfo(
            *(self._handle, ctypes.c_void_p(address), ctypes.c_size_t(nbytes)),
            *(ctypes.byref(components), ctypes.byref(subsampling), widths, heights),
        )
        return None if status else (heights[0], widths[0])

    def decode(self, batch: Encoded, stream: int) -> bool:
        """Decode on a stream; what is read must stay there until the stream's work is done.

        Returns
        -------
        bool
            False if one of them or more could not be decoded: then none may be used.

        Raises
        ------
        DeviceError
            If the library fails.
        """
        images = np.zeros(len(batch.addresses), _IMAGE)
        images["channel"][:, 0], images["pitch"][:, 0] = batch.targets, batch.widths * np.uint64(3)
        if self._images != len(images):
            self._call("nvjpegDecodeBatchedInitialize", self._handle, self._state, len(images), 1, RGB)
            self._images = len(images)
        pointers = (ctypes.c_void_p(array.ctypes.data) for array in (batch.addresses, batch.nbytes, images))
        status = self._library.nvjpegDecodeBatched(self._handle, self._state, *pointers, ctypes.c_void_p(stream))
        if status:
            self._images = 0  # initializing resets what failed
        if status not in REFUSED:
            _check(status, "nvjpegDecodeBatched")
        return not status

    def _call(self, name: str, *arguments: Any) -> None:
        _check(getattr(self._library, name)(*arguments), name)

    def close(self) -> None:
        """Free what the library holds, when its work is done."""
        if self._state:
            self._call("nvjpegJpegStateDestroy", self._state)
        if self._handle:
            self._call("nvjpegDestroy", self._handle)
        self._handle, self._state = ctypes.c_void_p(), ctypes.c_void_p()


def _check(status: int, doing: str) -> None:
    if status:
        name = STATUSES[status] if status < len(STATUSES) else str(status)
        message = f"nvJPEG: {name} in {doing}; its version must suit the driver's CUDA (nvidia-nvjpeg, -cu12)"
        raise DeviceError(message)


@cache
def _library() -> Any:
    from cuda.pathfinder import DynamicLibNotFoundError, load_nvidia_dynamic_lib

    try:
        return ctypes.CDLL(load_nvidia_dynamic_lib("nvjpeg").abs_path)
    except (DynamicLibNotFoundError, OSError) as error:
        message = (
            f"nvJPEG cannot be loaded ({error}): pip install 'inferkit[nvjpeg]', in the version of the driver's CUDA"
        )
        raise DeviceError(message) from error
