"""Who reads what: images of a data set shared out among threads, and each thread's share cut into batches."""

import random
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise

from inferkit.batch import Piece
from inferkit.errors import ParameterError


def split(images_per_file: Sequence[int], threads: int, mode: str, *, seed: int = 0) -> list[list[Piece]]:
    """Share out one epoch.

    Parameters
    ----------
    images_per_file
        Images of each file, in the data set's order.
    threads
        Reader threads; there may be more than files, or than images.
    mode
        ``uniform``: each image to one thread, in contiguous shares that differ by one image at most, so that a thread
        has its own files but for those at the ends of its share. ``all``: every image to every thread, the files in
        an order of its own.
    seed
        Of the orders of ``all``.

    Returns
    -------
    shares
        One list of pieces per thread; empty where there are fewer images than threads.
    """
    firsts = [0, *accumulate(images_per_file)]
    files = [Piece(k, 0, n, firsts[k]) for k, n in enumerate(images_per_file) if n]
    if mode == "all":
        return [random.Random(f"{seed}/{thread}").sample(files, len(files)) for thread in range(threads)]
    if mode != "uniform":
        message = (
            f"split is {mode!r}: it must be uniform (each image once per epoch) or all (each image by every thread)"
        )
        raise ParameterError(message)
    total = firsts[-1]
    bounds = [total * thread // threads for thread in range(threads + 1)]
    return [_cut(files, low, high) for low, high in pairwise(bounds)]


def _cut(files: Sequence[Piece], low: int, high: int) -> list[Piece]:
    """Return the pieces of the files that hold images low … high - 1 of the data set."""
    share = []
    for file, _, count, first in files:
        start, end = max(low, first), min(high, first + count)
        if start < end:
            share.append(Piece(file, start - first, end - start, start))
    return share


def behind(share: Sequence[Piece], skip: int) -> list[Piece]:
    """Return a share that begins behind so many of its images, which come last; it may be gone through several times.

    Parameters
    ----------
    share
        A thread's pieces of one epoch.
    skip
        Images, of more epochs than one where there are as many.
    """
    bounds = [0, *accumulate(piece.images for piece in share)]
    first = skip % bounds[-1] if bounds[-1] else 0
    place = sum(bound <= first for bound in bounds[1:])
    if not share or not first:
        return list(share)
    piece, taken = share[place], first - bounds[place]
    rest = Piece(piece.file, piece.start + taken, piece.images - taken, piece.first + taken)
    begun = [piece._replace(images=taken)] if taken else []
    return [rest, *share[place + 1 :], *share[:place], *begun]


def batches(share: Sequence[Piece], batch_size: int, epochs: int | None) -> Iterator[tuple[Piece, ...]]:
    """Cut a thread's share into batches.

    Parameters
    ----------
    share
        The thread's pieces of one epoch.
    batch_size
        Images per batch.
    epochs
        How often to go through the share; the last batch is then smaller where the images do not divide. None: for
        ever, every batch full, wrapping from an epoch into the next.
    """
    if not share:
        return
    batch: list[Piece] = []
    room = batch_size
    epoch = 0
    while epochs is None or epoch < epochs:
        for file, start, count, first in share:
            while count:
                taken = min(count, room)
                batch.append(Piece(file, start, taken, first))
                start, count, first, room = start + taken, count - taken, first + taken, room - taken
                if not room:
                    yield tuple(batch)
                    batch, room = [], batch_size
        epoch += 1
    if batch:
        yield tuple(batch)
