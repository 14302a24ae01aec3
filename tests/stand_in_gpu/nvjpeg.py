"""What inferkit uses of nvJPEG: photographs decoded here, into memory of the GPU that stands in.

A call of CUDA that fails is the status EXECUTION_FAILED, as there. Photographs of an odd height are refused.
"""

import ctypes
from io import BytesIO
from typing import Any

import cv2
import numpy as np
from cuda.bindings import driver as cu
from numpy.typing import NDArray
from PIL import Image

FAILED, BAD_JPEG = 6, 3
_IMAGE = np.dtype([("channel", np.uint64, 4), ("pitch", np.uint64, 4)])
Pointer = Any


class CudaError(Exception):
    """A call of CUDA failed."""


def _call(name: str, *arguments: Any) -> Any:
    error, *values = getattr(cu, name)(*arguments)
    if error:
        raise CudaError
    return values[0] if values else None


def _array(address: Pointer, count: int, dtype: Any) -> NDArray[Any]:
    return np.frombuffer(ctypes.string_at(address, count * np.dtype(dtype).itemsize), dtype)


class NvJpeg:
    """The library: every function returns a status; what it makes is named by a number."""

    def __init__(self) -> None:
        self._streams: dict[int, Any] = {}
        self._images: dict[int, int] = {}
        self._size = 0, 0

    def nvjpegCreateEx(self, backend: int, device: None, pinned: None, flags: int, handle: Pointer) -> int:
        handle._obj.value = backend
        return 0

    def nvjpegDestroy(self, handle: Pointer) -> int:
        return 0

    def nvjpegJpegStreamCreate(self, handle: Pointer, stream: Pointer) -> int:
        stream._obj.value = 1
        return 0

    def nvjpegJpegStreamDestroy(self, stream: Pointer) -> int:
        return 0

    def nvjpegJpegStreamParseHeader(self, handle: Pointer, data: Pointer, nbytes: Any, stream: Pointer) -> int:
        try:
            self._size = Image.open(BytesIO(ctypes.string_at(data, nbytes.value))).size
        except OSError:
            return BAD_JPEG
        return 0

    def nvjpegDecodeBatchedSupported(self, handle: Pointer, stream: Pointer, refused: Pointer) -> int:
        refused._obj.value = self._size[1] % 2
        return 0

    def nvjpegJpegStreamGetFrameDimensions(self, stream: Pointer, width: Pointer, height: Pointer) -> int:
        width._obj.value, height._obj.value = self._size
        return 0

    def nvjpegJpegStateCreate(self, handle: Pointer, state: Pointer) -> int:
        try:
            stream = _call("cuStreamCreate", 1)
        except CudaError:
            return FAILED
        state._obj.value = int(stream)
        self._streams[int(stream)] = stream
        return 0

    def nvjpegJpegStateDestroy(self, state: Pointer) -> int:
        cu.cuStreamDestroy(self._streams.pop(state.value))
        return 0

    def nvjpegDecodeBatchedPreAllocate(self, handle: Pointer, state: Pointer, *how: int) -> int:
        return 0

    def nvjpegDecodeBatchedInitialize(self, handle: Pointer, state: Pointer, images: int, *how: int) -> int:
        self._images[state.value] = images
        return 0

    def nvjpegDecodeBatched(
        self, handle: Pointer, state: Pointer, data: Pointer, nbytes: Pointer, images: Pointer, stream: Pointer
    ) -> int:
        count = self._images[state.value]
        files = zip(_array(data, count, np.uint64), _array(nbytes, count, np.uint64), strict=True)
        try:
            for image, (address, length) in zip(_array(images, count, _IMAGE), files, strict=True):
                encoded = np.frombuffer(ctypes.string_at(int(address), int(length)), np.uint8)
                pixels = np.ascontiguousarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB))
                target = int(image["channel"][0])
                _call("cuMemcpyHtoDAsync", target, pixels.ctypes.data, pixels.nbytes, stream.value)
        except CudaError:
            return FAILED
        return 0
