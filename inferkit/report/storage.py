"""Where a run's bytes came from, in words: what holds the files, and what was counted."""

from collections.abc import Iterator

from inferkit.records.figures import Json
from inferkit.records.run import Run
from inferkit.report.labels import share_text
from inferkit.text import plain
from inferkit.units import gigabytes, percent


def storage_rows(run: Run) -> Iterator[tuple[str, str]]:
    """Yield one row of what is told of the storage; none where no files were read."""
    storage = run.facts.get("storage")
    if isinstance(storage, dict) and (words := list(_words(storage))):
        yield "storage", " · ".join(words)


def _words(storage: dict[str, Json]) -> Iterator[str]:
    if places := [plain(str(own.get("on"))) for own in storage.get("holders") or [] if isinstance(own, dict)]:
        yield " and ".join(dict.fromkeys(places))
    if (share := _number(storage, "from_storage")) is not None:
        yield f"{share_text(share)} of what was read came from it"
    if (share := _number(storage, "covered")) is not None:
        yield f"{percent(share)} of the data set in the measured windows"
    kept = [_number(storage, name) for name in ("resident_before", "resident_after")]
    if any(share is not None for share in kept):
        before, after = map(share_text, kept)
        yield f"in the page cache {before} before, {after} after"
    counts = {"delivered_bytes": "delivered", "disk_bytes": "from disks", "wire_bytes": "from the network"}
    told = [f"{gigabytes(count)} {words}" for name, words in counts.items() if (count := _number(storage, name))]
    if told:
        yield ", ".join(told)


def _number(storage: dict[str, Json], name: str) -> float | None:
    value = storage.get(name)
    return value if isinstance(value, int | float) else None
