"""The GPUs that CUDA shows, and the context of each: what every call to it needs."""

import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pycuda.driver as drv
from cuda.bindings import driver as bindings

from inferkit.devices.cuda_errors import checked, failure, name_of
from inferkit.errors import NoDeviceError

CONNECTIONS = "32"
"""Queues between a process and the GPU, the most that there are (CUDA_DEVICE_MAX_CONNECTIONS; CUDA's default is 8).

Streams that share one wait for each other's work. The JPEG decoder makes fourteen streams: beside ResNet-50 nvJPEG
decoded 340 images/s with 8 queues, and 10,900 with 32 (H100, one thread, inference not slowed).
"""
_OF_THREAD = threading.local()
"""Its ``context`` is the one that this thread has pushed last."""


@contextmanager
def explained(doing: str, *, opening: bool = False) -> Iterator[None]:
    """Turn PyCUDA's errors ("cuMemAlloc failed: out of memory") into what :func:`failure` makes of them."""
    try:
        yield
    except drv.Error as error:
        words = str(error).partition(" failed: ")[2]
        raise failure(name_of(words) or str(error), doing, opening=opening) from error


class PrimaryContext:
    """A GPU's primary context, which the CUDA runtime inside TensorRT uses too; it lives while anybody holds it.

    There is one such object per GPU and process: PyCUDA frees things only under the context object that made them.
    """

    def __init__(self, gpu: int) -> None:
        self._gpu = gpu
        self._lock = threading.Lock()
        self._holders = 0
        self._context: Any = None

    def hold(self, *, spin: bool = False) -> None:
        """Keep the context; the first to hold it decides whether threads spin while they wait for streams."""
        flags = bindings.CUctx_flags.CU_CTX_SCHED_SPIN if spin else bindings.CUctx_flags.CU_CTX_SCHED_BLOCKING_SYNC
        doing = f"making the context of GPU {self._gpu}"
        with self._lock:
            if not self._holders:
                handle = checked(bindings.cuDeviceGet(self._gpu), doing, opening=True)
                checked(bindings.cuDevicePrimaryCtxSetFlags(handle, int(flags)), doing, opening=True)
                with explained(doing, opening=True):
                    self._context = drv.Device(self._gpu).retain_primary_context()
            self._holders += 1

    def drop(self) -> None:
        """Let go of the context; the last to do so ends it."""
        with self._lock:
            self._holders -= 1
            if not self._holders:
                context, self._context = self._context, None
                doing = f"ending the context of GPU {self._gpu}"
                with explained(doing):
                    context.push()
                    context.detach()
                    # PyCUDA forgets it, but CUDA leaves an ended context on the thread's stack.
                    checked(bindings.cuCtxPopCurrent(), doing)

    def pushed(self, doing: str) -> AbstractContextManager[None]:
        """Make the context current on this thread for a while; where it is already, that costs nothing.

        A DeviceError from inside says ``doing``.
        """
        return explained(doing) if getattr(_OF_THREAD, "context", None) is self else self._entered(doing)

    @contextmanager
    def _entered(self, doing: str) -> Iterator[None]:
        before = getattr(_OF_THREAD, "context", None)
        with explained(doing):
            self._context.push()
            _OF_THREAD.context = self
            try:
                yield
            finally:
                _OF_THREAD.context = before
                _leave(doing)


_CONTEXTS: dict[int, PrimaryContext] = {}


def _leave(doing: str) -> None:
    """Leave the context that is current: PyCUDA aborts a process whose thread ends in one, and tells nobody why.

    A GPU may refuse it because of what failed before; if it does so again, the process ends here, with the reason as
    its last words.
    """
    try:
        drv.Context.pop()
    except drv.Error:
        try:
            drv.Context.pop()
        except drv.Error as error:
            name = name_of(str(error).partition(" failed: ")[2])
            os.write(2, f"{failure(name, f'{doing}, and leaving the context')}\n".encode())
            os._exit(1)
        raise


def context_of(gpu: int) -> PrimaryContext:
    """Return the one context object of a GPU in this process."""
    return _CONTEXTS.setdefault(gpu, PrimaryContext(gpu))


def gpu_of(number: int) -> Any:
    """Return PyCUDA's device with that number.

    Raises
    ------
    NoDeviceError
        If there is no such GPU, or CUDA does not start.
    """
    with explained("starting CUDA", opening=True):
        os.environ.setdefault("CUDA_DEVICE_MAX_CONNECTIONS", CONNECTIONS)  # CUDA looks once, when it starts
        drv.init()
        count = drv.Device.count()
        if 0 <= number < count:
            return drv.Device(number)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "not set")
    message = f"no GPU {number}: CUDA shows {count}, counted from 0; CUDA_VISIBLE_DEVICES is {visible}"
    raise NoDeviceError(message)


def takes_read_only(number: int) -> bool:
    """Tell whether pages that are mapped read-only can be registered with a GPU."""
    doing = f"asking GPU {number} for its attributes"
    attribute = bindings.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_READ_ONLY_HOST_REGISTER_SUPPORTED
    handle = checked(bindings.cuDeviceGet(number), doing, opening=True)
    return bool(checked(bindings.cuDeviceGetAttribute(attribute, handle), doing, opening=True))
