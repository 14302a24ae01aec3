"""What passes from read to copy: a batch of segments, given back exactly once."""

from collections.abc import Callable
from typing import NamedTuple

from inferkit.errors import DeviceError


class Piece(NamedTuple):
    """Consecutive images of one file that a batch wants.

    Parameters
    ----------
    file
        Index of the file in the data set.
    start, images
        First image within the file, and how many.
    first
        Index of that first image in the whole data set.
    """

    file: int
    start: int
    images: int
    first: int


class Segment(NamedTuple):
    """Consecutive images that lie somewhere in memory.

    Parameters
    ----------
    kind
        ``ring`` (a batch buffer that a reader filled), ``mapped`` (pages of a mapped file), ``memory`` (images that
        always lie in host memory), ``jpeg`` (one encoded image, which the device decodes on its way to the slot) or
        ``device`` (a batch buffer in the device's own memory).
    address, nbytes
        Where, and how many bytes.
    first, images
        Index in the data set of the first image, and how many.
    file
        Index of the file in the data set.
    turned
        How an encoded image is turned upright once it is decoded: :data:`TRANSPOSED`, then :data:`ROWS_REVERSED` and
        :data:`COLUMNS_REVERSED`, added up.
    """

    kind: str
    address: int
    nbytes: int
    first: int
    images: int
    file: int
    turned: int = 0


TRANSPOSED, ROWS_REVERSED, COLUMNS_REVERSED = 1, 2, 4


class Batch:
    """An ordered list of segments that is copied, one after another, to a slot's base.

    Parameters
    ----------
    segments
        Where the images lie, in order.
    release
        What gives the batch's memory back to its owner.
    *times
        When reading, and decoding where there is any, began and ended (``CLOCK_MONOTONIC``, in nanoseconds).
    """

    __slots__ = ("_release", "images", "nbytes", "segments", "times")

    def __init__(self, segments: tuple[Segment, ...], release: Callable[[], None], *times: int) -> None:
        self.segments = segments
        self.images = sum(segment.images for segment in segments)
        self.nbytes = sum(segment.nbytes for segment in segments)
        self.times = times
        self._release: Callable[[], None] | None = release

    def release(self) -> None:
        """Give the memory back, when the batch's last copy has finished; the segments are then no longer valid.

        Raises
        ------
        DeviceError
            If it was given back before: two owners would then fill the same memory.
        """
        release, self._release = self._release, None
        if release is None:
            firsts = [segment.first for segment in self.segments]
            message = f"batch of images {firsts} was given back twice; release it once, after its copy"
            raise DeviceError(message)
        release()
