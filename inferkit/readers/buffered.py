"""Read through the page cache."""

import os
from collections.abc import Sequence

from inferkit.batch import Piece, Segment
from inferkit.dataset.tensors import Dataset
from inferkit.devices.base import HostMemory
from inferkit.linux.page_cache import evict_all
from inferkit.readers.base import Allocator, Capabilities, Reader
from inferkit.readers.files import OpenFiles, read_fully

LARGEST_FOLIO = 2 * 2**20
"""Most bytes that the page cache keeps as one piece (a huge page). Linux drops no piece that is asked for in part."""


class BufferedReader(Reader):
    """``preadv`` into the batch buffer.

    With ``evict`` all files are synced and dropped from the page cache when the reader is opened, and then the pages
    behind each batch: every epoch is read from the storage, the first one too.

    Notes
    -----
    ``RWF_DONTCACHE`` (Linux 6.14) in place of the calls that drop pages left as few on ext4, namely none, and took no
    less CPU time (0.35 s/GB either way with one thread, 0.40 against 0.34 with four): it is not used.
    """

    name = "buffered"
    capabilities = Capabilities(can_evict=True, memory_passes=2)  # out of the page cache, and into a batch buffer

    def __init__(self, dataset: Dataset, allocator: Allocator, *, evict: bool = False) -> None:
        super().__init__(dataset, allocator, evict=evict)
        self._files = OpenFiles(dataset, 0)
        if evict:
            evict_all(dataset.path(k) for k in range(len(dataset.files)))

    def buffer_bytes(self, batch_size: int) -> int:
        """Return the batch's own size: nothing is padded."""
        return batch_size * self.dataset.image_bytes

    def read(self, pieces: Sequence[Piece], buffer: HostMemory | None) -> tuple[Segment, ...]:
        """Read the pieces one behind another."""
        assert buffer is not None
        size = self.dataset.image_bytes
        view = buffer.array.data
        segments = []
        cursor = 0
        for file, start, count, first in pieces:
            descriptor = self._files.descriptor(file)
            nbytes = count * size
            read_fully(descriptor, view[cursor : cursor + nbytes], start * size, nbytes, self.dataset.path(file))
            if self.evict:
                behind = max(0, start * size - LARGEST_FOLIO)  # what the batch before shared with this one goes now
                os.posix_fadvise(descriptor, behind, start * size + nbytes - behind, os.POSIX_FADV_DONTNEED)
            segments.append(Segment("ring", buffer.address + cursor, nbytes, first, count, file))
            cursor += nbytes
        return tuple(segments)

    def check_unchanged(self) -> None:
        """Check that no file changed."""
        self._files.known.check_all()

    def close(self) -> None:
        """Close the files."""
        self._files.close()
