"""Whether a run's bytes came from where its parameters declare: storage, or memory."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from inferkit.readers import READERS
from inferkit.records.consistent import FROM_STORAGE
from inferkit.records.figures import Json
from inferkit.records.job import ReadOptions
from inferkit.units import bandwidth, gigabytes, percent

SAID = 0.01
"""Share of the bytes from which on is said that they were not what was declared."""
HEADERS = 0.05
"""Share of an interface's bytes that are headers: 66 and 14 of 1,514, and TLS."""
OTHERS = 0.05
"""Share of what a disk or mount moves for others from which on is said so; a system reads a little all the time."""
OTHERS_MOST = 0.25
"""The same from which on a figure may not be quoted, as of the CPUs' time (disturbance.py)."""
SMALL_BYTES = 1e9
"""What caches in drives, in their controllers and under virtual machines hold with ease, and so serve instead."""
MANY_TIMES = 10
"""Times that a small data set must have been read for it to matter that a device's cache may have served it."""


CAUSES = {
    "throttled": "the store wanted fewer (503, SlowDown)",
    "server": "the store failed (5xx)",
    "connection": "the connection broke",
    "length": "another length came",
    "expired": "the credentials had expired",
}
"""Why a request is repeated, in words; see :class:`inferkit.objects.counts.Counts`."""


class Finding(NamedTuple):
    """What to say, and how: as a ``reason`` (the run is INVALID), as ``unverified``, or as a ``warning``."""

    kind: str
    text: str


def came_from_storage(facts: Mapping[str, Json]) -> bool:
    """Tell whether what was read is known to have come from the storage, and not from memory."""
    share = (facts.get("storage") or {}).get("from_storage")
    return share is not None and share >= FROM_STORAGE


def weigh(
    source: str, reading: ReadOptions, storage: dict[str, Json] | None, *, demo: bool = False
) -> Iterator[Finding]:
    """Hold the declaration against what the kernel counted.

    Parameters
    ----------
    source
        ``storage`` or ``memory``: what the parameters declare.
    reading
        What was read, and how.
    storage
        From :class:`inferkit.validity.io_accounting.IoAccounting`; None where nothing was read from files.
    demo
        Whether the figure is not for quoting: others' use of the storage is no more than a warning then.
    """
    if source == "storage":
        yield from _storage(reading, storage, demo=demo)
    elif storage is not None:
        yield from _memory(reading, storage)
    yield from _repeated(storage or {})


def _repeated(storage: dict[str, Json]) -> Iterator[Finding]:
    """Say how many requests to an object store were repeated, and why: they took time that no stage shows."""
    if retries := storage.get("retries"):
        causes = ", ".join(f"{CAUSES.get(cause, cause)} {count:,}" for cause, count in sorted(retries.items()))
        told = f"{sum(retries.values()):,} of {storage['requests']:,} requests were repeated"
        yield Finding("warning", f"{told}: {causes}")


def _memory(reading: ReadOptions, storage: dict[str, Json]) -> Iterator[Finding]:
    share = storage["from_storage"]
    if storage["in_memory"] and all(own["kind"] == "memory" for own in storage.get("holders", [])):
        yield Finding("warning", f"memory is what was measured: {_which(reading, storage, 'memory')}")
    elif not READERS[reading.reader].capabilities.has_ceiling and _missing(storage) is not None:
        yield from _faults(storage)
    elif share is not None and share > FROM_STORAGE:
        yield Finding("warning", f"source is memory, but {percent(share)} of the bytes came from storage")
    elif share is not None and share > SAID:
        yield Finding(
            "reason",
            f"source is memory, but {percent(share)} of the bytes came from storage, which may have taken most of the "
            "time: neither was measured; read the files once before (cat), or declare source: storage with evict",
        )


def _missing(storage: dict[str, Json]) -> float | None:
    """Return the share of the pages that were not in memory before the run or after it; None where not told."""
    told = [share for name in ("resident_before", "resident_after") if (share := storage.get(name)) is not None]
    return 1 - min(told) if told else None


def _faults(storage: dict[str, Json]) -> Iterator[Finding]:
    """Look for page faults that read: a stage that nothing measures alone, so that the prediction lacks the slowest.

    Missing pages are read once each: how much that was of all bytes decides, where it is counted.
    """
    share, missing = storage["from_storage"], _missing(storage) or 0.0
    kind = "reason" if (missing if share is None else share) > 1 - FROM_STORAGE else "warning"
    if missing > SAID:
        known = "" if share is None else f", and {percent(share)} of all bytes came from storage"
        yield Finding(
            kind,
            f"source is memory, but {percent(missing)} of the pages were not in memory{known}: page faults read them, "
            "and no ceiling says how fast; read the files once before (cat), stage them to /dev/shm, or use reader "
            "buffered",
        )


