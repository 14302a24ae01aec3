"""Batches that were read beforehand and are delivered again and again: what is behind the reader is measured alone."""

import threading
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import chain, cycle, islice
from time import monotonic_ns

from inferkit.batch import Batch, Piece, Segment
from inferkit.closing import Closing
from inferkit.devices.base import Device
from inferkit.readers.base import Reader
from inferkit.readers.split import batches
from inferkit.records.job import ReadOptions


def _kept() -> None:
    """Give nothing back: the next but a few delivers the same memory."""


class HeldSource(Closing):
    """Stands in for a :class:`~inferkit.pipeline.ring.Ring` whose batches are all there already.

    Parameters
    ----------
    reader, device
        What reads the batches once, and whose host memory they lie in.
    shares
        Pieces, one share behind the other.
    options
        ``held`` batches of ``batch_size`` images.

    Attributes
    ----------
    waits
        Whether handing a batch over and queueing it are worth a thread each: a device's decoder takes its time.
    """

    waits = True

    def __init__(self, reader: Reader, device: Device, shares: Sequence[Sequence[Piece]], options: ReadOptions) -> None:
        self._lock = threading.Lock()
        self._cancelled = False
        wanted = islice(batches(list(chain.from_iterable(shares)), options.batch_size, None), options.held)
        with ExitStack() as undo:
            self._undo = undo
            self._held = cycle([self._read(reader, device, pieces, options.batch_size) for pieces in wanted])
            self._undo = undo.pop_all()

    def _read(self, reader: Reader, device: Device, pieces: Sequence[Piece], images: int) -> tuple[Segment, ...]:
        nbytes = reader.buffer_bytes(images)
        buffer = device.allocate(nbytes) if nbytes else None
        if buffer is not None:
            self._undo.callback(buffer.close)
        return reader.read(pieces, buffer)

    def get(self) -> Batch | None:
        """Return the next batch; None after :meth:`cancel`. Threads may share it."""
        with self._lock:
            segments = next(self._held)
        now = monotonic_ns()
        return None if self._cancelled else Batch(segments, _kept, now, now)

    def cancel(self) -> None:
        """Let :meth:`get` return None from now on."""
        self._cancelled = True

    def close(self) -> None:
        """Free the memory, when no copy from it is under way."""
        self.cancel()
        self._undo.close()
