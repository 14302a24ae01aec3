"""Batches of JPEG files through nvJPEG's C interface: as much of it as that takes (nvjpeg.h of CUDA 12 and 13)."""

import ctypes
import threading
from contextlib import ExitStack
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
FULL_COLOURS = 0
"""As many values of each colour as of brightness (NVJPEG_CSS_444)."""
INTERPOLATED = 32
"""Colours are spread as libjpeg does by default (NVJPEG_FLAGS_UPSAMPLING_WITH_INTERPOLATION)."""
STATUSES = (
    *("SUCCESS", "NOT_INITIALIZED", "INVALID_PARAMETER", "BAD_JPEG", "JPEG_NOT_SUPPORTED", "ALLOCATOR_FAILURE"),
    *("EXECUTION_FAILED", "ARCH_MISMATCH", "INTERNAL_ERROR", "IMPLEMENTATION_NOT_SUPPORTED", "INCOMPLETE_BITSTREAM"),
)
REFUSED = {2, 3, 4, 9, 10}
"""Statuses of what cannot be decoded: of a batch the library does not say which image it is."""
FAILED = {5, 6}
"""Statuses of a GPU that fails; any other of opening a backend says that there is none."""
PLANES = 4
_IMAGE = np.dtype([("channel", np.uint64, PLANES), ("pitch", np.uint64, PLANES)])  # nvjpegImage_t


class NoBackendError(DeviceError):
    """The GPU, or its driver here, has no such decoder."""


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


class Library(Closing):
    """nvJPEG with one backend, on the GPU whose context is current; threads share it.

    Parameters
    ----------
    backend
        :data:`HARDWARE` or :data:`CUDA`.

    Raises
    ------
    DeviceError
        If nvJPEG is not installed, or fails.
    NoBackendError
        If this GPU has no such backend.
    """

    def __init__(self, backend: int) -> None:
        self._functions = functions()
        self._looking = threading.Lock()
        self.handle, self._headers = ctypes.c_void_p(), ctypes.c_void_p()
        with ExitStack() as undo:
            self._create(backend)
            undo.callback(self.call, "nvjpegDestroy", self.handle)
            self.call("nvjpegJpegStreamCreate", self.handle, ctypes.byref(self._headers))
            undo.callback(self.call, "nvjpegJpegStreamDestroy", self._headers)
            self._open = undo.pop_all()

    def _create(self, backend: int) -> None:
        name = "nvjpegCreateEx"
        status = self._functions.nvjpegCreateEx(backend, None, None, INTERPOLATED, ctypes.byref(self.handle))
        if status and status not in FAILED:
            message = f"nvJPEG: {_name(status)} in {name}"
            raise NoBackendError(message)
        _check(status, name)

    def dimensions(self, address: int, nbytes: int) -> tuple[int, int] | None:
        """Return height and width of an encoded image by its header; None if it cannot be decoded in a batch."""
        width, height, refused = ctypes.c_uint(), ctypes.c_uint(), ctypes.c_int()
        data = ctypes.c_void_p(address), ctypes.c_size_t(nbytes)
        with self._looking:
            if not self.takes("nvjpegJpegStreamParseHeader", self.handle, *data, self._headers):
                return None
            self.call("nvjpegDecodeBatchedSupported", self.handle, self._headers, ctypes.byref(refused))
            sizes = ctypes.byref(width), ctypes.byref(height)
            self.call("nvjpegJpegStreamGetFrameDimensions", self._headers, *sizes)
        return None if refused.value else (height.value, width.value)

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function of the library, without the interpreter's lock.

        Raises
        ------
        DeviceError
            If it fails.
        """
        _check(getattr(self._functions, name)(*arguments), name)

    def takes(self, name: str, *arguments: Any) -> bool:
        """Call a function that may refuse an image: then return False.

        Raises
        ------
        DeviceError
            If it fails otherwise.
        """
        status = getattr(self._functions, name)(*arguments)
        if status not in REFUSED:
            _check(status, name)
        return not status

    def close(self) -> None:
        """Free what the library holds, when its work is done."""
        self._open.close()


class BatchDecoder(Closing):
    """The state of one batch: the next is decoded with it when the work of the last has ended, and not before.

    Parameters
    ----------
    library
        What decodes; it is closed after this.
    """

    def __init__(self, library: Library) -> None:
        self._library = library
        self._state = ctypes.c_void_p()
        self._images = 0
        library.call("nvjpegJpegStateCreate", library.handle, ctypes.byref(self._state))
        with ExitStack() as undo:
            undo.callback(self.close)
            smallest = 1, 1, 1, FULL_COLOURS, RGB  # of any size it makes the state keep its memory
            library.call("nvjpegDecodeBatchedPreAllocate", library.handle, self._state, *smallest)
            undo.pop_all()

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
        library, own = self._library, (self._library.handle, self._state)
        images = np.zeros(len(batch.addresses), _IMAGE)
        images["channel"][:, 0], images["pitch"][:, 0] = batch.targets, batch.widths * np.uint64(3)
        if self._images != len(images):
            library.call("nvjpegDecodeBatchedInitialize", *own, len(images), 1, RGB)
            self._images = len(images)
        pointers = (ctypes.c_void_p(array.ctypes.data) for array in (batch.addresses, batch.nbytes, images))
        done = library.takes("nvjpegDecodeBatched", *own, *pointers, ctypes.c_void_p(stream))
        if not done:
            self._images = 0  # initializing resets what failed
        return done

    def close(self) -> None:
        """Free what it holds, when its work is done."""
        if self._state:
            self._library.call("nvjpegJpegStateDestroy", self._state)
        self._state = ctypes.c_void_p()


def _name(status: int) -> str:
    return STATUSES[status] if status < len(STATUSES) else str(status)


def _check(status: int, doing: str) -> None:
    if status:
        message = (
            f"nvJPEG: {_name(status)} in {doing}: lower batch_sizes or threads if memory is short; its version must "
            "suit the driver's CUDA (nvidia-nvjpeg, nvidia-nvjpeg-cu12); dmesg | grep -i xid tells of a GPU that failed"
        )
        raise DeviceError(message)


@cache
def functions() -> Any:
    """Load the library.

    Raises
    ------
    DeviceError
        If it is not there.
    """
    from cuda.pathfinder import DynamicLibNotFoundError, load_nvidia_dynamic_lib

    try:
        return ctypes.CDLL(load_nvidia_dynamic_lib("nvjpeg").abs_path)
    except (DynamicLibNotFoundError, OSError) as error:
        message = (
            f"nvJPEG cannot be loaded ({error}): pip install 'inferkit[nvjpeg]', in the version of the driver's CUDA"
        )
        raise DeviceError(message) from error
