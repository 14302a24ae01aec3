"""The way that a run's bytes took to a GPU's memory, in words, where a reader delivers there."""

from collections.abc import Iterator

from inferkit.records.run import Run
from inferkit.text import plain


def way_rows(run: Run) -> Iterator[tuple[str, str]]:
    """Yield what a record tells of each file system's way, as rows of name and text."""
    reader = run.facts.get("reader") or {}
    for way in reader.get("ways", []):
        lacks = f"compatibility mode, through host memory: {plain(way['lacks'])}" if way["lacks"] else ""
        files = f"{way['files']:,} file{'' if way['files'] == 1 else 's'} on {plain(way['on'])}"
        yield "way to the GPU", f"{lacks or 'GPUDirect Storage'} ({files}; {plain(reader['library'])})"
