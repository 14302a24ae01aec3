"""Read JPEG files as they are, for a device that decodes them: only encoded bytes cross the link."""

import os
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from heapq import nlargest
from itertools import accumulate
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from inferkit.batch import COLUMNS_REVERSED, ROWS_REVERSED, TRANSPOSED, Piece, Segment
from inferkit.dataset.baseline import hindrance
from inferkit.dataset.exif import UPRIGHT
from inferkit.dataset.markers import ImageError, read_header
from inferkit.dataset.tensors import Dataset
from inferkit.devices.base import Decoding, HostMemory, bytes_at
from inferkit.errors import ReadError
from inferkit.readers.base import Allocator, Capabilities, EncodedReader, whole
from inferkit.readers.blocks import Blocks
from inferkit.readers.direct import DirectReader
from inferkit.readers.encoded import changed
from inferkit.readers.files import cannot
from inferkit.readers.jpeg import JpegFiles
from inferkit.readers.uring import UringReader
from inferkit.records.figures import Json

ALIGNED = 64
"""Where a file may begin in a batch buffer: a cache line, so that two threads never write to one."""
_BITS = (TRANSPOSED, ROWS_REVERSED, COLUMNS_REVERSED)
_TURNED = {
    orientation: sum(bit for bit, has in zip(_BITS, turns, strict=True) if has)
    for orientation, turns in UPRIGHT.items()
}
_UNSEEN = -1
_OPENED = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK


