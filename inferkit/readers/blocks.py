"""Whole blocks of files around what a batch wants of them, where reads must begin and end at blocks."""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar, NamedTuple

from inferkit.batch import Piece, Segment
from inferkit.devices.base import HostMemory
from inferkit.readers.base import Reader, whole
from inferkit.readers.files import OpenFiles


class Blocks(NamedTuple):
    """Consecutive blocks of a file, and where they belong.

    Parameters
    ----------
    file
        Index of the file in the data set.
    offset, span
        First byte and number of bytes to read, multiples of the block.
    needed
        Bytes that must come: fewer where the last block reaches past the file's end.
    place
        Byte of the buffer where they go.
    """

    file: int
    offset: int
    needed: int
    span: int
    place: int


class BlockReader(Reader):
    """Reads the block-aligned range around each piece; the copy starts at the right offset, so nothing is moved.

    Attributes
    ----------
    kind
        Of its segments.
    block
        What file offsets, lengths and places in a buffer are multiples of.
    """

    kind: ClassVar[str] = "ring"
    block: int
    _files: OpenFiles

    def rounding(self, batches: Iterable[Sequence[Piece]]) -> float:
        """Return the bytes of the blocks around each piece, to each byte of the pieces."""
        size, pieces = self.dataset.image_bytes, [piece for batch in batches for piece in batch]
        asked = sum(whole(start * size, count * size, self.block) for _, start, count, _ in pieces)
        return asked / max(1, sum(count for _, _, count, _ in pieces) * size)

    def buffer_bytes(self, batch_size: int) -> int:
        """Return the batch's size with room for a block at either end of each piece (at most one piece per image)."""
        return batch_size * (self.dataset.image_bytes + 2 * self.block)

    def read(self, pieces: Sequence[Piece], buffer: HostMemory | None) -> tuple[Segment, ...]:
        """Read each piece's blocks; its segment begins where the first image does."""
        assert buffer is not None
        size, block = self.dataset.image_bytes, self.block
        wanted, segments = [], []
        place = 0
        for file, start, count, first in pieces:
            offset, nbytes = start * size, count * size
            skipped = offset % block
            span = whole(offset, nbytes, block)
            wanted.append(Blocks(file, offset - skipped, skipped + nbytes, span, place))
            segments.append(Segment(self.kind, buffer.address + place + skipped, nbytes, first, count, file))
            place += span
        self.fetch(wanted, buffer)
        return tuple(segments)

    @abstractmethod
    def fetch(self, wanted: Sequence[Blocks], buffer: HostMemory) -> None:
        """Bring blocks of files into the buffer.

        Raises
        ------
        ReadError
            If a file ends early or a read fails.
        """

    def check_unchanged(self) -> None:
        """Check that no file changed."""
        self._files.known.check_all()

    def close(self) -> None:
        """Close the files."""
        self._files.close()
