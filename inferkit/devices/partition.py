"""A GPU's multiprocessors shared out: a few for decoding, the others for inference.

The decoder in hardware needs many small kernels for a batch (colours, copies). Beside a network each of them waits
until the large kernels that were queued before it have found their places: with convolutions of 2 ms an H100 decoded
1,000 images/s in place of 20,000; with 8 multiprocessors of its own 11,000, and the convolutions lost nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cuda.bindings import driver as bindings

from inferkit.devices.pinned import checked
from inferkit.errors import DeviceError

FOR_DECODING = 8
"""The smallest part of an H100 (CUDA Driver API, Green Contexts: multiples of 8 from compute capability 9.0 on)."""


class Partition:
    """Two green contexts on one GPU; they share the memory and everything else of its primary context.

    Parameters
    ----------
    gpu
        As CUDA counts.

    Attributes
    ----------
    decoding, inferring
        The contexts.
    multiprocessors
        How many each of them has.

    Raises
    ------
    DeviceError
        If the driver or the GPU knows no such parts.
    """

    def __init__(self, gpu: int) -> None:
        doing = f"sharing out the multiprocessors of GPU {gpu}"
        device = checked(bindings.cuDeviceGet(gpu), doing)
        whole = checked(
            bindings.cuDeviceGetDevResource(device, bindings.CUdevResourceType.CU_DEV_RESOURCE_TYPE_SM), doing
        )
        error, parts, _, rest = bindings.cuDevSmResourceSplitByCount(1, whole, 0, FOR_DECODING)
        checked((error,), doing)
        if not rest.sm.smCount:
            message = f"GPU {gpu} has too few multiprocessors to share out"
            raise DeviceError(message)
        self.multiprocessors = (int(parts[0].sm.smCount), int(rest.sm.smCount))
        self._green: list[Any] = []
        self.decoding, self.inferring = (self._context(device, resource, doing) for resource in (parts[0], rest))

    def _context(self, device: Any, resource: Any, doing: str) -> Any:
        description = checked(bindings.cuDevResourceGenerateDesc([resource], 1), doing)
        flags = bindings.CUgreenCtxCreate_flags.CU_GREEN_CTX_DEFAULT_STREAM
        self._green.append(checked(bindings.cuGreenCtxCreate(description, device, flags), doing))
        return checked(bindings.cuCtxFromGreenCtx(self._green[-1]), doing)

    @contextmanager
    def current(self, context: Any) -> Iterator[None]:
        """Make one of the two current on this thread: streams that are made then run on its multiprocessors alone."""
        checked(bindings.cuCtxPushCurrent(context), "taking a part of the GPU")
        try:
            yield
        finally:
            bindings.cuCtxPopCurrent()

    def close(self) -> None:
        """End both contexts, when all their work has finished."""
        while self._green:
            bindings.cuGreenCtxDestroy(self._green.pop())
