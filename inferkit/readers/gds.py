"""Read straight into a GPU's memory: GPUDirect Storage by KvikIO, or its way through host memory, which is said."""

import os
import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from inferkit.dataset.tensors import Dataset
from inferkit.devices.base import OWN, Bytes, HostMemory
from inferkit.errors import DeviceError, ReadError
from inferkit.linux.mounts import IN_MEMORY
from inferkit.machine.direct_storage import LOADS, nvidia_fs, why_no_direct_storage
from inferkit.machine.holders import holders
from inferkit.os_errors import explained
from inferkit.readers.base import Allocator, Capabilities
from inferkit.readers.blocks import BlockReader, Blocks
from inferkit.readers.files import LARGEST_READ, OpenFiles
from inferkit.records.figures import Json

SETTINGS = {
    "CUFILE_ALLOW_COMPAT_MODE": "false",  # cuFile would fall back to host memory without a word; KvikIO tells
    "CUFILE_FORCE_COMPAT_MODE": "false",
    "CUFILE_LOGFILE_PATH": os.devnull,  # else a cufile.log in the folder that this runs in
}
"""How cuFile has to behave, by its own environment variables."""
_PLACE = re.compile(r"^.*?\.[ch]pp:\d+:\s*", re.DOTALL)
"""Where in its own source KvikIO found what an error says."""
_OPENING = threading.Lock()
"""KvikIO opens a file as its defaults of that moment say, and they are the process's."""


class Way(NamedTuple):
    """How the files of one file system come to the GPU.

    Parameters
    ----------
    on
        What holds them.
    files
        How many they are.
    lacks
        Why host memory lies between (compatibility mode); empty: GPUDirect Storage.
    """

    on: str
    files: int
    lacks: str


class DeviceBytes:
    """Memory of a GPU as libraries of CUDA in Python know it."""

    def __init__(self, address: int, nbytes: int) -> None:
        self.__cuda_array_interface__ = {
            "shape": (nbytes,),
            "typestr": "|u1",
            "data": (address, False),
            "strides": None,
            "version": 3,
        }


class Registered:
    """Memory of a GPU that cuFile keeps mapped for disks, so that it need not go through a buffer of its own there."""

    def __init__(self, library: Any, memory: HostMemory, allocator: Allocator) -> None:
        self.address, self.nbytes = memory.address, memory.nbytes
        self.array: Bytes = memory.array
        self._memory: HostMemory | None = memory
        self._library, self._allocator = library, allocator
        self._view = DeviceBytes(memory.address, memory.nbytes)
        try:
            with allocator.attached():
                library.memory_register(self._view)
        except (RuntimeError, OSError) as error:
            memory.close()
            message = (
                f"cuFile cannot map {memory.nbytes} bytes of the GPU for disks ({said(error)}): lower host_batches"
            )
            raise DeviceError(message) from error

    def close(self) -> None:
        """Unmap the memory and free it; calling it again does nothing."""
        memory, self._memory = self._memory, None
        if memory is not None:
            with self._allocator.attached():
                self._library.memory_deregister(self._view)
            memory.close()


