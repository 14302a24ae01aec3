"""Host memory that the GPU's copy engine reads by itself, because its pages are registered with CUDA.

PyCUDA's ``register_host_memory`` fails with NumPy from 2.4 on, hence NVIDIA's bindings.
"""

import resource
import threading
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from cuda.bindings import driver as bindings

from inferkit.devices.cpu import CpuMemory
from inferkit.devices.cuda_errors import checked
from inferkit.errors import DeviceError
from inferkit.units import gibibytes

PORTABLE: int = bindings.CU_MEMHOSTREGISTER_PORTABLE
READ_ONLY: int = bindings.CU_MEMHOSTREGISTER_READ_ONLY


class Context(Protocol):
    """What registration needs of a GPU's context."""

    def pushed(self, doing: str) -> AbstractContextManager[None]:
        """Make the context current for a while."""

    def hold(self) -> None:
        """Keep the context."""

    def drop(self) -> None:
        """Let go of it."""


@dataclass
class _Pages:
    """Registered pages, and how many share them."""

    context: Context
    nbytes: int
    holders: int = 0


_PAGES: dict[int, _Pages] = {}
_LOCK = threading.Lock()


class CudaRegistration:
    """A share in registered pages.

    Several GPUs may copy from one mapping, but it can be registered only once: for all of them (PORTABLE). Closing the
    last share unregisters it, in the context that registered it and that was kept for this.

    Parameters
    ----------
    context
        Of a GPU.
    address, nbytes
        The pages; all shares at one address have the same size.
    flags
        Of ``cuMemHostRegister``.

    Raises
    ------
    DeviceError
        If CUDA refuses them.
    """

    def __init__(self, context: Context, address: int, nbytes: int, flags: int) -> None:
        with _LOCK:
            pages = _PAGES.get(address) or _registered(context, address, nbytes, flags)
            if pages.nbytes != nbytes:
                message = (
                    f"{pages.nbytes} bytes at {address:#x} are registered, not {nbytes}: close that registration first"
                )
                raise DeviceError(message)
            pages.holders += 1
        self._address = address

    def close(self) -> None:
        """Give the share up, when its copies have finished; calling it again does nothing."""
        address, self._address = self._address, 0
        if not address:
            return
        with _LOCK:
            pages = _PAGES[address]
            pages.holders -= 1
            if not pages.holders:
                del _PAGES[address]
                doing = f"unregistering {gibibytes(pages.nbytes)} of host memory"
                try:
                    with pages.context.pushed(doing):
                        checked(bindings.cuMemHostUnregister(address), doing)
                finally:
                    pages.context.drop()


def _registered(context: Context, address: int, nbytes: int, flags: int) -> _Pages:
    limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    lockable = "unlimited" if limit == resource.RLIM_INFINITY else gibibytes(limit)
    doing = (
        f"registering {gibibytes(nbytes)} of host memory. {lockable} may be locked: raise it (ulimit -l unlimited, "
        "docker run --ulimit memlock=-1), or lower host_batches. A file's pages must lie on tmpfs, such as /dev/shm: "
        "elsewhere use reader buffered or direct"
    )
    with context.pushed(doing):
        checked(bindings.cuMemHostRegister(address, nbytes, flags), doing)
    context.hold()
    _PAGES[address] = _Pages(context, nbytes)
    return _PAGES[address]


class PinnedMemory(CpuMemory):
    """Registered anonymous pages: unlike CUDA's own allocations they can have a NUMA policy and take O_DIRECT reads.

    Raises
    ------
    DeviceError
        If there is not that much memory, or CUDA may not lock it.
    """

    def __init__(self, context: Context, nbytes: int) -> None:
        super().__init__(nbytes)
        self._registration: CudaRegistration | None = None
        try:
            self._registration = CudaRegistration(context, self.address, max(nbytes, 1), PORTABLE)
        except DeviceError:
            self.close()
            raise

    def close(self) -> None:
        """Unregister the memory and give it back, when its copies have finished."""
        try:
            if self._registration is not None:
                self._registration.close()
        finally:
            super().close()
