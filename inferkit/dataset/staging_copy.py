"""A process that copies files to memory. It is bound to a NUMA node when it starts, so that the pages lie there.

In: one JSON line, ``{"source": …, "target": …, "record": …, "copy": …}``: the two folders, what is staged, and the name
of the copy. When the pipe closes, the parent is gone: the process removes what it copied and ends. Out: ``{"done":
bytes}`` after each file, then ``{"nodes": {node: pages}, "unknown": why}``.
"""

import errno
import json
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

from inferkit.dataset.staging_folder import make_folders, remove_copy
from inferkit.dataset.staging_record import Copy, Staged
from inferkit.files import replacing
from inferkit.linux.numa_pages import file_nodes
from inferkit.os_errors import system_refusal

CHUNK = 1 << 26


def copy_file(source: Path, target: Path, naming: threading.Lock) -> int:
    """Let the kernel copy a file, under another name until it is whole; return its size in bytes.

    Parameters
    ----------
    naming
        Is held while a name appears or changes, not while bytes are waited for.

    Raises
    ------
    OSError
        As the kernel says. Nothing is left of the copy.
    """
    with source.open("rb") as read, ExitStack() as whole:
        with naming:
            write = whole.enter_context(replacing(target))
        size = os.fstat(read.fileno()).st_size
        done = 0
        while done < size:
            sent = os.sendfile(write.fileno(), read.fileno(), done, min(CHUNK, size - done))
            if not sent:
                raise OSError(errno.EIO, f"{source} became shorter while it was copied")
            done += sent
        with naming:
            whole.close()
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


class Copier:
    """Copies a data set's files into one copy's folder, and can be told from another thread to undo it.

    Parameters
    ----------
    source
        The data set's folder.
    target
        The staging folder; this user's alone.
    record, copy
        What is staged, and which copy of it this is.
    """

    def __init__(self, source: Path, target: Path, record: Staged, copy: Copy) -> None:
        self._source, self._target, self._record, self._copy = source, target, record, copy
        self._naming = threading.Lock()

    def copy(self, tell: Callable[[dict[str, Any]], None]) -> None:
        """Copy the files and look up where their pages lie."""
        folder = self._target / self._copy.name
        for name in self._record.files:
            make_folders((folder / name).parent, self._target)
            tell({"done": copy_file(self._source / name, folder / name, self._naming)})
        nodes, unknown = pages_of([folder / name for name in self._record.files])
        tell({"nodes": {str(node): pages for node, pages in sorted(nodes.items())}, "unknown": unknown})

    def undo(self) -> NoReturn:
        """Remove what was copied, and end the process, whatever its other threads wait for."""
        self._naming.acquire()  # and never given back
        remove_copy(self._target, self._record, self._copy)
        os._exit(1)

    def end_with_parent(self) -> None:
        """Undo it when the parent closes its end of the pipe or dies."""
        os.read(0, 1)
        self.undo()


def main() -> None:
    """Do the job that comes on standard input."""
    job = json.loads(sys.stdin.readline() or "{}")
    if not job:
        return
    record = Staged.model_validate(job["record"])
    copy = next(copy for copy in record.copies if copy.name == job["copy"])
    copier = Copier(Path(job["source"]), Path(job["target"]), record, copy)
    threading.Thread(target=copier.end_with_parent, daemon=True).start()

    def tell(event: dict[str, Any]) -> None:
        try:
            sys.stdout.write(json.dumps(event) + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            copier.undo()

    try:
        copier.copy(tell)
    except OSError as error:
        tell({"failed": system_refusal(error)})


if __name__ == "__main__":
    main()
