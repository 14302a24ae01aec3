"""What each reader thread did: bytes, balance, and when the first and the last had read their share once."""

from collections.abc import Sequence
from typing import NamedTuple

from inferkit.records.run import Json, Repeat


class ThreadStats(NamedTuple):
    """One reader thread's work, from the opening of the ring on.

    Parameters
    ----------
    nbytes
        Bytes that it read from files.
    images
        Images that it filled buffers with.
    share_done_ns
        When it had read as many images as its share of an epoch has (``CLOCK_MONOTONIC``); 0 if it did not get there.
    """

    nbytes: int = 0
    images: int = 0
    share_done_ns: int = 0


def reader_facts(stats: Sequence[ThreadStats], repeats: Sequence[Repeat], start_ns: int) -> dict[str, Json]:
    """Return what a record tells of the reader threads.

    Parameters
    ----------
    stats
        Of the threads that had anything to read.
    repeats
        The windows, for CPU time and bytes of those that count.
    start_ns
        When the clock started.

    Notes
    -----
    A run goes on for a set time and wraps epochs, so *done* is said of a thread's first epoch: ``first_done_s`` is
    when the first thread had read its share once, ``last_done_s`` when the last had. Far apart, they tell that some
    threads got more of the storage than others. None: the run ended before. The few batches that were read before the
    clock started count as done, which makes both a little early.
    """
    shares = [own.nbytes for own in stats]
    ends = [max(0, own.share_done_ns - start_ns) / 1e9 for own in stats if own.share_done_ns]
    kept = [repeat for repeat in repeats if not repeat.warmup]
    cpu_s, nbytes = sum(repeat.cpu_s or 0.0 for repeat in kept), sum(repeat.nbytes for repeat in kept)
    return {
        "bytes_per_thread": shares,
        "balance": min(shares) / max(shares) if any(shares) else None,
        "first_done_s": min(ends, default=None),
        "last_done_s": max(ends) if ends and len(ends) == len(stats) else None,
        "cpu_s_per_gb": cpu_s / nbytes * 1e9 if nbytes else None,
    }
