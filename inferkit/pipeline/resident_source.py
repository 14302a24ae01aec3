"""Batches of images that lie in memory already: no thread and no buffer, only addresses."""

import threading
from collections.abc import Sequence
from itertools import chain
from time import monotonic_ns
from types import TracebackType
from typing import Self

from inferkit.batch import Batch, Piece
from inferkit.readers.base import Reader
from inferkit.readers.split import batches


def _nothing_to_give_back() -> None:
    pass


class ResidentSource:
    """Stands in for a :class:`~inferkit.pipeline.ring.Ring` where reading takes no time.

    A ring's threads would cost more than the few addresses that they hand over.

    Parameters
    ----------
    reader
        One that needs no buffer.
    shares
        Pieces, one share behind the other.
    batch_size
        Images per batch.
    epochs
        Stop after so many; None: go on until cancelled, every batch full.

    Attributes
    ----------
    waits
        Whether :meth:`get` may wait for a reader.
    """

    waits = False

    def __init__(
        self, reader: Reader, shares: Sequence[Sequence[Piece]], batch_size: int, *, epochs: int | None = None
    ) -> None:
        self._reader = reader
        self._wanted = batches(list(chain.from_iterable(shares)), batch_size, epochs)
        self._lock = threading.Lock()
        self._cancelled = False

    def get(self) -> Batch | None:
        """Return the next batch; None when every epoch was delivered or after :meth:`cancel`. Threads may share it."""
        with self._lock:
            pieces = None if self._cancelled else next(self._wanted, None)
        if pieces is None:
            return None
        start = monotonic_ns()
        return Batch(self._reader.read(pieces, None), _nothing_to_give_back, start, monotonic_ns())

    def cancel(self) -> None:
        """Let :meth:`get` return None from now on."""
        self._cancelled = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()
