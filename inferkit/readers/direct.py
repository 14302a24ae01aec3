"""Read past the page cache: O_DIRECT straight into the batch buffer, whatever the images' size."""

import os
from collections.abc import Sequence
from pathlib import Path

from inferkit.batch import Piece, Segment
from inferkit.dataset.format import Dataset
from inferkit.devices.base import HostMemory
from inferkit.directio import direct_io_alignment
from inferkit.errors import ReadError
from inferkit.host import filesystem
from inferkit.readers.base import Allocator, OpenFiles, Reader, read_fully

UNKNOWN_BLOCK = 4096
"""What to assume where neither file system nor disk names a block: no disk in use has a larger logical one."""


def direct_io_block(path: Path) -> tuple[int, str]:
    """Return the block that O_DIRECT wants for a file, and how that is known.

    Raises
    ------
    ReadError
        If the file system takes O_DIRECT but copies through memory in silence, or does not take it.
    """
    system = filesystem(path)
    if system.in_memory or system.fstype.startswith("fuse"):
        msg = (
            f"{path} lies on {system.fstype}, which takes O_DIRECT but copies through memory in silence: "
            "use reader buffered (or mapped, where the files lie in memory)"
        )
        raise ReadError(msg)
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC))
    except OSError as error:
        msg = f"{path} on {system.fstype} does not open with O_DIRECT ({error.strerror}): use reader buffered"
        raise ReadError(msg) from error
    alignment = direct_io_alignment(path)
    if alignment is not None:
        return max(alignment.memory, alignment.offset), "statx DIOALIGN"
    sysfs = Path(f"/sys/block/{system.block_device}/queue/logical_block_size")
    if system.block_device is not None and sysfs.exists():
        return int(sysfs.read_text()), f"logical block size of {system.block_device}"
    return UNKNOWN_BLOCK, "assumed: neither file system nor disk names a block"


class DirectReader(Reader):
    """Reads the block-aligned range around each piece; the copy starts at the right offset, so nothing is moved.

    Notes
    -----
    O_DIRECT wants file offset, length and memory address to be multiples of a block, which the file system names
    (statx, DIOALIGN). tmpfs and FUSE take O_DIRECT but copy in silence: they are refused.
    """

    name = "direct"

    def __init__(self, dataset: Dataset, allocator: Allocator, *, evict: bool = False) -> None:
        super().__init__(dataset, allocator, evict=evict)
        self.block, self._known_by = direct_io_block(dataset.path(0))
        self._files = OpenFiles(dataset, os.O_DIRECT)

    @property
    def facts(self) -> dict[str, str | int]:
        """The block size, and how it is known."""
        return {"block": self.block, "block_known_by": self._known_by}

    def buffer_bytes(self, batch_size: int) -> int:
        """Return the batch's size with room for a block at either end of each piece (at most one piece per image)."""
        return batch_size * (self.dataset.image_bytes + 2 * self.block)

    def read(self, pieces: Sequence[Piece], buffer: HostMemory | None) -> tuple[Segment, ...]:
        """Read each piece's blocks; its segment begins where the first image does."""
        assert buffer is not None
        size, block = self.dataset.image_bytes, self.block
        view = buffer.array.data
        segments = []
        cursor = 0
        for file, start, count, first in pieces:
            offset, nbytes = start * size, count * size
            skipped = offset % block
            span = -(-(skipped + nbytes) // block) * block
            read_fully(
                self._files.descriptor(file),
                view[cursor : cursor + span],
                offset - skipped,
                skipped + nbytes,
                self.dataset.path(file),
            )
            segments.append(Segment("ring", buffer.address + cursor + skipped, nbytes, first, count, file))
            cursor += span
        return tuple(segments)

    def close(self) -> None:
        """Close the files."""
        self._files.close()
