"""The kernel that makes images of decoded photographs (resize.cu): its table, and how it is compiled for a GPU."""

import ctypes
from pathlib import Path

import numpy as np
from cuda.bindings import driver as bindings
from numpy.typing import NDArray

from inferkit.batch import COLUMNS_REVERSED, ROWS_REVERSED, TRANSPOSED
from inferkit.devices.cuda_errors import COMPILER, checked
from inferkit.errors import DeviceError

KERNEL = Path(__file__).with_name("resize.cu")
THREADS = 256


def photographs_table(addresses: NDArray[np.int64], rows: NDArray[np.int64], *, crop: bool) -> NDArray[np.int64]:
    """Return the kernel's table: which part of each photograph is used, how it is turned, and its place.

    Parameters
    ----------
    addresses : shape (images,)
        Where the photographs lie on the GPU.
    rows : shape (images, 4)
        Height, width, how it is turned (see :class:`inferkit.batch.Segment`) and place of each.
    crop
        Use the largest square at the centre of the upright photograph; else the whole.

    Returns
    -------
    ndarray, shape (images, 8)
        As ``struct Photograph`` in resize.cu.
    """
    height, width, turned, place = rows.T
    top = left = np.zeros_like(width)
    used = (height, width)
    if crop:
        side = np.minimum(height, width)
        transposed = (turned & TRANSPOSED) > 0
        backwards = [(turned & bit) > 0 for bit in (ROWS_REVERSED, COLUMNS_REVERSED)]
        down, across = np.where(transposed, backwards[::-1], backwards)
        top, left = (height - side + down) // 2, (width - side + across) // 2
        used = (side, side)
    return np.ascontiguousarray(np.stack([addresses, width, top, left, *used, turned, place], axis=1))


class ResizeKernel:
    """The compiled kernel; call it with a stream, how many images, their table, the batch, and its size."""

    def __init__(self, program: bytes) -> None:
        doing = "loading the kernel that resizes"
        self._module = checked(bindings.cuModuleLoadData(program), doing)
        self._function = checked(bindings.cuModuleGetFunction(self._module, b"resize"), doing)

    def close(self) -> None:
        """Unload it."""
        checked(bindings.cuModuleUnload(self._module), "unloading the kernel that resizes")

    def __call__(self, stream: int, images: int, table: int, batch: int, size: int) -> None:
        """Queue the resizing of as many photographs as the table has."""
        arguments = ((table, batch, size), (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int))
        blocks = -(-size * size // THREADS), images, 1
        launched = bindings.cuLaunchKernel(self._function, *blocks, THREADS, 1, 1, 0, stream, arguments, 0)
        checked(launched, "resizing photographs")


def compiled(compute_capability: str) -> ResizeKernel:
    """Compile the kernel for a GPU.

    Raises
    ------
    DeviceError
        If NVRTC is not there, or knows no such GPU.
    """
    from cuda.bindings import nvrtc

    doing = f"compiling {KERNEL.name} with NVRTC"
    try:
        program = checked(nvrtc.nvrtcCreateProgram(KERNEL.read_bytes(), KERNEL.name.encode(), 0, [], []), doing)
    except RuntimeError as error:  # the library cannot be loaded
        message = f"{error}: {doing}: {COMPILER}"
        raise DeviceError(message) from error
    # Without fused operations: OpenCV's weights are rounded after each.
    options = [f"--gpu-architecture=sm_{compute_capability.replace('.', '')}".encode(), b"--fmad=false"]
    checked(nvrtc.nvrtcCompileProgram(program, len(options), options), doing)
    # For this GPU alone: a driver that is older than NVRTC would refuse its PTX.
    program_of_gpu = b" " * checked(nvrtc.nvrtcGetCUBINSize(program), doing)
    checked(nvrtc.nvrtcGetCUBIN(program, program_of_gpu), doing)
    checked(nvrtc.nvrtcDestroyProgram(program), doing)
    return ResizeKernel(program_of_gpu)
