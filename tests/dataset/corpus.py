"""JPEG files of every kind that is decoded, and of those that are refused, small and made here."""

import io
from functools import cache

import cv2
import numpy as np
import simplejpeg
from PIL import Image

from tests.dataset.encoder import Factors, encode, segment
from tests.dataset.pictures import Pixels, jpeg, photograph

SAMPLINGS: dict[str, Factors] = {
    "4:4:4": [(1, 1), (1, 1), (1, 1)],
    "4:2:2": [(2, 1), (1, 1), (1, 1)],
    "4:2:0": [(2, 2), (1, 1), (1, 1)],
    "4:4:0": [(1, 2), (1, 1), (1, 1)],
    "4:1:1": [(4, 1), (1, 1), (1, 1)],
    "4:4:1": [(1, 4), (1, 1), (1, 1)],
    "4:1:0": [(4, 2), (1, 1), (1, 1)],
    "2:4": [(2, 4), (1, 1), (1, 1)],
    "3:1": [(3, 1), (1, 1), (1, 1)],
    "1:3": [(1, 3), (1, 1), (1, 1)],
    "4:2:0 in thirds": [(2, 2), (2, 1), (1, 1)],
    "4:2:2 doubled": [(2, 2), (1, 2), (1, 2)],
    "chroma first": [(1, 1), (2, 2), (1, 1)],
}
NAMED = ("4:4:4", "4:2:2", "4:2:0", "4:4:0", "4:1:1", "4:4:1", "4:2:2 doubled")
"""Those that TurboJPEG has a name for."""


def planes(height: int = 90, width: int = 120, index: int = 0) -> list[Pixels]:
    """Y, Cb and Cr of a photograph."""
    pixels = np.asarray(cv2.cvtColor(photograph(index, height, width), cv2.COLOR_RGB2YCrCb), np.uint8)
    return [pixels[:, :, channel].copy() for channel in (0, 2, 1)]


@cache
def sampled(name: str, height: int = 90, width: int = 120, restart: int = 0) -> bytes:
    return encode(planes(height, width), SAMPLINGS[name], restart=restart)


TOO_MANY_BLOCKS = {
    name: (encode([*planes(40, 56), np.full((40, 56), 255, np.uint8)][: len(factors)], factors), blocks, told)
    for name, factors, blocks, told in (
        ("2×2 thrice", [(2, 2)] * 3, 12, "2×2 2×2 2×2"),
        ("luma 4×4", [(4, 4), (1, 1), (1, 1)], 18, "4×4 1×1 1×1"),
        ("thirds", [(4, 2), (2, 1), (1, 1)], 11, "4×2 2×1 1×1"),
        ("fractions", [(3, 3), (2, 1), (1, 1)], 12, "3×3 2×1 1×1"),
        ("CMYK", [(3, 1)] * 4, 12, "3×1 3×1 3×1 3×1"),
    )
}
"""Files that no decoder of libjpeg's kind takes; how many blocks they have in each unit, and of which factors."""


@cache
def grey(height: int = 90, width: int = 120, restart: int = 0, factor: tuple[int, int] = (1, 1)) -> bytes:
    return encode(planes(height, width)[:1], [factor], restart=restart)


@cache
def cmyk(height: int = 90, width: int = 120, adobe: int | None = 0) -> bytes:
    """Four components as Adobe writes them: no ink is 255."""
    pixels = photograph(0, height, width)
    channels = [pixels[:, :, channel].copy() for channel in range(3)]
    return encode([*channels, np.full_like(channels[0], 255)], [(1, 1)] * 4, adobe=adobe)


def ycck(subsampling: str = "444") -> bytes:
    inverted = 255 - np.asarray(Image.fromarray(photograph()).convert("CMYK"))
    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(inverted), 95, "CMYK", subsampling))


def lossless(height: int, width: int, ids: bytes = b"RGB", bits: int = 8) -> bytes:
    """SOF3 in which every sample is as predicted: one code of one bit, which is 0. All pixels are 128."""
    count = len(ids)
    frame = bytes([bits]) + height.to_bytes(2, "big") + width.to_bytes(2, "big") + bytes([count])
    frame += b"".join(bytes([identity, 0x11, 0]) for identity in ids)
    scan = bytes([count]) + b"".join(bytes([identity, 0]) for identity in ids) + b"\1\0\0"
    table = b"\0\1" + bytes(15) + b"\0"
    pixels = bytes(-(-height * width * count // 8))
    return b"\xff\xd8" + segment(0xC4, table) + segment(0xC3, frame) + segment(0xDA, scan) + pixels + b"\xff\xd9"


def with_frame(data: bytes, marker: int | None = None, **fields: int) -> bytes:
    """Change what the frame header says: its marker, bits, height, width, count, or the luma's factors."""
    places = {"bits": (4, 1), "height": (5, 2), "width": (7, 2), "count": (9, 1), "factors": (11, 1)}
    changed = bytearray(data)
    start = next(at for at in range(len(data)) if data[at] == 0xFF and data[at + 1] in (0xC0, 0xC1, 0xC2, 0xC3))
    changed[start + 1] = marker or changed[start + 1]
    for name, value in fields.items():
        at, length = places[name]
        changed[start + at : start + at + length] = value.to_bytes(length, "big")
    return bytes(changed)


def with_orientation(value: int, data: bytes, before: bytes = b"", kind: int = 3) -> bytes:
    """Put EXIF data, and ``before`` before them, at the file's start: big-endian, as ``kind`` (3 SHORT, 4 LONG)."""
    number = value.to_bytes(2, "big") + b"\0\0" if kind == 3 else value.to_bytes(4, "big")
    tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0" + bytes([kind]) + b"\0\0\0\x01" + number + bytes(4)
    return data[:2] + before + segment(0xE1, b"Exif\0\0" + tiff) + data[2:]


@cache
def corpus() -> dict[str, bytes]:
    """All kinds, by name."""
    pixels = photograph(0, 40, 56)
    image = io.BytesIO()
    Image.fromarray(pixels).convert("CMYK").save(image, "JPEG", progressive=True)
    found = {name: sampled(name, 40, 56) for name in SAMPLINGS}
    found |= {f"{name} restarts": sampled(name, 40, 56, restart=3) for name in ("4:2:0", "4:1:0")}
    found |= {"grey": grey(40, 56), "grey restarts": grey(40, 56, 5), "grey 2 × 2": grey(40, 56, factor=(2, 2))}
    found |= {"cmyk": cmyk(40, 56), "cmyk without Adobe": cmyk(40, 56, None), "ycck": ycck(), "ycck 420": ycck("420")}
    found |= {"progressive": jpeg(pixels, progressive=True), "progressive cmyk": image.getvalue()}
    found |= {"lossless": lossless(40, 56), "lossless grey": lossless(40, 56, b"\1")}
    found |= {"large lossless": lossless(300, 400), "lossless YCbCr": lossless(40, 56, b"\1\2\3")}
    found |= {name: data for name, (data, _, _) in TOO_MANY_BLOCKS.items()}
    found |= {"scans apart": encode(planes(40, 56), [(4, 4), (2, 2), (2, 2)], apart=True)}
    found |= {"turned": with_orientation(6, jpeg(pixels)), "column": grey(900, 1), "row": sampled("4:2:0", 1, 900)}
    return found
