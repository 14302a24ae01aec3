"""What each reader thread did: bytes, balance, and when the first and the last had read their share once."""

from collections.abc import Sequence
from typing import NamedTuple

from inferkit.records.figures import Json


class ThreadStats(NamedTuple):
    """One reader thread's work, from the opening of the ring on.

    Parameters
    ----------
    nbytes
        Bytes that it read from files.
    images
        Images that it filled buffers with.
    cpu_s
        CPU time of the thread from its first batch to its end, warm-up included.
    share_done_ns
        When it had read as many images as its share of an epoch has (``CLOCK_MONOTONIC``); 0 if it did not get there.
    """

    nbytes: int = 0
    images: int = 0
    share_done_ns: int = 0
    cpu_s: float = 0.0


def reader_facts(stats: Sequence[ThreadStats], start_ns: int) -> dict[str, Json]:
    """Return what a record tells of the reader threads.

    Parameters
    ----------
    stats
        Of the threads that had anything to read.
    start_ns
        When the clock started.

    Notes
    -----
    A run goes on for a set time and wraps epochs, so *done* is said of a thread's first epoch: ``first_done_s`` is
    when the first thread had read its share once, ``last_done_s`` when the last had. Far apart, they tell that some
    threads got more of the storage than others. None: the run ended before. The few batches that were read before the
    clock started count as done, which makes both a little early.

    CPU time is the threads' own, by their clocks, over all that they read from files: the warm-up and what was read
    after the last window count on both sides. What the kernel does for them elsewhere (io_uring's workers, interrupts)
    is not in it.
    """
    shares = [own.nbytes for own in stats]
    ends = [max(0, own.share_done_ns - start_ns) / 1e9 for own in stats if own.share_done_ns]
    cpu_s, nbytes = sum(own.cpu_s for own in stats), sum(shares)
    return {
        "bytes_per_thread": shares,
        "balance": min(shares) / max(shares) if any(shares) else None,
        "first_done_s": min(ends, default=None),
        "last_done_s": max(ends) if ends and len(ends) == len(stats) else None,
        "thread_cpu_s_per_gb": cpu_s / nbytes * 1e9 if nbytes else None,
    }
