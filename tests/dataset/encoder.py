"""A small baseline encoder: JPEG files of any sampling factors, number of components and restart interval."""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from tests.dataset.pictures import Pixels

Factors = Sequence[tuple[int, int]]
Codes = dict[int, tuple[int, int]]

ZIGZAG = sorted(range(64), key=lambda k: (k // 8 + k % 8, k // 8 if (k // 8 + k % 8) % 2 else k % 8))
DC_LENGTHS = bytes.fromhex("00010501010101010100000000000000")  # ISO/IEC 10918-1, table K.3
DC_VALUES = bytes(range(12))
AC_LENGTHS = bytes([0, 0, 0, 0, 0, 0, 0, 255, 0, 0, 0, 0, 0, 0, 0, 0])  # eight bits for every symbol but one
AC_VALUES = bytes(range(255))
STEP = 8  # of every coefficient


def encode(
    planes: Sequence[Pixels],
    factors: Factors,
    *,
    restart: int = 0,
    adobe: int | None = None,
    ids: bytes = b"\1\2\3\4",
    apart: bool = False,
) -> bytes:
    """Encode one plane per component, all of the image's full size; ``factors`` are (horizontal, vertical).

    ``apart``: a scan for each component, not one for all.
    """
    height, width = planes[0].shape
    body = b"".join(bytes([ids[k], h << 4 | v, 0]) for k, (h, v) in enumerate(factors))
    frame = b"\x08" + height.to_bytes(2, "big") + width.to_bytes(2, "big") + bytes([len(planes)]) + body
    parts = [segment(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([adobe]))] if adobe is not None else []
    parts += [segment(0xDB, b"\0" + bytes([STEP] * 64)), segment(0xC0, frame)]
    parts += [segment(0xC4, b"\0" + DC_LENGTHS + DC_VALUES), segment(0xC4, b"\x10" + AC_LENGTHS + AC_VALUES)]
    parts += [segment(0xDD, restart.to_bytes(2, "big"))] if restart else []
    if apart:
        parts += [
            scan(bytes([own]), [plane], [(1, 1)], restart)
            for own, plane in zip(ids, alone(planes, factors), strict=False)
        ]
    else:
        parts += [scan(ids[: len(planes)], planes, factors, restart)]
    return b"".join([b"\xff\xd8", *parts, b"\xff\xd9"])


def scan(ids: bytes, planes: Sequence[Pixels], factors: Factors, restart: int) -> bytes:
    head = bytes([len(ids)]) + b"".join(bytes([own, 0]) for own in ids) + b"\0\x3f\0"
    return segment(0xDA, head) + entropy(planes, factors, restart)


def alone(planes: Sequence[Pixels], factors: Factors) -> Iterator[Pixels]:
    """Yield each plane as its own scan has it: reduced, and in whole blocks (ISO/IEC 10918-1, A.2.2)."""
    most = max(h for h, _ in factors), max(v for _, v in factors)
    for plane, (h, v) in zip(planes, factors, strict=True):
        height, width = plane.shape
        yield reduced(plane, -(-width * h // most[0] // 8) * 8, -(-height * v // most[1] // 8) * 8)


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2, "big") + content


def entropy(planes: Sequence[Pixels], factors: Factors, restart: int) -> bytes:
    dc, ac = codes(DC_LENGTHS, DC_VALUES), codes(AC_LENGTHS, AC_VALUES)
    done, bits, last = [], "", [0] * len(planes)
    for number, blocks in enumerate(units(planes, factors)):
        if restart and number and number % restart == 0:
            done.append(stuffed(bits) + bytes([0xFF, 0xD0 + (number // restart - 1) % 8]))
            bits, last = "", [0] * len(planes)
        for component, block in blocks:
            bits += coded(block, last[component], dc, ac)
            last[component] = block[0]
    return b"".join([*done, stuffed(bits)])


def units(planes: Sequence[Pixels], factors: Factors) -> Iterator[list[tuple[int, list[int]]]]:
    """Yield the blocks of each minimum coded unit (a single component has one block in each)."""
    factors = factors if len(planes) > 1 else [(1, 1)]
    most = max(h for h, _ in factors), max(v for _, v in factors)
    rows, columns = -(-planes[0].shape[0] // (8 * most[1])), -(-planes[0].shape[1] // (8 * most[0]))
    sampled = [reduced(plane, 8 * h * columns, 8 * v * rows) for plane, (h, v) in zip(planes, factors, strict=True)]
    for row in range(rows):
        for column in range(columns):
            yield [
                (k, transformed(sampled[k], 8 * (row * v + y), 8 * (column * h + x)))
                for k, (h, v) in enumerate(factors)
                for y in range(v)
                for x in range(h)
            ]


def reduced(plane: Pixels, width: int, height: int) -> Pixels:
    return np.asarray(cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def transformed(plane: Pixels, top: int, left: int) -> list[int]:
    block = cv2.dct(plane[top : top + 8, left : left + 8].astype(np.float32) - 128)
    flat = np.rint(np.asarray(block).ravel() / STEP).astype(int)
    return [int(flat[k]) for k in ZIGZAG]


def coded(block: list[int], before: int, dc: Codes, ac: Codes) -> str:
    bits, zeros = number(block[0] - before, 0, dc), 0
    for value in block[1:]:
        if value == 0:
            zeros += 1
            continue
        bits += text(ac[0xF0]) * (zeros // 16) + number(value, zeros % 16 * 16, ac)
        zeros = 0
    return bits + (text(ac[0]) if zeros else "")


def number(value: int, run: int, table: Codes) -> str:
    size = abs(value).bit_length()
    return text(table[run + size]) + (f"{value if value > 0 else value + (1 << size) - 1:0{size}b}" if size else "")


def text(code: tuple[int, int]) -> str:
    return f"{code[0]:0{code[1]}b}"


def codes(lengths: bytes, values: bytes) -> Codes:
    """Number the codes as ISO/IEC 10918-1, annex C, does."""
    found, code, symbols = {}, 0, iter(values)
    for length, count in enumerate(lengths, 1):
        for _ in range(count):
            found[next(symbols)] = (code, length)
            code += 1
        code <<= 1
    return found


def stuffed(bits: str) -> bytes:
    bits += "1" * (-len(bits) % 8)
    return (int(bits, 2).to_bytes(len(bits) // 8, "big") if bits else b"").replace(b"\xff", b"\xff\0")
