"""A process that copies files to memory. It is bound to a NUMA node when it starts, so that the pages lie there.

In: one JSON line, ``{"source": …, "target": …, "files": […]}``. Out: ``{"done": bytes}`` after each file, then
``{"nodes": {node: pages}, "unknown": why}``.
"""

import errno
import json
import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from inferkit.files import replacing
from inferkit.linux.numa_pages import file_nodes

CHUNK = 1 << 26


def copy_file(source: Path, target: Path) -> int:
    """Let the kernel copy a file, under another name until it is whole; return its size in bytes.

    Raises
    ------
    OSError
        As the kernel says. Nothing is left of the copy.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as read, replacing(target) as write:
        size = os.fstat(read.fileno()).st_size
        done = 0
        while done < size:
            sent = os.sendfile(write.fileno(), read.fileno(), done, min(CHUNK, size - done))
            if not sent:
                raise OSError(errno.EIO, f"{source} became shorter while it was copied")
            done += sent
    return size


def pages_of(paths: list[Path]) -> tuple[Counter[int], str]:
    """Count the pages of files on each node, or say why that is unknown."""
    nodes: Counter[int] = Counter()
    try:
        for path in paths:
            if path.stat().st_size:
                nodes += file_nodes(path)
    except OSError as error:
        return Counter(), error.strerror or str(error)
    return nodes, ""


def copy_all(job: dict[str, Any], tell: Callable[[dict[str, Any]], None]) -> None:
    """Copy a job's files and look up where their pages lie."""
    source, target = Path(job["source"]), Path(job["target"])
    for name in job["files"]:
        tell({"done": copy_file(source / name, target / name)})
    nodes, unknown = pages_of([target / name for name in job["files"]])
    tell({"nodes": {str(node): pages for node, pages in sorted(nodes.items())}, "unknown": unknown})


def main() -> None:
    """Do the job that comes on standard input."""

    def tell(event: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(event) + "\n")
        sys.stdout.flush()

    try:
        copy_all(json.loads(sys.stdin.readline()), tell)
    except OSError as error:
        tell({"failed": str(error), "errno": error.errno})


if __name__ == "__main__":
    main()
