"""What inferkit uses of nvImageCodec: photographs decoded here, into memory of the GPU that stands in.

A call of CUDA that fails is a RuntimeError, as there. Photographs of an odd height are those that it refuses.
"""

from collections.abc import Sequence
from enum import Enum
from io import BytesIO
from typing import Any

import cv2
import numpy as np
from cuda.bindings import driver as cu
from numpy.typing import NDArray
from PIL import Image as Pillow


class BackendKind(Enum):
    """What decodes."""

    HW_GPU_ONLY = 1
    GPU_ONLY = 2
    HYBRID_CPU_GPU = 3


class ColorSpec(Enum):
    """Colours."""

    SRGB = 1


class Backend:
    """A way to decode."""

    def __init__(self, kind: BackendKind) -> None:
        self.kind = kind


class DecodeParams:
    """How to decode."""

    def __init__(self, *, apply_exif_orientation: bool, color_spec: ColorSpec) -> None:
        assert not apply_exif_orientation
        assert color_spec is ColorSpec.SRGB


def _call(name: str, *arguments: Any) -> Any:
    error, *values = getattr(cu, name)(*arguments)
    if error:
        message = f"{name} failed with {error.name}"
        raise RuntimeError(message)
    return values[0] if values else None


class CodeStream:
    """An encoded photograph."""

    def __init__(self, memory: Any) -> None:
        self.encoded = bytes(memory)
        try:
            self.width, self.height = Pillow.open(BytesIO(self.encoded)).size
        except OSError as error:
            raise RuntimeError(str(error)) from error


class Image:
    """A decoded photograph, on the GPU."""

    def __init__(self, nbytes: int, stream: Any) -> None:
        self.nbytes = nbytes
        self._stream = stream
        self.address = int(_call("cuMemAlloc", nbytes))

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        _call("cuStreamSynchronize", self._stream)
        return {"data": (self.address, False)}

    def __del__(self) -> None:
        if hasattr(self, "address"):
            cu.cuMemFree(self.address)


class Decoder:
    """Decodes."""

    def __init__(self, device: int, max_num_cpu_threads: int, backends: Sequence[Backend]) -> None:
        assert backends
        self._stream = _call("cuStreamCreate", 1)

    def __del__(self) -> None:
        if hasattr(self, "_stream"):
            cu.cuStreamDestroy(self._stream)

    def decode(
        self,
        streams: CodeStream | Sequence[CodeStream],
        images: Sequence[Image] | None = None,
        params: DecodeParams | None = None,
        cuda_stream: int = 0,
    ) -> Any:
        if isinstance(streams, CodeStream):
            return self._one(streams, None, int(self._stream))
        kept: Sequence[Image | None] = images or [None] * len(streams)
        return [self._one(stream, image, cuda_stream) for stream, image in zip(streams, kept, strict=True)]

    def _one(self, stream: CodeStream, image: Image | None, cuda_stream: int) -> Image | None:
        if stream.height % 2:
            return None
        pixels: NDArray[np.uint8] = np.ascontiguousarray(
            cv2.imdecode(np.frombuffer(stream.encoded, np.uint8), cv2.IMREAD_COLOR_RGB)
        )
        if image is None or image.nbytes < pixels.nbytes:
            image = Image(pixels.nbytes, cuda_stream)
        _call("cuMemcpyHtoDAsync", image.address, pixels.ctypes.data, pixels.nbytes, cuda_stream)
        return image
