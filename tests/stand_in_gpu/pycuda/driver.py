"""What inferkit uses of ``pycuda.driver``, by NVIDIA's own bindings, with PyCUDA's ways.

A context that is current belongs to a thread's stack; a thread that ends with one ends the process; what is made under
a context is freed under it, by the last reference, and a failure of that is a line on standard error.
"""

import gc
import os
import sys
import threading
from typing import Any

from cuda.bindings import driver as cu


class Error(Exception):
    """Any failure."""


def _words(name: str, error: Any) -> str:
    return f"{name} failed: {cu.cuGetErrorString(error)[1].decode()}"


def _call(name: str, *arguments: Any) -> Any:
    error, *values = getattr(cu, name)(*arguments)
    if error:
        raise Error(_words(name, error))
    return values[0] if len(values) == 1 else values


def _clean_up(name: str, *arguments: Any) -> None:
    error, *_ = getattr(cu, name)(*arguments)
    if error:
        sys.stderr.write(f"PyCUDA WARNING: a clean-up operation failed (dead context maybe?)\n{_words(name, error)}\n")


class _Stack(list["Context"]):
    def __del__(self) -> None:
        if self:
            os.write(2, b"PyCUDA ERROR: The context stack was not empty upon module cleanup.\n")
            os.abort()


class _OfThread(threading.local):
    def __init__(self) -> None:
        self.stack = _Stack()


_THREAD = _OfThread()


class Context:
    """A context; ``pop`` leaves the one that is current."""

    def __init__(self, device: "Device") -> None:
        self._device = device
        self._valid = False
        self.handle = _call("cuDevicePrimaryCtxRetain", device.handle)
        self._valid = True

    def push(self) -> None:
        stack = _THREAD.stack
        if stack:
            _call("cuCtxPopCurrent")
        _call("cuCtxPushCurrent", self.handle)
        stack.append(self)

    @staticmethod
    def pop() -> None:
        stack = _THREAD.stack
        if stack:
            _call("cuCtxPopCurrent")
        if not stack:
            raise Error("context::pop failed: invalid device context - cannot pop non-current context")
        stack.pop()
        if stack:
            _call("cuCtxPushCurrent", stack[-1].handle)

    def __del__(self) -> None:
        if self._valid:
            _clean_up("cuCtxPushCurrent", self.handle)
            self.detach()

    def detach(self) -> None:
        self._valid = False
        _clean_up("cuDevicePrimaryCtxRelease", self._device.handle)
        if _THREAD.stack and _THREAD.stack[-1] is self:
            _THREAD.stack.pop()


class _Owned:
    """Something that was made under a context, and is freed under it."""

    free_by = ""

    def __init__(self, handle: Any) -> None:
        self.owned = handle
        self._context = current()

    def free(self) -> None:
        handle, self.owned = self.owned, None
        if _THREAD.stack and _THREAD.stack[-1] is self._context:
            _clean_up(self.free_by, handle)
        else:
            sys.stderr.write(f"UserWarning: {self.free_by} in out-of-thread context could not be cleaned up\n")

    def __del__(self) -> None:
        if getattr(self, "owned", None) is not None:
            self.free()


def current() -> Context:
    if not _THREAD.stack:
        raise Error("explicit_context_dependent failed: invalid device context - no currently active context?")
    return _THREAD.stack[-1]


class Device:
    """A GPU."""

    def __init__(self, number: int) -> None:
        self.handle = _call("cuDeviceGet", number)

    @staticmethod
    def count() -> int:
        return int(_call("cuDeviceGetCount"))

    def name(self) -> str:
        return str(_call("cuDeviceGetName", 256, self.handle).split(b"\0")[0].decode())

    def compute_capability(self) -> tuple[int, int]:
        names = ("COMPUTE_CAPABILITY_MAJOR", "COMPUTE_CAPABILITY_MINOR")
        kinds = [getattr(cu.CUdevice_attribute, f"CU_DEVICE_ATTRIBUTE_{name}") for name in names]
        major, minor = (int(_call("cuDeviceGetAttribute", kind, self.handle)) for kind in kinds)
        return major, minor

    def retain_primary_context(self) -> Context:
        return Context(self)


class Stream(_Owned):
    """A stream."""

    free_by = "cuStreamDestroy"

    def __init__(self, flags: int = 0) -> None:
        super().__init__(None if not current() else _call("cuStreamCreate", flags))

    @property
    def handle(self) -> int:
        return int(self.owned)

    def synchronize(self) -> None:
        _call("cuStreamSynchronize", self.owned)

    def wait_for_event(self, event: "Event") -> None:
        _call("cuStreamWaitEvent", self.owned, event.owned, 0)


class event_flags:
    """Flags of events."""

    DEFAULT = 0
    BLOCKING_SYNC = 1


class Event(_Owned):
    """An event."""

    free_by = "cuEventDestroy"

    def __init__(self, flags: int = 0) -> None:
        super().__init__(None if not current() else _call("cuEventCreate", flags))

    def record(self, stream: Stream) -> "Event":
        _call("cuEventRecord", self.owned, stream.owned)
        return self

    def query(self) -> bool:
        error, *_ = cu.cuEventQuery(self.owned)
        if error and error != cu.CUresult.CUDA_ERROR_NOT_READY:
            raise Error(_words("cuEventQuery", error))
        return not error

    def synchronize(self) -> "Event":
        _call("cuEventSynchronize", self.owned)
        return self

    def time_till(self, event: "Event") -> float:
        return float(_call("cuEventElapsedTime", self.owned, event.owned))


class DeviceAllocation(_Owned):
    """Memory of a GPU."""

    free_by = "cuMemFree"

    def __int__(self) -> int:
        return int(self.owned)


def init(flags: int = 0) -> None:
    _call("cuInit", flags)


def get_driver_version() -> int:
    return int(_call("cuDriverGetVersion"))


def mem_get_info() -> tuple[int, int]:
    free, total = _call("cuMemGetInfo")
    return free, total


def mem_alloc(nbytes: int) -> DeviceAllocation:
    current()
    error, address = cu.cuMemAlloc(nbytes)
    if error == cu.CUresult.CUDA_ERROR_OUT_OF_MEMORY:
        gc.collect()
        return DeviceAllocation(_call("cuMemAlloc", nbytes))
    if error:
        raise Error(_words("cuMemAlloc", error))
    return DeviceAllocation(address)


def memset_d8_async(target: int, value: int, nbytes: int, stream: Stream) -> None:
    _call("cuMemsetD8Async", target, value, nbytes, stream.owned)


def memcpy_dtoh_async(target: Any, source: int, stream: Stream) -> None:
    _call("cuMemcpyDtoHAsync", target.ctypes.data, source, target.nbytes, stream.owned)
