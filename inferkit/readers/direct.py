"""Read past the page cache: O_DIRECT straight into the batch buffer, whatever the images' size."""

import mmap
import os
from collections.abc import Sequence
from pathlib import Path

from inferkit.dataset.tensors import Dataset
from inferkit.devices.base import HostMemory
from inferkit.errors import ReadError
from inferkit.linux.direct_io import direct_io_alignment
from inferkit.linux.extents import stored
from inferkit.linux.mounts import IN_MEMORY
from inferkit.linux.page_cache import evict, resident_share
from inferkit.machine.holders import holder, holders
from inferkit.readers.base import Allocator, Capabilities
from inferkit.readers.blocks import BlockReader, Blocks
from inferkit.readers.files import OpenFiles, read_fully
from inferkit.records.figures import Json

UNKNOWN_BLOCK = 4096
"""What to assume where neither file system nor disk names a block: no disk in use has a larger logical one."""
PROBE_BYTES = 2**20
NOT_PROVED = "not proved"
_THERE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE


def direct_io_block(path: Path) -> tuple[int, str]:
    """Return the block that O_DIRECT wants for a file, and how that is known.

    Raises
    ------
    ReadError
        If the file system takes O_DIRECT but copies through memory in silence, or does not take it.
    """
    own = holder(path)
    if own.reader in IN_MEMORY or own.kind == "fuse":
        message = (
            f"{path} lies on {own.reader}, which takes O_DIRECT but copies through memory in silence: "
            "use reader buffered (or mapped, where the files lie in memory)"
        )
        raise ReadError(message)
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC))
    except OSError as error:
        message = f"{path} on {own.reader} does not open with O_DIRECT ({error.strerror}): use reader buffered"
        raise ReadError(message) from error
    alignment = direct_io_alignment(path)
    if alignment is not None:
        return max(alignment.memory, alignment.offset), "statx DIOALIGN"
    sysfs = [Path(f"/sys/block/{disk}/queue/logical_block_size") for disk in own.disks]
    if sysfs and not own.stacked and all(file.exists() for file in sysfs):
        return max(int(file.read_text()) for file in sysfs), f"logical block size of {', '.join(own.disks)}"
    return UNKNOWN_BLOCK, "assumed: neither file system nor disk names a block"


def probe(path: Path, block: int) -> str:
    """Prove that O_DIRECT passes the page cache by: drop a file's pages, read from it, and look for pages.

    Returns
    -------
    proof
        What was found, for the record; where nothing can be proved, why not.

    Raises
    ------
    ReadError
        If the read failed or left pages in the cache.
    """
    evict(path)
    before = resident_share([path])
    if before is None:
        return f"{NOT_PROVED}: the kernel does not tell this user which pages of the files are resident"
    if before:
        return f"{NOT_PROVED}: pages of the files could not be dropped, some process has them mapped"
    nbytes = min(PROBE_BYTES, path.stat().st_size)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
    try:
        # Aligned to pages, which are there: into those that are not, btrfs reads through the page cache.
        memory = memoryview(mmap.mmap(-1, PROBE_BYTES + block, flags=_THERE))
        read_fully(descriptor, memory[: -(-nbytes // block) * block], 0, nbytes, path)
    finally:
        os.close(descriptor)
    if resident_share([path]):
        lies = stored(path)
        why = " (its file system has compressed it)" if lies and lies.encoded else ""
        message = (
            f"{path}: a read with O_DIRECT left pages in the page cache, so it goes through it{why}: "
            "use reader buffered"
        )
        raise ReadError(message)
    return "a probe read of dropped pages left none resident"


class DirectReader(BlockReader):
    """Reads past the page cache, by O_DIRECT.

    Notes
    -----
    O_DIRECT wants file offset, length and memory address to be multiples of a block, which the file system names
    (statx, DIOALIGN). tmpfs and FUSE take O_DIRECT but copy in silence: they are refused. Files may lie on several
    storages (links, folders mounted inside): each is asked, and the largest block serves all.
    """

    name = "direct"
    capabilities = Capabilities(passes_cache=True)

    def __init__(self, dataset: Dataset, allocator: Allocator, *, evict: bool = False) -> None:
        super().__init__(dataset, allocator, evict=evict)
        paths = [dataset.path(k) for k in range(len(dataset.files))]
        smallest = [paths[min(own.files, key=lambda k: dataset.files[k].nbytes)] for own in holders(paths)]
        blocks = [direct_io_block(path) for path in smallest]
        self.block, self._known_by = max(blocks)
        proofs = [probe(path, block) for path, (block, _) in zip(smallest, blocks, strict=True)]
        self._proved_by = next((proof for proof in proofs if proof.startswith(NOT_PROVED)), proofs[0])
        self._files = OpenFiles(dataset, os.O_DIRECT)

    @property
    def facts(self) -> dict[str, Json]:
        """The block size, how it is known, and how it was proved that the page cache is passed by."""
        return {"block": self.block, "block_known_by": self._known_by, "proved_by": self._proved_by}

    def fetch(self, wanted: Sequence[Blocks], buffer: HostMemory) -> None:
        """Bring blocks of files into the buffer, one after another.

        Raises
        ------
        ReadError
            If a file ends early or a read fails.
        """
        view = buffer.array.data
        for blocks in wanted:
            self.complete(blocks, 0, view)

    def complete(self, blocks: Blocks, done: int, view: memoryview) -> None:
        """Read what is missing of some blocks behind the first ``done`` bytes."""
        file, offset, needed, span, place = blocks
        target = view[place + done : place + span]
        read_fully(self._files.descriptor(file), target, offset + done, needed - done, self.dataset.path(file))