def _storage(reading: ReadOptions, storage: dict[str, Json] | None, *, demo: bool) -> Iterator[Finding]:
    if storage is None:
        yield Finding("reason", f"source is storage, but reader {reading.reader} reads none: declare source: memory")
        return
    if storage["in_memory"]:
        where = f"{_which(reading, storage, 'memory')}, which is memory"
        yield Finding("reason", f"source is storage, but {where}: declare source: memory")
        return
    shares = [share for share in (storage["from_storage"], _at_most(reading, storage)) if share is not None]
    share = min(shares, default=None)
    counted = storage["from_storage"] is not None
    if share is not None and share < FROM_STORAGE:
        yield Finding("reason", _not_from_storage(reading, storage, share, "only" if counted else "at most"))
        return
    yield from _nearly(reading, storage, share if counted else None)
    yield from _circumstances(reading, storage)
    yield from _others(storage, demo=demo)


def _nearly(reading: ReadOptions, storage: dict[str, Json], share: float | None) -> Iterator[Finding]:
    """Say what is lacking of a proof."""
    if share is None:
        yield Finding("unverified", "that the bytes came from storage: the kernel does not count this process's reads")
    elif share < 1 - SAID:
        cause, _ = _cause(reading, storage)
        yield Finding("warning", f"only {percent(share)} of the bytes came from storage, {cause}")
    if any(own["kind"] == "local store" for own in storage.get("holders", [])):
        yield Finding("unverified", "that a network was measured: the object store answers on this machine (loopback)")
    if any(own.get("here") for own in storage.get("holders", [])):
        yield Finding("unverified", f"that a network was measured: this machine itself serves {reading.folder}")
    if disks := sorted({disk for own in storage.get("holders", []) for disk in own.get("of_host", ())}):
        whose = f"{' and '.join(disks)} {'is' if len(disks) == 1 else 'are'} of a virtual machine"
        yield Finding("unverified", f"that a drive was read: {whose}, and only its host knows what is underneath")
    if any(own["kind"] == "fuse" for own in storage.get("holders", [])):
        where = _which(reading, storage, "fuse")
        yield Finding(
            "unverified", f"that storage was read: {where}, and only the program behind it knows whence it reads"
        )
    if any(own["kind"] == "unresolved" for own in storage.get("holders", [])):
        where = _which(reading, storage, "unresolved")
        yield Finding("unverified", f"that disks were read: {where}, and nobody can tell what is underneath")


def _circumstances(reading: ReadOptions, storage: dict[str, Json]) -> Iterator[Finding]:
    """Say what makes of a figure that is true another than it seems."""
    empty, stuck = storage.get("empty") or 0.0, storage.get("resident_before") or 0.0
    if empty > SAID:
        kind = "reason" if empty > 1 - FROM_STORAGE else "warning"
        yield Finding(kind, f"source is storage, but {percent(empty)} of the bytes are {_HOLES}: {_FILL}")
    if stuck > SAID and _drops(reading):
        yield Finding("warning", f"evict could not drop {percent(stuck)} of the pages: another process uses the files")
    if not READERS[reading.reader].capabilities.has_ceiling:
        what = f"reader {reading.reader} read the storage by page faults, which no ceiling measures"
        yield Finding("warning", f"{what}: a prediction without it is none; use reader buffered or direct")
    yield from _limited(storage)
    yield from _again_and_again(storage)


def _limited(storage: dict[str, Json]) -> Iterator[Finding]:
    """Say which limits a control group set: a figure at them is theirs, and not the disk's."""
    for own in storage.get("limits") or ():
        told = [bandwidth(own["bytes_per_s"])] if "bytes_per_s" in own else []
        told += [f"{own['reads_per_s']:,} reads/s"] if "reads_per_s" in own else []
        yield Finding(
            "warning",
            f"a control group limits reads of {own['device']} to {' and '.join(told)} (io.max, blkio.throttle): "
            "the figure is that of the limit, not of the storage, where it comes near",
        )


def _again_and_again(storage: dict[str, Json]) -> Iterator[Finding]:
    """Say where a set is so small that caches of devices hold it, which no counter of this machine shows."""
    different = storage.get("different_bytes") or 0
    times = storage["read_bytes"] / different if different else 0.0
    if different < SMALL_BYTES and times > MANY_TIMES:
        what = f"the data set's {gigabytes(different)} were read {times:,.0f} times"
        yield Finding(
            "warning",
            f"{what}: a cache of drive, controller, hypervisor or server may have answered; use "
            f"{gigabytes(SMALL_BYTES)} or more, best five times the memory of what may cache (as MLPerf Storage asks)",
        )


def _others(storage: dict[str, Json], *, demo: bool) -> Iterator[Finding]:
    """Say where a disk or mount worked for others too: what it did for them it did not do for the run."""
    for share, told in (*_others_read(storage), *_others_wrote(storage)):
        sure = share >= OTHERS_MOST and not storage.get("stacked")
        yield Finding("reason" if sure and not demo else "warning", told)


