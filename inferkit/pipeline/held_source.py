"""Batches that were read beforehand and are delivered again and again: what is behind the reader is measured alone."""

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from itertools import chain, islice
from queue import SimpleQueue
from time import monotonic_ns

from inferkit.batch import Batch, Piece, Segment
from inferkit.closing import Closing, close_all
from inferkit.devices.base import HostMemory
from inferkit.readers.base import Reader
from inferkit.readers.split import batches
from inferkit.records.job import ReadOptions


class HeldSource(Closing):
    """Stands in for a :class:`~inferkit.pipeline.ring.Ring` whose batches are all there already.

    Parameters
    ----------
    reader
        What reads the batches once.
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

    def __init__(self, reader: Reader, shares: Sequence[Sequence[Piece]], options: ReadOptions) -> None:
        self._idle: SimpleQueue[tuple[Segment, ...] | None] = SimpleQueue()
        self._cancelled = False
        wanted = islice(batches(list(chain.from_iterable(shares)), options.batch_size, None), options.held)
        self._memory: list[HostMemory] = []
        with ExitStack() as undo:
            undo.callback(self.close)
            for pieces in wanted:
                self._idle.put(self._read(reader, pieces, options.batch_size))
            undo.pop_all()

    def _read(self, reader: Reader, pieces: Sequence[Piece], images: int) -> tuple[Segment, ...]:
        buffer = reader.buffer(images)
        if buffer is not None:
            self._memory.append(buffer)
        return reader.read(pieces, buffer)

    def get(self) -> Batch | None:
        """Return the batch that was given back longest ago; None after :meth:`cancel`. Threads may share it."""
        segments = None if self._cancelled else self._idle.get()
        now = monotonic_ns()
        return None if segments is None else Batch(segments, partial(self._idle.put, segments), now, now)

    def cancel(self) -> None:
        """Let :meth:`get`, where somebody may wait, return None; any thread may call it."""
        self._cancelled = True
        self._idle.put(None)

    def close(self) -> None:
        """Free the memory, when no copy from it is under way."""
        self.cancel()
        memory, self._memory = self._memory, []
        close_all(own.close for own in memory)