class GdsReader(BlockReader):
    """Reads the blocks around each piece into a batch buffer that is the GPU's memory.

    Notes
    -----
    cuFile and KvikIO each fall back to a way through host memory (compatibility mode) where a file system, the kernel
    or the machine takes no part in GPUDirect Storage, and users take one for the other. So cuFile's is switched off,
    each file system is asked once by a file that KvikIO must open without its own, and all files are then opened the
    way that was found: nothing falls back later. Both ways pass the page cache by (O_DIRECT).
    """

    name = "gds"
    kind = OWN
    block = 4096  # of a GPU, to which cuFile wants reads aligned (KvikIO, CuFile.pread)
    capabilities = Capabilities(passes_cache=True, to_device=True, memory_passes=None)

    def __init__(self, dataset: Dataset, allocator: Allocator, *, evict: bool = False) -> None:
        super().__init__(dataset, allocator, evict=evict)
        self._library = library()
        self._handles: dict[int, Any] = {}
        self._lacks: dict[Path, str] = {}
        self._ways: list[Way] = []
        paths = [dataset.path(k) for k in range(len(dataset.files))]
        with allocator.attached():
            for own in holders(paths):
                lacks = self._lacking(paths[own.files[0]], own.holder.reader)
                self._ways.append(Way(str(own.holder), len(own.files), lacks))
                self._lacks |= dict.fromkeys((paths[k] for k in own.files), lacks)
        self._files = OpenFiles(dataset, 0, self._open, self._close)

    def _lacking(self, path: Path, system: str) -> str:
        """Return why a file cannot be read by GPUDirect Storage; empty: it can."""
        if system in IN_MEMORY:
            return f"{system} is memory, and no disk"
        try:
            os.close(os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC))
        except OSError as error:
            return f"{system} does not open files with O_DIRECT: {explained(error)}"
        try:
            opened(self._library, path, direct=True).close()
        except (RuntimeError, OSError) as error:
            if nvidia_fs() is None:
                return f"the kernel's module nvidia-fs is not loaded ({said(error)}): {LOADS}"
            return f"cuFile refuses {system}: {said(error)}"
        return ""

    def _open(self, path: Path, flags: int) -> int:
        try:
            handle = opened(self._library, path, direct=not self._lacks[path])
        except RuntimeError as error:
            message = f"cannot open {path}: {said(error)}"
            raise ReadError(message) from error
        number = int(handle.fileno())
        self._handles[number] = handle
        return number

    def _close(self, number: int) -> None:
        self._handles.pop(number).close()

    @property
    def facts(self) -> dict[str, Json]:
        """Where bytes go, by what, and for each file system which way: ``lacks`` says why not GPUDirect Storage."""
        version = ".".join(map(str, self._library.cufile_driver.libcufile_version()))
        told = f"KvikIO {self._library.__version__}, cuFile {version}"
        return {"target": "device memory", "library": told, "ways": [way._asdict() for way in self._ways]}

    def buffer(self, batch_size: int) -> HostMemory:
        """Allocate memory of the device, known to cuFile where disks can write to it."""
        memory = self.allocator.allocate(self.buffer_bytes(batch_size), OWN)
        if all(way.lacks for way in self._ways):
            return memory
        return Registered(self._library, memory, self.allocator)

    def fetch(self, wanted: Sequence[Blocks], buffer: HostMemory) -> None:
        """Bring blocks of files into the device's memory, one after another."""
        view = DeviceBytes(buffer.address, buffer.nbytes)
        with self.allocator.attached():
            for blocks in wanted:
                self._fetch(blocks, view)

    def _fetch(self, blocks: Blocks, view: DeviceBytes) -> None:
        """Read some blocks of a file, but nothing behind its end: KvikIO fails there."""
        file, offset, needed, span, place = blocks
        handle, path = self._handles[self._files.descriptor(file)], self.dataset.path(file)
        span = min(span, self.dataset.files[file].nbytes - offset)
        done, got = 0, -1
        try:
            while done < needed and got:
                got = handle.raw_read(view, min(span - done, LARGEST_READ), offset + done, place + done)
                done += got
        except (RuntimeError, OSError) as error:
            message = f"cannot read {path} at byte {offset + done} into the GPU's memory: {said(error)}"
            raise ReadError(message) from error
        if done < needed:
            message = f"{path} ends at byte {offset + done}, {needed - done} bytes early: make the data set again"
            raise ReadError(message)


def library() -> Any:
    """Import KvikIO, and tell it and cuFile to fall back to nothing in silence.

    Raises
    ------
    DeviceError
        If it is not installed or does not load.
    """
    if why := why_no_direct_storage("cuda", assumed=False):
        raise DeviceError(why)
    os.environ.update(SETTINGS)
    try:
        import kvikio
        import kvikio.cufile_driver
        import kvikio.defaults
    except (ImportError, OSError, RuntimeError) as error:
        message = f"KvikIO does not load ({said(error)}): its package must suit the driver's CUDA (kvikio-cu12, -cu13)"
        raise DeviceError(message) from error
    kvikio.defaults.set("auto_direct_io_read", True)
    return kvikio


def opened(kvikio: Any, path: Path, *, direct: bool) -> Any:
    """Open a file for GPUDirect Storage, or for the way through host memory; never for one instead of the other."""
    mode = kvikio.CompatMode.OFF if direct else kvikio.CompatMode.ON
    with _OPENING, kvikio.defaults.set("compat_mode", mode):
        return kvikio.CuFile(path)


def said(error: Exception) -> str:
    """Return what an error says on one line, without where in KvikIO's source it was found."""
    return " ".join(_PLACE.sub("", str(error)).split())
