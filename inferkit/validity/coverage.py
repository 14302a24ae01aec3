"""How much of a data set was read while it was measured: a part of it may be faster than the rest.

It may lie where a drive is fastest, or in the cache of a drive or hypervisor, or have the small files.
"""

from collections.abc import Iterator

from inferkit.records.job import ReadOptions
from inferkit.records.outcome import Outcome
from inferkit.units import percent
from inferkit.validity.data_origin import SAID, Finding

COVERED = "covered"
"""The share's name among a record's facts of storage."""


def covered(outcome: Outcome) -> float | None:
    """Return the share of a data set's images that the measured windows of all processes can have read.

    Each process reads on where those before it ended. None where no files were read, or it is not known of how many.
    """
    images = _images(outcome)
    return min(1.0, _read(outcome) / images) if images else None


def part(reading: ReadOptions, outcome: Outcome) -> Iterator[Finding]:
    """Say where less than all of a data set was read from storage.

    Parameters
    ----------
    reading
        Threads whose ``split`` is ``all`` read some images more than once.
    outcome
        Of all processes together.
    """
    share, most = covered(outcome), "at most " if reading.split == "all" else ""
    if share is not None and share < 1 - SAID:
        told = f"{most}{percent(share)} of the data set was read in the measured windows"
        count = f"{_read(outcome):,} of {_images(outcome):,} images"
        yield Finding("warning", f"{told} ({count}), and the rest may be slower or faster: lengthen duration_s")


def _read(outcome: Outcome) -> int:
    return sum(repeat.images for repeat in outcome.repeats if not repeat.warmup)


def _images(outcome: Outcome) -> int:
    return int((outcome.facts.get("storage") or {}).get("dataset_images") or 0)
