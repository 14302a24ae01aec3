"""Whether a run's bytes came from where its parameters declare: storage, or memory."""

from collections.abc import Iterator
from typing import NamedTuple

from inferkit.readers import READERS
from inferkit.records.job import ReadOptions
from inferkit.records.run import Json
from inferkit.units import percent

FROM_STORAGE = 0.9
"""Least share of the read bytes that must have come from the storage for a run that declares so."""


class Finding(NamedTuple):
    """What to say, and how: as a ``reason`` (the run is INVALID), as ``unverified``, or as a ``warning``."""

    kind: str
    text: str


def weigh(source: str, reading: ReadOptions, storage: dict[str, Json] | None) -> Iterator[Finding]:
    """Hold the declaration against what the kernel counted.

    Parameters
    ----------
    source
        ``storage`` or ``memory``: what the parameters declare.
    reading
        What was read, and how.
    storage
        From :class:`inferkit.validity.io_accounting.IoAccounting`; None where nothing was read from files.
    """
    if source == "storage":
        yield from _storage(reading, storage)
    elif storage is not None:
        yield from _memory(reading, storage)


def _memory(reading: ReadOptions, storage: dict[str, Json]) -> Iterator[Finding]:
    share = storage["from_storage"]
    if storage["in_memory"]:
        yield Finding("warning", f"memory is what was measured: {reading.folder} lies on {storage['filesystem']}")
    elif share is not None and share > 1 - FROM_STORAGE:
        yield Finding("warning", f"source is memory, but {percent(min(1.0, share))} of the bytes came from storage")


def _storage(reading: ReadOptions, storage: dict[str, Json] | None) -> Iterator[Finding]:
    if storage is None:
        yield Finding("reason", f"source is storage, but reader {reading.reader} reads none: declare source: memory")
        return
    if storage["in_memory"]:
        where = f"{reading.folder} lies on {storage['filesystem']}, which is memory"
        yield Finding("reason", f"source is storage, but {where}: declare source: memory")
        return
    share, most = storage["from_storage"], _at_most(reading, storage)
    if share is not None and share < FROM_STORAGE:
        yield Finding("reason", _from_cache(f"only {percent(share)}"))
    elif share is None and most is not None and most < FROM_STORAGE:
        yield Finding("reason", _from_cache(f"at most {percent(most)}"))
    elif share is None:
        yield Finding("unverified", "that the bytes came from storage: the kernel does not count this process's reads")
    elif storage.get("stacked"):
        yield Finding("unverified", "that disks were read: the file system's device is made of others, or of a file")


def _from_cache(share: str) -> str:
    return (
        f"source is storage, but {share} of the bytes came from it, the rest from the page cache: "
        "use reader direct, set evict: true, or declare source: memory"
    )


def _at_most(reading: ReadOptions, storage: dict[str, Json]) -> float | None:
    """Return the largest share that can have come from storage where nobody counts, by the pages that were resident.

    Pages that stayed resident to the end were read once at most, and not at all if they were there before. None where
    pages were dropped, passed by, or are not told.
    """
    before, after = storage.get("resident_before"), storage.get("resident_after")
    dropped = reading.evict and READERS[reading.reader].capabilities.can_evict
    if before is None or after is None or after < 1 or dropped or READERS[reading.reader].capabilities.passes_cache:
        return None
    return float(storage["dataset_bytes"] * (1 - before) / storage["read_bytes"]) if storage["read_bytes"] else None
