"""The contract of a reader: batch in, bytes out."""

import mmap
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

from numpy.typing import NDArray

from inferkit.batch import Piece, Segment
from inferkit.closing import Closing
from inferkit.dataset.format import open_dataset
from inferkit.dataset.tensors import Dataset
from inferkit.devices.base import Decoding, HostMemory, Registration
from inferkit.errors import ParameterError
from inferkit.objects.counts import Counts
from inferkit.objects.place import Folder, is_url
from inferkit.records.figures import Json
from inferkit.records.job import ReadOptions


class Allocator(Protocol):
    """What a reader needs of a device: memory to fill, memory made known to it, and a look at what it will decode."""

    def allocate(self, nbytes: int, memory: str = "") -> HostMemory:
        """Allocate page-aligned host memory."""

    def register(self, address: int, nbytes: int, *, writable: bool) -> Registration:
        """Make existing memory something that the device copies from."""

    def prepare(self, segments: tuple[Segment, ...]) -> tuple[Segment, ...]:
        """Let the device look at encoded images, on this thread."""

    def attached(self) -> AbstractContextManager[None]:
        """Let libraries use the device on this thread until the ``with`` block ends."""


@dataclass(frozen=True)
class Capabilities:
    """What others may ask of a reader without knowing which it is.

    Parameters
    ----------
    has_files
        Whether its images lie in files of a data set; else they are random ones in memory.
    reads
        What holds its images: ``files`` of a mounted file system, ``objects`` of a store.
    has_ceiling
        Whether reading takes time of its own: a mapped file or images in memory are not read at all.
    can_evict
        Whether it reads through the page cache and can drop the pages behind it.
    passes_cache
        Whether it reads past the page cache.
    decodes
        Whether its files are JPEG files.
    on_device
        Whether they are decoded by the device and not by the reader's threads.
    to_device
        Whether it fills memory of the device itself, so that nothing is left to copy from the host.
    memory_passes
        How often each byte of an image crosses the host's memory at the least, where files are cached if they can be;
        None: unknown.
    """

    has_files: bool = True
    reads: tuple[str, ...] = ("files",)
    has_ceiling: bool = True
    can_evict: bool = False
    passes_cache: bool = False
    decodes: bool = False
    on_device: bool = False
    to_device: bool = False
    memory_passes: int | None = 1  # written to a batch buffer by the storage

    @property
    def stages(self) -> tuple[str, ...]:
        """What it does for a batch, one after the other."""
        return ("read", "decode") if self.decodes and not self.on_device else ("read",)


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
    name
        As in the parameter ``readers``.
    capabilities
        What others may ask of it.
    """

    name: ClassVar[str]
    capabilities: ClassVar[Capabilities] = Capabilities()

    def __init__(self, dataset: Dataset, allocator: Allocator, *, evict: bool = False) -> None:
        self.dataset = dataset
        self.allocator = allocator
        self.evict = evict

    @classmethod
    def find(cls, folder: Folder, dtype: str, shape: tuple[int, ...]) -> Dataset:
        """Open what this reader reads: here a folder of tensor files, whose images are as they were made.

        Parameters
        ----------
        folder
            Where the files lie.
        dtype, shape
            Of one image; empty where a manifest tells.

        Raises
        ------
        DatasetError
            If there is no such data set.
        """
        return open_dataset(folder, dtype=dtype or None, shape=shape or None)

    @classmethod
    def check_place(cls, folder: str) -> None:
        """Refuse objects where this reader reads files, and files where it reads objects.

        Raises
        ------
        ParameterError
            Naming what it reads.
        """
        found = "objects" if is_url(folder) else "files"
        if cls.capabilities.has_files and found not in cls.capabilities.reads:
            fix = "use reader s3 (or jpeg)" if found == "objects" else "name s3://bucket/prefix, or use reader direct"
            message = f"readers: {cls.name} reads {' and '.join(cls.capabilities.reads)}, {folder!r} are {found}: {fix}"
            raise ParameterError(message)

    @classmethod
    def open(cls, options: ReadOptions, allocator: Allocator) -> Self:
        """Find the data set that a job reads, and make a reader of it.

        Raises
        ------
        DatasetError, ReadError, DeviceError
            If there is no such data set, or this reader cannot read it here.
        """
        cls.check_place(options.folder)
        dataset = cls.find(options.place, options.dtype, options.shape)
        return cls(dataset, allocator, evict=options.evict)

    @classmethod
    def reads_of(cls, batch_bytes: int, file_bytes: int) -> tuple[int, int]:
        """Return how a thread asks for a batch: bytes of one read, and reads in flight; here one file after another.

        Parameters
        ----------
        batch_bytes, file_bytes
            Of a batch and of the largest file.
        """
        return min(batch_bytes, file_bytes), 1

    def rounding(self, batches: Iterable[Sequence[Piece]]) -> float:
        """Return how many bytes the storage is asked for at most, to each that is delivered; here whole pages of files.

        Parameters
        ----------
        batches
            Such as will be read.
        """
        sizes = [file.nbytes for file in self.dataset.files]
        return sum(whole(0, nbytes, mmap.PAGESIZE) for nbytes in sizes) / max(1, sum(sizes))

    def file_bytes(self, pieces: Sequence[Piece]) -> int:
        """Return how many bytes of files the pieces are; here those of their images."""
        return sum(piece.images for piece in pieces) * self.dataset.image_bytes

    @property
    def received(self) -> Counts | None:
        """What came over connections of its own, from an object store; None where the kernel reads."""
        return None

    @property
    def facts(self) -> dict[str, Json]:
        """What the record should tell of how this reader reads."""
        return {}

    def begin(self) -> None:
        """Take note that reading begins now: what others do to the files from here on disturbs it."""

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

    def buffer(self, batch_size: int) -> HostMemory | None:
        """Allocate what :meth:`read` fills; None if the images lie in memory already.

        Raises
        ------
        DeviceError
            If there is not that much memory.
        """
        nbytes = self.buffer_bytes(batch_size)
        return self.allocator.allocate(nbytes) if nbytes else None

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


def whole(offset: int, nbytes: int, block: int) -> int:
    """Return the bytes of the blocks that hold ``nbytes`` from ``offset`` on."""
    return (-(-(offset + nbytes) // block) - offset // block) * block


class EncodedReader(Reader):
    """Delivers JPEG files as they are: the device decodes them on their way to a slot."""

    @abstractmethod
    def decoding(self, lanes: int) -> Decoding:
        """Return what the device must know; it decodes so many batches side by side."""

    @abstractmethod
    def decode_one(self, data: bytes, file: int, out: NDArray[Any]) -> None:
        """Decode one file in software, as stage 01 does.

        Raises
        ------
        ReadError
            If it is no image that can be used: with the file and the reason.
        """


class DecodingReader(Reader):
    """Reads files that must be decoded; reading and decoding are timed apart.

    The ring calls :meth:`load` and then :meth:`decode` on the same thread.
    """

    @abstractmethod
    def load(self, pieces: Sequence[Piece]) -> Sequence[bytes]:
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
        """Decode what :meth:`load` returned for the same pieces.

        Raises
        ------
        ReadError
            If a file is no image that can be used.
        """

    def read(self, pieces: Sequence[Piece], buffer: HostMemory | None) -> tuple[Segment, ...]:
        """Load and decode."""
        return self.decode(self.load(pieces), pieces, buffer)
