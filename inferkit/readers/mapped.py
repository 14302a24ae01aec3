"""Read nothing: map the files, and let the device copy from their pages."""

import mmap
import os
from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np

from inferkit.batch import Piece, Segment
from inferkit.closing import close_all
from inferkit.dataset.tensors import Dataset
from inferkit.devices.base import Bytes, HostMemory, Registration
from inferkit.errors import DeviceError, ReadError
from inferkit.linux.mounts import IN_MEMORY
from inferkit.machine.holders import holders
from inferkit.readers.base import Allocator, Capabilities, Reader
from inferkit.readers.files import KnownFiles, cannot
from inferkit.units import gibibytes


class _MappedFile:
    """One file's pages, known to the device."""

    def __init__(self, path: os.PathLike[str], nbytes: int, allocator: Allocator, *, writable: bool) -> None:
        try:
            descriptor = os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC)
        except OSError as error:
            raise cannot(error, "open", path) from error
        try:
            if os.fstat(descriptor).st_size < nbytes:
                message = (
                    f"{path} has {os.fstat(descriptor).st_size} bytes, {nbytes} were expected: make the data set again"
                )
                raise ReadError(message)
            access = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
            self._map = mmap.mmap(descriptor, nbytes, mmap.MAP_SHARED, access)
        finally:
            os.close(descriptor)
        self._pages: Bytes = np.frombuffer(self._map, np.uint8)
        self.address = int(self._pages.ctypes.data)
        self._registration: Registration = allocator.register(self.address, nbytes, writable=writable)

    def close(self) -> None:
        try:
            self._registration.close()
        finally:
            del self._pages
            self._map.close()


class MappedReader(Reader):
    """Maps every file once, registers its pages with the device, and delivers addresses.

    Notes
    -----
    On tmpfs the pages are the data: with a GPU they are pinned (mapped shared and writable, as CUDA asks for) and the
    copy engine reads them with no CPU copy. Files on disk come in by page faults.
    """

    name = "mapped"
    capabilities = Capabilities(has_ceiling=False, memory_passes=0)

    def __init__(self, dataset: Dataset, allocator: Allocator, *, evict: bool = False) -> None:
        super().__init__(dataset, allocator, evict=evict)
        available = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        if dataset.nbytes > available:
            message = (
                f"mapped needs the data set's {gibibytes(dataset.nbytes)} in memory, this machine has "
                f"{gibibytes(available)}: use reader buffered or direct"
            )
            raise DeviceError(message)
        paths = [dataset.path(k) for k in range(len(dataset.files))]
        in_memory = all(own.holder.reader in IN_MEMORY for own in holders(paths))
        writable = in_memory and all(os.access(path, os.W_OK) for path in paths)
        self._replaced = KnownFiles(dataset, times=False)  # to make pages known to a GPU is to write to them
        self._written: KnownFiles | None = None
        self._files: list[_MappedFile] = []
        with ExitStack() as undo:
            undo.callback(self.close)
            for k, file in enumerate(dataset.files):
                self._files.append(_MappedFile(dataset.path(k), file.nbytes, allocator, writable=writable))
            undo.pop_all()

    def buffer_bytes(self, batch_size: int) -> int:
        """Return 0: the pages are where the images are."""
        return 0

    def read(self, pieces: Sequence[Piece], buffer: HostMemory | None) -> tuple[Segment, ...]:
        """Return the pieces' addresses."""
        size = self.dataset.image_bytes
        return tuple(
            Segment("mapped", self._files[file].address + start * size, count * size, first, count, file)
            for file, start, count, first in pieces
        )

    def begin(self) -> None:
        """Note when the files were written to last: all processes that measure have mapped them by now."""
        self._written = KnownFiles(self.dataset)

    def check_unchanged(self) -> None:
        """Check that no file was replaced since it was mapped, or written to since reading began."""
        self._replaced.check_all()
        if self._written is not None:
            self._written.check_all()

    def close(self) -> None:
        """Undo registrations and mappings."""
        files, self._files = self._files, []
        close_all(file.close for file in files)
