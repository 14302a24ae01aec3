"""Decode altered JPEG files with memory behind their pixels that must not be touched.

``python -m tests.dataset.fuzz EXAMPLES SECONDS FILE`` tries so many, again and again for so long. FILE holds the last
input. It runs in a process of its own, because what it looks for ends a process. It prints how many inputs were tried,
how many of them became images, and how many were refused as damaged or for another reason.
"""

import ctypes
import faulthandler
import mmap
import sys
import time
from collections import Counter
from pathlib import Path
from typing import BinaryIO

import numpy as np
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from inferkit.dataset.decode import Decoder, ImageError
from tests.dataset.corpus import corpus

PROT_NONE = 0
SIZE = 16
LARGEST = 4_000_000  # pixels: larger ones take too long for many inputs

libc = ctypes.CDLL(None, use_errno=True)


class Guarded(Decoder):
    """A decoder whose buffer ends exactly where memory ends that may be touched."""

    def _room(self, nbytes: int) -> memoryview:
        pages = -(-nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
        memory = mmap.mmap(-1, pages + mmap.PAGESIZE)
        start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        assert libc.mprotect(ctypes.c_void_p(start + pages), mmap.PAGESIZE, PROT_NONE) == 0
        return memoryview(memory)[pages - nbytes : pages]

    def decode_exactly(self, data: bytes) -> int:
        """Decode into a buffer of this image's size."""
        self._pixels = bytearray()
        out = np.empty((3, SIZE, SIZE), np.uint8)
        return self.decode(data, out)


def mutations() -> st.SearchStrategy[list[tuple[str, float, bytes]]]:
    kinds = st.sampled_from(["set", "insert", "delete", "zero", "cut", "frame", "size", "factors", "splice"])
    return st.lists(st.tuples(kinds, st.floats(0, 1), st.binary(min_size=1, max_size=40)), max_size=6)


def mutate(data: bytes, kind: str, where: float, content: bytes) -> bytes:
    at = int(where * max(len(data) - 1, 0))
    if kind in ("frame", "size", "factors"):
        return framed(data, kind, content)
    if kind == "splice":
        other = list(corpus().values())[content[0] % len(corpus())]
        return data[:at] + other[int(where * len(other)) :]
    end = at if kind == "insert" else at + len(content) * (10 if kind == "zero" else 1)
    middle = {"set": content, "insert": content, "zero": bytes(end - at), "delete": b"", "cut": b""}[kind]
    return data[:at] + middle + (b"" if kind == "cut" else data[end:])


def framed(data: bytes, kind: str, content: bytes) -> bytes:
    """Alter the frame header: its type, the size, or a component's sampling factors."""
    starts = [at for at in range(len(data) - 20) if data[at] == 0xFF and 0xC0 <= data[at + 1] <= 0xCF]
    frames = [at for at in starts if data[at + 1] not in (0xC4, 0xCC)]
    if not frames:
        return data
    changed, at = bytearray(data), frames[0]
    if kind == "frame":
        changed[at + 1] = 0xC0 + content[0] % 16
    elif kind == "size":
        changed[at + 5 : at + 9] = (content * 4)[:4] if content[0] % 2 else bytes([0, content[0], 0, content[-1]])
    else:
        changed[at + 11 + content[0] % 3 * 3] = content[-1]
    return bytes(changed)


def pixels_of(data: bytes) -> int:
    frames = [at for at in range(len(data) - 9) if data[at] == 0xFF and 0xC0 <= data[at + 1] <= 0xCF]
    sizes = (
        int.from_bytes(data[at + 5 : at + 7], "big") * int.from_bytes(data[at + 7 : at + 9], "big") for at in frames
    )
    return max(sizes, default=0)


def try_many(examples: int, seconds: float, last: BinaryIO) -> Counter[str]:
    decoders = [Guarded(SIZE), Guarded(SIZE, fast=True, resize="crop")]
    counts: Counter[str] = Counter()
    end = time.monotonic() + seconds

    @settings(max_examples=examples, database=None, deadline=None, phases=[Phase.generate])
    @given(st.sampled_from(sorted(corpus())), mutations())
    def try_one(name: str, changes: list[tuple[str, float, bytes]]) -> None:
        data = corpus()[name]
        for change in changes:
            data = mutate(data, *change)
        if pixels_of(data) > LARGEST:
            return
        last.seek(0)
        last.write(len(data).to_bytes(8, "little") + data)
        last.flush()
        for decoder in decoders:
            counts["tried"] += 1
            try:
                decoder.decode_exactly(data)
                counts["images"] += 1
            except ImageError as error:
                counts["damaged" if "damaged" in str(error) else "refused"] += 1

    try_one()
    while time.monotonic() < end:
        try_one()
    return counts


if __name__ == "__main__":
    faulthandler.enable()
    with Path(sys.argv[3]).open("wb") as opened:
        found = try_many(int(sys.argv[1]), float(sys.argv[2]), opened)
    sys.stdout.write(" ".join(f"{name}={count}" for name, count in sorted(found.items())) + "\n")
