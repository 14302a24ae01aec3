"""On which NUMA nodes pages of memory lie: move_pages(2) says so, and moves nothing if it is given no nodes.

Only pages that are present have a node: touch them first. If a container forbids the call, nothing is known.
"""

import ctypes
import errno
import mmap
import os
import platform
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from inferkit.linux.procfs import ROOT

_CALLS = {"x86_64": 279, "aarch64": 239, "ppc64le": 301}
"""Number of move_pages on each architecture (arch/*/…/syscall.tbl of Linux)."""
LARGE_BYTES = 1 << 20
"""Mappings from this size on hold batches and data; smaller ones are the interpreter's."""
LOOKED_AT = 512
"""How many pages are looked at per mapping, evenly spaced."""
_WINDOW_BYTES = 1 << 30
_SKIPPED = ("/dev/nvidia", "[v")
"""Mappings that are not our memory: device registers, the kernel's own pages."""


def page_nodes(addresses: Sequence[int]) -> Counter[int]:
    """Count the nodes of this process's pages at some addresses; pages that are not present do not count.

    Raises
    ------
    OSError
        If the kernel or the container does not say.
    """
    number = _CALLS.get(platform.machine())
    if number is None:
        raise OSError(errno.ENOSYS, f"move_pages on {platform.machine()} is not known to inferkit")
    count = len(addresses)
    pages, found = (ctypes.c_void_p * count)(*addresses), (ctypes.c_int * count)()
    call = ctypes.CDLL(None, use_errno=True).syscall
    if call(ctypes.c_long(number), 0, ctypes.c_ulong(count), pages, None, found, 0) < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"move_pages: {os.strerror(code)}")
    return Counter(node for node in found if node >= 0)


def own_nodes(maps: Path = ROOT / "proc/self/maps") -> Counter[int]:
    """Count the nodes of a sample of the pages in this process's large, writable or shared mappings.

    Raises
    ------
    OSError
        As :func:`page_nodes`.
    """
    total: Counter[int] = Counter()
    for start, end in _large(maps.read_text()):
        step = max(1, (end - start) // mmap.PAGESIZE // LOOKED_AT) * mmap.PAGESIZE
        total += page_nodes(range(start, end, step))
    return total


def _large(maps: str) -> list[tuple[int, int]]:
    """Return start and end of the mappings that hold batches or data, in /proc/self/maps."""
    areas = []
    for line in maps.splitlines():
        words = line.split(None, 5)
        start, end = (int(bound, 16) for bound in words[0].split("-"))
        name = words[5] if len(words) > 5 else ""
        held = "w" in words[1] or words[1].endswith("s")
        if held and "r" in words[1] and end - start >= LARGE_BYTES and not name.startswith(_SKIPPED):
            areas.append((start, end))
    return areas


def file_nodes(path: Path) -> Counter[int]:
    """Touch every page of a file in memory and count their nodes.

    Raises
    ------
    OSError
        As :func:`page_nodes`, or if the file cannot be mapped.
    """
    total: Counter[int] = Counter()
    size = path.stat().st_size
    with path.open("rb") as file:
        for offset in range(0, size, _WINDOW_BYTES):
            length = min(_WINDOW_BYTES, size - offset)
            with mmap.mmap(file.fileno(), length, access=mmap.ACCESS_COPY, offset=offset) as window:
                _ = window[:: mmap.PAGESIZE]  # touches one byte of each page
                first = ctypes.c_ubyte.from_buffer(window)
                start = ctypes.addressof(first)
                total += page_nodes(range(start, start + length, mmap.PAGESIZE))
                del first  # the mapping cannot be closed while it is lent
    return total


def share_on(nodes: Counter[int], node: int | None) -> float | None:
    """Return the share of pages on a node; None if no page was seen or no node was asked for."""
    total = sum(nodes.values())
    return nodes[node] / total if total and node is not None else None
