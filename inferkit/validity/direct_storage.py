"""What a reader should know of the way that bytes took to a GPU's memory."""

from collections.abc import Iterator, Mapping

from inferkit.records.figures import Json
from inferkit.validity.data_origin import Finding


def direct_storage(facts: Mapping[str, Json]) -> Iterator[Finding]:
    """Say which files passed through host memory after all, and why.

    Parameters
    ----------
    facts
        A rank's: ``reader``, whose ``ways`` tell of each file system what it lacks of GPUDirect Storage.
    """
    ways = (facts.get("reader") or {}).get("ways", [])
    files = sum(way["files"] for way in ways)
    for way in ways:
        if way["lacks"]:
            which = "files" if way["files"] == files else f"{way['files']:,} of {files:,} files"
            yield Finding(
                "warning",
                f"compatibility mode, no GPUDirect Storage: {which} on {way['on']} passed through host memory, for "
                f"{way['lacks']}",
            )
