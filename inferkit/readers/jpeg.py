"""Read JPEG files and decode them on the fly: what stage 01 does beforehand, done while measuring."""

import threading
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Self, cast

from numpy.typing import NDArray

from inferkit.batch import Piece, Segment
from inferkit.dataset.manifest import Resize
from inferkit.dataset.pixels import DTYPES
from inferkit.dataset.tensors import Dataset
from inferkit.devices.base import HostMemory
from inferkit.errors import ReadError
from inferkit.linux.page_cache import evict_all
from inferkit.objects.counts import Counts
from inferkit.objects.place import Folder
from inferkit.readers.base import Allocator, Capabilities, DecodingReader, Reader
from inferkit.readers.encoded import encoded, listed, unusable
from inferkit.records.figures import Json
from inferkit.records.job import ReadOptions

if TYPE_CHECKING:  # reading tensors must not wait for image libraries
    from inferkit.dataset.decode import Decoder


class JpegFiles(Reader):
    """What readers of JPEG files have in common: finding them, and a decoder on the CPU for each thread.

    Parameters
    ----------
    dataset, allocator, evict
        As of every reader; the data set is one of :meth:`find`.
    resize, fast
        How to decode; see :class:`inferkit.dataset.decode.Decoder`.
    """

    def __init__(
        self,
        dataset: Dataset,
        allocator: Allocator,
        *,
        evict: bool = False,
        resize: str = "stretch",
        fast: bool = False,
    ) -> None:
        super().__init__(dataset, allocator, evict=evict)
        import cv2

        from inferkit.dataset import decode

        cv2.setNumThreads(1)  # the reader's own threads are the parallelism
        if not dataset.encoded:
            message = (
                f"reader {self.name} decodes JPEG files, {dataset.folder} was opened as tensors: open it by its find"
            )
            raise ReadError(message)
        self._resize: Resize = cast(Resize, resize)
        self._fast = fast
        self._decoding = decode
        self._mine = threading.local()
        if evict:
            evict_all(dataset.path(k) for k in range(len(dataset.files)))

    @classmethod
    def find(cls, folder: Folder, dtype: str, shape: tuple[int, ...]) -> Dataset:
        """List the JPEG files under ``folder``, sub-folders included, as stage 01 does: one image a file.

        Parameters
        ----------
        folder
            Holds ``.jpg`` and ``.jpeg`` files, or objects of such names.
        dtype, shape
            Of one decoded image: 3 channels, height and width alike.

        Raises
        ------
        ReadError
            If no photograph is decoded to such a shape, or something is no file of sane size or cannot be examined.
        DatasetError
            If there are no JPEG files.
        """
        from inferkit.dataset.images import find_images

        if len(shape) != 3 or shape[0] != 3 or shape[1] != shape[2]:
            message = (
                f"shape is {shape}, but JPEG files are decoded to (3, size, size): set size, and leave shape empty"
            )
            raise ReadError(message)
        files = listed(folder, find_images(folder))
        return Dataset(folder, dtype or "uint8", shape, files, described=False, encoded=True)

    @classmethod
    def open(cls, options: ReadOptions, allocator: Allocator) -> Self:
        """Find the files that a job reads, and make a reader that decodes them as it says."""
        cls.check_place(options.folder)
        dataset = cls.find(options.place, options.dtype, options.shape)
        return cls(dataset, allocator, evict=options.evict, resize=options.resize, fast=options.fast)

    @property
    def facts(self) -> dict[str, Json]:
        """How images are decoded, and the mean size of a file."""
        mean = self.dataset.nbytes // len(self.dataset.files)
        return {"resize": self._resize, "fast": int(self._fast), "bytes_per_file": mean}

    def file_bytes(self, pieces: Sequence[Piece]) -> int:
        """Return the size of the pieces' files."""
        files = self.dataset.files
        return sum(files[piece.file].nbytes for piece in pieces)

    def decode_one(self, data: bytes, file: int, out: NDArray[Any]) -> None:
        """Decode one file on this thread, as stage 01 does.

        Raises
        ------
        ReadError
            If it is no image that can be used: with the file and the reason.
        """
        try:
            self._decoder().decode(data, out)
        except self._decoding.ImageError as error:
            raise unusable(self.dataset.where(file), str(error)) from error

    def _decoder(self) -> "Decoder":
        decoder: Decoder | None = getattr(self._mine, "decoder", None)
        if decoder is None:
            decoder = self._decoding.Decoder(self.dataset.shape[-1], resize=self._resize, fast=self._fast)
            self._mine.decoder = decoder
        return decoder


class JpegReader(JpegFiles, DecodingReader):
    """Reads the batch's files, through the page cache or as objects, then decodes each into its place in the buffer.

    The pixels are those that stage 01 writes. Threads do it: libjpeg and the resizing run without Python's lock.
    """

    name = "jpeg"
    capabilities = Capabilities(reads=("files", "objects"), can_evict=True, decodes=True, memory_passes=None)

    def __init__(
        self,
        dataset: Dataset,
        allocator: Allocator,
        *,
        evict: bool = False,
        resize: str = "stretch",
        fast: bool = False,
    ) -> None:
        super().__init__(dataset, allocator, evict=evict, resize=resize, fast=fast)
        self._encoded = encoded(dataset, evict=evict)

    @property
    def received(self) -> Counts | None:
        """What a client of a store counted."""
        return self._encoded.received

    def rounding(self, batches: Iterable[Sequence[Piece]]) -> float:
        """Return 1 of objects, which are asked for in bytes; files are read in whole pages."""
        return super().rounding(batches) if self.received is None else 1.0

    def close(self) -> None:
        """Close connections."""
        self._encoded.close()

    def buffer_bytes(self, batch_size: int) -> int:
        """Return the size of the decoded batch."""
        return batch_size * self.dataset.image_bytes

    def load(self, pieces: Sequence[Piece]) -> Sequence[bytes]:
        """Read the files, whole: one after another, or several objects at a time."""
        return self._encoded.load([piece.file for piece in pieces])

    def decode(
        self, encoded: Sequence[bytes], pieces: Sequence[Piece], buffer: HostMemory | None
    ) -> tuple[Segment, ...]:
        """Decode on this thread."""
        assert buffer is not None
        size = self.dataset.image_bytes
        pixels = buffer.array[: len(pieces) * size].view(DTYPES[self.dataset.dtype])
        images = pixels.reshape(len(pieces), *self.dataset.shape)
        segments = []
        for index, (data, piece) in enumerate(zip(encoded, pieces, strict=True)):
            self.decode_one(data, piece.file, images[index])
            segments.append(Segment("ring", buffer.address + index * size, size, piece.first, 1, piece.file))
        return tuple(segments)
