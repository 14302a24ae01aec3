"""The contract of a reader: batch in, bytes out."""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Protocol

from inferkit.batch import Piece, Segment
from inferkit.closing import Closing
from inferkit.dataset.format import Dataset, open_dataset
from inferkit.devices.base import HostMemory, Registration


class Allocator(Protocol):
    """What a reader needs of a device: memory to fill and memory made known to it."""

    def allocate(self, nbytes: int, memory: str = "") -> HostMemory:
        """Allocate page-aligned host memory."""

    def register(self, address: int, nbytes: int, *, writable: bool) -> Registration:
        """Make existing memory something that the device copies from."""


class Reader(Closing):
    """Reads images of a data set; one reader serves all threads.

    Parameters
    ----------
    dataset
        What to read.
    allocator
        The device, for memory.
    evict
        Drop the pages of what was read from the page cache.

    Attributes
    ----------
    has_ceiling
        Whether reading takes time of its own: a mapped file or images in memory are not read at all.
    can_evict
        Whether it reads through the page cache and can drop the pages behind it.
    passes_cache
        Whether it reads past the page cache.
    decodes
        Whether its files are JPEG files, which it decodes.
    stages
        What it does for a batch, one after the other.
    """

    name: ClassVar[str]
    has_ceiling: ClassVar[bool] = True
    can_evict: ClassVar[bool] = False
    passes_cache: ClassVar[bool] = False
    decodes: ClassVar[bool] = False
    stages: ClassVar[tuple[str, ...]] = ("read",)

    def __init__(self, dataset: Dataset, allocator: Allocator, *, evict: bool = False) -> None:
        self.dataset = dataset
        self.allocator = allocator
        self.evict = evict

    @classmethod
    def find(cls, folder: Path, dtype: str, shape: tuple[int, ...], *, resize: str, fast: bool) -> Dataset:
        """Open what this reader reads: here a folder of tensor files, whose images are as they were made.

        Parameters
        ----------
        folder
            Where the files lie.
        dtype, shape
            Of one image; empty where a manifest tells.
        resize, fast
            How to decode; see :class:`inferkit.dataset.decode.Decoder`.

        Raises
        ------
        DatasetError
            If there is no such data set.
        """
        return open_dataset(folder, dtype=dtype or None, shape=shape or None)

    @classmethod
    def reads_of(cls, batch_bytes: int, file_bytes: int) -> tuple[int, int]:
        """Return how a thread asks for a batch: bytes of one read, and reads in flight; here one file after another.

        Parameters
        ----------
        batch_bytes, file_bytes
            Of a batch and of the largest file.
        """
        return min(batch_bytes, file_bytes), 1

    @property
    def facts(self) -> dict[str, str | int]:
        """What the record should tell of how this reader reads."""
        return {}

    def check_unchanged(self) -> None:
        """Check, after the last batch, that no file was replaced, cut or written to while it was read.

        Raises
        ------
        ReadError
            Naming the file.
        """

    @abstractmethod
    def buffer_bytes(self, batch_size: int) -> int:
        """Return how large a buffer :meth:`read` needs for a batch; 0 if the images lie in memory already."""

    @abstractmethod
    def read(self, pieces: Sequence[Piece], buffer: HostMemory | None) -> tuple[Segment, ...]:
        """Deliver the pieces, in their order; called by several threads at a time, each with a buffer of its own.

        Raises
        ------
        ReadError
            If the bytes do not come: with file, offset and reason. Nothing of the batch may then be used.
        """

    def close(self) -> None:
        """Close files and give memory back; calling it again does nothing."""


class DecodingReader(Reader):
    """Reads files that must be decoded; reading and decoding are timed apart.

    The ring calls :meth:`fetch` and then :meth:`decode` on the same thread. A decoder on a GPU takes the place of
    :meth:`decode` alone: it needs the encoded bytes, and they are what :meth:`fetch` returns.
    """

    decodes: ClassVar[bool] = True
    stages: ClassVar[tuple[str, ...]] = ("read", "decode")

    @abstractmethod
    def fetch(self, pieces: Sequence[Piece]) -> Sequence[bytes]:
        """Read the pieces' files, one per image.

        Raises
        ------
        ReadError
            If the bytes do not come.
        """

    @abstractmethod
    def decode(
        self, encoded: Sequence[bytes], pieces: Sequence[Piece], buffer: HostMemory | None
    ) -> tuple[Segment, ...]:
        """Decode what :meth:`fetch` returned for the same pieces.

        Raises
        ------
        ReadError
            If a file is no image that can be used.
        """

    def read(self, pieces: Sequence[Piece], buffer: HostMemory | None) -> tuple[Segment, ...]:
        """Fetch and decode."""
        return self.decode(self.fetch(pieces), pieces, buffer)