def _others_wrote(storage: dict[str, Json]) -> Iterator[tuple[float, str]]:
    """Yield the share of what a disk moved that was written."""
    read, written = storage.get("disk_bytes"), storage.get("written_bytes")
    share = written / (read + written) if read and written else 0.0
    if share > OTHERS:
        what = f"{percent(share)} of what the disk moved was written, and not by us: another program writes"
        yield share, f"{what}, or what it wrote was not on the disk yet (sync); end it, or wait for it"


def _others_read(storage: dict[str, Json]) -> Iterator[tuple[float, str]]:
    """Yield the share of a disk's or mount's reads that this run did not ask for."""
    process = storage.get("process_read_bytes")
    if any(own["kind"] == "local store" for own in storage.get("holders", [])):
        return  # the store itself speaks over loopback
    objects = "interface" in storage
    for name, what in (("disk_bytes", "disk"), ("wire_bytes", "interface" if objects else "mount")):
        everybody = storage.get(name)
        if process is not None and everybody and 1 - process / everybody > OTHERS + objects * HEADERS:
            share = 1 - process / everybody
            also = f", or {_chain(storage)} reads more than it is asked for" if storage.get("stacked") else ""
            yield share, f"{percent(share)} of the {what}'s reads were not ours: another program read it{also}"


_HOLES = "holes or blocks that were never written, for which no disk is asked"
_FILL = "write the files in full (cp --sparse=never)"


def _not_from_storage(reading: ReadOptions, storage: dict[str, Json], share: float, how: str) -> str:
    cause, fix = _cause(reading, storage)
    return f"source is storage, but {how} {percent(share)} of the bytes came from it, {cause}: {fix}"


def _cause(reading: ReadOptions, storage: dict[str, Json]) -> tuple[str, str]:
    """Return what most likely took the storage's place, and what to do."""
    empty, encoded = storage.get("empty") or 0.0, storage.get("encoded") or 0.0
    if empty > SAID:
        return f"for {percent(empty)} are {_HOLES}", f"{_FILL}, or declare source: memory"
    if encoded > SAID:
        return (
            f"for {percent(encoded)} are compressed by the file system, and less than was read had to come",
            "write the files without compression, or to another file system",
        )
    if "interface" in storage:
        return (
            f"though its client received all: interface {storage['interface']} brought less",
            "let one interface alone lead to the store, and no proxy of this machine",
        )
    if _below(storage):
        return (
            f"the rest from a cache below the file system ({_chain(storage)})",
            "lay the files on the disk itself, or give its loop device --direct-io=on",
        )
    if READERS[reading.reader].capabilities.passes_cache:
        return (
            f"though reader {reading.reader} passes the page cache by: something below the file system took its place",
            "lay the files on a disk without a cache, or declare source: memory",
        )
    if _drops(reading) and (storage.get("resident_before") or 0.0) > SAID:
        return "the rest from pages that evict cannot drop, for another process uses the files", "end that process"
    evict = "" if reading.evict else "set evict: true, "
    return "the rest from the page cache", f"use reader direct, {evict}or declare source: memory"


def _below(storage: dict[str, Json]) -> bool:
    """Whether disks delivered less than the process asked block devices for."""
    process, disk = storage.get("process_read_bytes"), storage.get("disk_bytes")
    return process is not None and disk is not None and disk < (1 - SAID) * process


def _chain(storage: dict[str, Json]) -> str:
    return ", ".join(own["on"] for own in storage.get("holders", []))


def _which(reading: ReadOptions, storage: dict[str, Json], kind: str) -> str:
    """Say what lies on a kind of holder: the folder, or how many of its files."""
    own = [told for told in storage.get("holders", []) if told["kind"] == kind]
    where = own[0]["on"] if own else storage["filesystem"]
    if len(own) == len(storage.get("holders", [])):
        return f"{reading.folder} lies on {where}"
    files, asked = sum(told["files"] for told in own), sum(told["files"] for told in storage["holders"])
    return f"{files} of {asked} files of {reading.folder} ({own[0]['example']} …) lie on {where}"


def _drops(reading: ReadOptions) -> bool:
    return reading.evict and READERS[reading.reader].capabilities.can_evict


def _at_most(reading: ReadOptions, storage: dict[str, Json]) -> float | None:
    """Return the largest share that can have come from storage, by the pages that were resident.

    Pages that stayed resident to the end were read once at most, and not at all if they were there before. None where
    pages were dropped, passed by, or are not told.
    """
    before, after = storage.get("resident_before"), storage.get("resident_after")
    passes = READERS[reading.reader].capabilities.passes_cache
    if before is None or after is None or after < 1 or _drops(reading) or passes:
        return None
    return float(storage["dataset_bytes"] * (1 - before) / storage["read_bytes"]) if storage["read_bytes"] else None
