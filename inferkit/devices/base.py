"""The contract of a device: it owns memory, and works in the background, on streams.

Work that was handed to a device is a :class:`Span`. Only ``Span.wait`` blocks.
"""

import ctypes
from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from inferkit.batch import Segment
from inferkit.closing import Closing
from inferkit.errors import DeviceError
from inferkit.records.figures import Json

Bytes = NDArray[np.uint8]
OWN = "device"
"""The kind of memory that is the device's own, and of the segments that lie there."""


def bytes_at(address: int, nbytes: int) -> Bytes:
    """Return memory as an array of bytes, without a copy; its owner must keep it."""
    return np.ctypeslib.as_array((ctypes.c_ubyte * nbytes).from_address(address))


def check_fits(segments: Sequence[Segment], slot: "Slot") -> None:
    """Refuse to copy more than a slot holds.

    Raises
    ------
    DeviceError
        If the segments are larger together.
    """
    total = sum(segment.nbytes for segment in segments)
    if total > slot.nbytes:
        message = f"batch of {total} bytes does not fit a slot of {slot.nbytes}: allocate slots for the largest batch"
        raise DeviceError(message)


class Span(Protocol):
    """A piece of work on a stream: wait for it, then read when it began and ended (``CLOCK_MONOTONIC``)."""

    def wait(self) -> None:
        """Block, without spinning, until the work is done; raise what it raised."""

    def done(self) -> bool:
        """Tell whether the work is done, without blocking."""

    @property
    def start_ns(self) -> int:
        """When the work began; valid once it is done."""

    @property
    def end_ns(self) -> int:
        """When the work ended; valid once it is done."""


class HostMemory(Protocol):
    """Page-aligned host memory; ``array`` shows it as bytes and must not be used after ``close``.

    Of a device's own memory the host sees nothing: ``array`` is empty then.
    """

    address: int
    nbytes: int
    array: Bytes

    def close(self) -> None:
        """Give the memory back; calling it again does nothing."""


class Registration(Protocol):
    """Existing memory that a device can copy from at full speed until ``close``."""

    def close(self) -> None:
        """Undo the registration; calling it again does nothing."""


class Slot(Protocol):
    """One batch's input on the device."""

    @property
    def address(self) -> int:
        """Where it lies."""

    @property
    def nbytes(self) -> int:
        """How many bytes it holds."""


class Decoding(NamedTuple):
    """What a device is told of the JPEG files that it decodes.

    Parameters
    ----------
    size
        Height and width of the images that they become: 3 planes of uint8, red first.
    crop
        Use the largest square at the centre; else the whole photograph is resized, whatever its proportions.
    lanes, files
        Batches that are decoded side by side, and how many files there are.
    software
        Decodes one encoded image on the CPU, of those that the device refuses: its pixels, shape (3, size, size).
    """

    size: int
    crop: bool
    lanes: int
    files: int
    software: Callable[[Segment], Bytes]


class JpegDecoder(Protocol):
    """A device's decoder."""

    @property
    def facts(self) -> dict[str, Json]:
        """What the record should tell of it."""


class Device(Closing):
    """A device that receives batches.

    Attributes
    ----------
    kind
        ``cpu`` or ``cuda``.
    name
        A name that people recognise in the record.
    memories
        Kinds of host memory that it can copy from; buffers should use the first.
    poison
        Whether memory that was given back is overwritten, so that a test sees any use after release.
    """

    kind: str
    name: str
    memories: tuple[str, ...]
    poison: bool

    def attached(self) -> AbstractContextManager[None]:
        """Make calls of this thread cheaper until the ``with`` block ends; for threads that use the device often."""
        return nullcontext()

    @abstractmethod
    def allocate(self, nbytes: int, memory: str = "") -> HostMemory:
        """Allocate page-aligned host memory of a kind (by default the best one), with all its pages present.

        :data:`OWN` is the device's own memory, for readers that deliver there.

        Raises
        ------
        DeviceError
            If there is not that much memory, or the device knows no such kind.
        """

    @abstractmethod
    def register(self, address: int, nbytes: int, *, writable: bool) -> Registration:
        """Let the device copy from existing, page-aligned memory (a file's pages).

        Raises
        ------
        DeviceError
            If the device refuses it.
        """

    def open_decoder(self, decoding: Decoding) -> JpegDecoder:
        """Let :meth:`copy_in` take encoded images from now on.

        Raises
        ------
        DeviceError
            If the device has no decoder, or a library lacks.
        """
        message = f"device {self.kind} decodes no JPEG files: set device: cuda, or use reader jpeg"
        raise DeviceError(message)

    def prepare(self, segments: tuple[Segment, ...]) -> tuple[Segment, ...]:
        """Look at encoded images before they are copied in; several threads may, to save the one that copies time."""
        return segments

    @abstractmethod
    def slot(self, nbytes: int) -> Slot:
        """Allocate one batch's input on the device; freed with the device."""

    @abstractmethod
    def copy_in(self, segments: Sequence[Segment], slot: Slot) -> Span:
        """Copy the segments, one after another, to the slot's base, in the background; decode those that are encoded.

        The segments' memory must stay as it is until the span is done.

        Raises
        ------
        DeviceError
            If they do not fit.
        """

    def copy_out(self, outputs: Sequence[tuple[Slot, HostMemory]], after: Span | None) -> Span:
        """Copy slots to host memory, in the background, once ``after`` is done.

        Raises
        ------
        DeviceError
            If the device has no memory of its own to copy from.
        """
        message = f"device {self.kind} has no memory of its own to copy from: leave directions at in"
        raise DeviceError(message)

    @abstractmethod
    def synchronize(self) -> None:
        """Block until all submitted work has ended, whether it succeeded or not."""

    @abstractmethod
    def read_back(self, slot: Slot, nbytes: int) -> Bytes:
        """Return a copy of the slot's first bytes; blocks, for checks only."""

    @abstractmethod
    def close(self) -> None:
        """Finish all work and free everything; calling it again does nothing."""