class NvJpegReader(JpegFiles, EncodedReader):
    """Reads the batch's files through the page cache into the batch buffer; the device decodes them.

    What hardware does not decode as stage 01 does (see :func:`inferkit.dataset.baseline.hindrance`) the reader's
    threads decode, as stage 01 does, and deliver as pixels in the same batch. A file's header is read when it comes
    for the first time.
    """

    name = "nvjpeg"
    capabilities = Capabilities(can_evict=True, decodes=True, on_device=True, memory_passes=None)
    _through: ClassVar[type[DirectReader] | None] = None

    def __init__(
        self,
        dataset: Dataset,
        allocator: Allocator,
        *,
        evict: bool = False,
        resize: str = "stretch",
        fast: bool = False,
    ) -> None:
        if dataset.dtype != "uint8":
            message = f"reader {self.name} delivers uint8, not {dataset.dtype}: set dtype: uint8, or use reader jpeg"
            raise ReadError(message)
        super().__init__(dataset, allocator, evict=evict, resize=resize)  # hardware knows no faster transform
        self._paths = [
            os.fsencode(f"{dataset.folder}/{file.name}") for file in dataset.files
        ]  # once, not at each opening
        self._files = self._through(dataset, allocator) if self._through else None
        self._block = self._files.block if self._files else ALIGNED
        self._sizes = array("Q", [file.nbytes for file in dataset.files])
        self._rooms = array("Q", map(self._room, self._sizes))
        self._reasons: list[str] = []
        # Of each file: how it is turned; or, below _UNSEEN, the number of the reason to decode it in software.
        self._ways = array("b", [_UNSEEN]) * len(dataset.files)

    @property
    def facts(self) -> dict[str, Json]:
        """How files are read and decoded, and how many of those that came were decoded in software, and why."""
        told = super().facts | (self._files.facts if self._files else {})
        ways = Counter(self._ways)
        why = {reason: ways[_UNSEEN - 1 - number] for number, reason in enumerate(self._reasons)}
        return told | {"files_seen": len(self._ways) - ways[_UNSEEN], "files_in_software": why}

    def buffer_bytes(self, batch_size: int) -> int:
        """Return what the largest files of the data set need, encoded or decoded, if all come in one batch."""
        sizes = nlargest(batch_size, self._rooms)
        return sum(sizes) + (batch_size - len(sizes)) * max(sizes)  # a small data set is delivered again and again

    def rounding(self, batches: Iterable[Sequence[Piece]]) -> float:
        """Return the bytes of the blocks that files fill, to each byte of the files."""
        if not self._files:
            return super().rounding(batches)
        blocks = sum(whole(0, nbytes, self._block) for nbytes in self._sizes)
        return blocks / max(1, sum(self._sizes))

    def _room(self, nbytes: int) -> int:
        """Return the place that a file takes: with one byte more, which tells whether it grew."""
        return whole(0, max(nbytes + 1, self.dataset.image_bytes), self._block)

    def read(self, pieces: Sequence[Piece], buffer: HostMemory | None) -> tuple[Segment, ...]:
        """Read the files; then look at those that come for the first time, and decode what hardware does not."""
        assert buffer is not None
        view, sizes = buffer.array.data, self._sizes
        places = list(accumulate((self._rooms[piece.file] for piece in pieces), initial=0))[:-1]
        if self._files:
            block, placed = self._block, zip(pieces, places, strict=True)
            blocks = [Blocks(own.file, 0, sizes[own.file], whole(0, sizes[own.file], block), at) for own, at in placed]
            self._files.fetch(blocks, buffer)
        else:
            for piece, place in zip(pieces, places, strict=True):
                self._fetch(piece.file, view[place : place + sizes[piece.file] + 1])
        found = [self._segment(piece, place, view, buffer) for piece, place in zip(pieces, places, strict=True)]
        return self.allocator.prepare(tuple(found))

    def _fetch(self, file: int, target: memoryview) -> None:
        """Read a file into as many bytes as it should have and one more, in one call where it comes at once."""
        path, nbytes = self._paths[file], len(target) - 1
        got = 0
        try:
            descriptor = os.open(path, _OPENED)
        except OSError as error:
            raise cannot(error, "open", os.fsdecode(path)) from error
        try:
            while got <= nbytes and (more := os.readv(descriptor, [target[got:] if got else target])):
                got += more
                if got == nbytes:
                    break
            if self.evict:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        except OSError as error:
            raise cannot(error, "read", os.fsdecode(path), got) from error
        finally:
            os.close(descriptor)
        if got != nbytes:
            raise changed(os.fsdecode(path), nbytes, got)

    def _segment(self, piece: Piece, place: int, view: memoryview, buffer: HostMemory) -> Segment:
        file = piece.file
        way, nbytes, address = self._ways[file], self._sizes[file], buffer.address + place
        if way >= 0:
            return Segment("jpeg", address, nbytes, piece.first, 1, file, way)
        data = bytes(view[place : place + nbytes])
        if way == _UNSEEN:
            self._ways[file] = self._way(data, file)
            return self._segment(piece, place, view, buffer)
        size = self.dataset.image_bytes
        self.decode_one(data, file, buffer.array[place : place + size].reshape(self.dataset.shape))
        return Segment("ring", address, size, piece.first, 1, file)

    def decoding(self, lanes: int) -> Decoding:
        """Tell the device the size of the images, and who decodes what it refuses."""
        return Decoding(self.dataset.shape[-1], self._resize == "crop", lanes, len(self.dataset.files), self._pixels)

    def _pixels(self, segment: Segment) -> NDArray[np.uint8]:
        """Return an encoded segment's pixels, decoded on this thread: a device's decoder refused it."""
        image = np.empty(self.dataset.shape, np.uint8)
        self.decode_one(bytes_at(segment.address, segment.nbytes).tobytes(), segment.file, image)
        return image

    def _way(self, data: bytes, file: int) -> int:
        """Return how a file is turned, or the number of the reason why it is decoded in software."""
        try:
            header = read_header(data)
        except ImageError:
            self.decode_one(
                data, file, np.empty(self.dataset.shape, np.uint8)
            )  # which says what is wrong, with the file
            raise
        reason = hindrance(data, header)
        if not reason:
            return _TURNED[header.orientation]
        if reason not in self._reasons:
            self._reasons.append(reason)
        return _UNSEEN - 1 - self._reasons.index(reason)

    def check_unchanged(self) -> None:
        """Check that no file changed, where they were read by descriptors that were kept."""
        if self._files:
            self._files.check_unchanged()

    def close(self) -> None:
        """Close the files."""
        if self._files:
            self._files.close()


class NvJpegDirectReader(NvJpegReader):
    """Reads the files past the page cache, one after another (see :class:`DirectReader`)."""

    name = "nvjpeg-direct"
    capabilities = Capabilities(passes_cache=True, decodes=True, on_device=True, memory_passes=None)
    _through = DirectReader


class NvJpegUringReader(NvJpegReader):
    """Reads the files of a batch past the page cache all at once (see :class:`UringReader`)."""

    name = "nvjpeg-uring"
    capabilities = Capabilities(passes_cache=True, decodes=True, on_device=True, memory_passes=None)
    _through = UringReader
