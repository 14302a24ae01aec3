"""What stands in a JPEG file before its pixels: marker segments (ISO/IEC 10918-1, annex B).

Only the start of a file is read here, as libjpeg reads it, to know what the file is and to say why it cannot be used.
"""

import re
import struct
from collections.abc import Iterable
from typing import NamedTuple, NoReturn

from inferkit.dataset.exif import orientation
from inferkit.errors import DatasetError

# Pillow refuses more than twice its MAX_IMAGE_PIXELS as a decompression bomb (PIL/Image.py): 512 MiB of RGB.
MAX_PIXELS = 2 * (1024**3 // 4 // 3)

MAX_SIDE = 65500  # libjpeg's JPEG_MAX_DIMENSION (jmorecfg.h)

MAX_BYTES = 3 * MAX_PIXELS
"""A file that is larger than any image is when decoded is no photograph."""

# As many as libjpeg-turbo's fuzzers allow (fuzz/decompress.cc, TJPARAM_SCANLIMIT): each scan visits every pixel.
MAX_SCANS = 500

MAX_COMPONENTS = 4  # of one scan (B.2.3)
MAX_BLOCKS = 10
"""Of one unit of a scan (libjpeg's D_MAX_BLOCKS_IN_MCU; the standard's limit too, B.2.3)."""

_OTHER_FORMATS = {
    b"\x89PNG": "PNG",
    b"GIF8": "GIF",
    b"RIFF": "WebP",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
}

_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
_BOUNDS = (_SOI, _EOI)
_NO_MARKERS = (0x00, 0xFF)  # after 0xFF: a byte of data, and filling
_ALONE = frozenset([0x01, *range(0xD0, 0xD8)])  # TEM and RST0 … RST7 have no length
_FRAMES = frozenset([*range(0xC0, 0xD0), 0xF7]) - {0xC4, 0xCC}  # all SOFn; not DHT and DAC
_APPLICATION = frozenset([*range(0xE0, 0xF0), 0xFE])  # APP0 … APP15 and comments
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")  # those that end a scan's pixels
_PROGRESSIVE = frozenset([0xC2, 0xCA])
_LOSSLESS = frozenset([0xC3, 0xCB])
_UNSUPPORTED = dict.fromkeys([0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF], "hierarchical JPEG") | {
    0xC8: "JPEG with extensions",
    0xF7: "JPEG-LS",
}

# Fewer stray bytes than the shortest segment that says something about colours (Adobe's, 16 bytes; tables have more).
_PADDING = 16


class ImageError(DatasetError):
    """A file is not a JPEG image that can be used. The message says why."""


Segment = tuple[int, int, int, int]
"""A marker's second byte; how many bytes before it belong to nothing; where it starts in the file and where it ends.

It starts at its 0xFF and ends behind its parameters. A plain tuple, because every photograph has ten of them.
"""


class Header(NamedTuple):
    """What stands before a file's pixels.

    Attributes
    ----------
    height, width
        In pixels, as stored: before the photograph is turned upright.
    components
        Colour components: 1, 3 or 4.
    lossless
        Coded without a transform. libjpeg cannot reduce such a file.
    orientation
        EXIF's, 1 (upright) to 8.
    segments
        All before the first scan; the last one is the scan's own header.
    end
        Where they end: offset of the first byte of the pixels.
    """

    height: int
    width: int
    components: int
    lossless: bool
    orientation: int
    segments: list[Segment]
    end: int


def read_header(data: bytes) -> Header:
    """Read the header of a JPEG file.

    Raises
    ------
    ImageError
        If it is another format, is damaged, or tells of what cannot be decoded: enormous, hierarchical, 12 bits …
    """
    _check_format(data)
    segments = _segments(data)
    frame = turned = None
    for segment in segments:
        marker, _, start, end = segment
        if marker in _FRAMES:
            frame = frame or segment
        elif marker == 0xE1 and data.startswith(b"Exif\0\0", start + 4):
            turned = turned or orientation(data[start + 10 : end])
    if frame is None:
        _refuse("no size before its pixels")
    height, width, components = _dimensions(data, frame)
    several = frame[0] in _PROGRESSIVE or data[start + 4 : start + 5] != bytes([components])  # else one scan is read
    if several and (scans := len(_scans(data, end)[0]) + 1) > MAX_SCANS:
        message = f"has {scans:,} scans, over the limit of {MAX_SCANS} (a decompression bomb?)"
        raise ImageError(message)
    return Header(height, width, components, frame[0] in _LOSSLESS, turned or 1, segments, end)


def tidied(data: bytes, header: Header) -> bytes:
    """Leave out of a file what libjpeg warns of although it says nothing about pixels.

    That is a few padding bytes between segments, damaged application data such as a colour profile, and versions and
    codes that libjpeg does not know and reads as those that it knows.
    """
    before = _SOI
    for marker, stray, _, _ in header.segments:
        if stray and (stray >= _PADDING or before not in _APPLICATION | {_SOI}):
            return data  # a segment that matters may be among them
        before = marker
    known = [_known(marker, data[start:end], header.components) for marker, _, start, end in header.segments]
    return b"".join([data[:2], *known, data[header.end :]])


def check_units(data: bytes, header: Header) -> None:
    """Check of a file that libjpeg refused whether it could decode it at all: OpenCV does not say why it could not.

    Raises
    ------
    ImageError
        If a scan has more blocks of several components side by side than libjpeg takes.
    """
    factors = _factors(data, header)
    if not all(1 <= n <= 4 for both in factors.values() for n in both):
        return  # none that a file may have (ISO/IEC 10918-1, B.2.2)
    for scan in (header.segments[-1][2], *_scans(data, header.end)[0]):
        inside = data[scan + 5 : scan + 5 + 2 * data[scan + 4] : 2] if scan + 4 < len(data) else b""
        blocks = [factors[own] for own in inside if own in factors]
        count = sum(h * v for h, v in blocks)
        if 1 < len(inside) == len(blocks) <= MAX_COMPONENTS and count > MAX_BLOCKS:
            found = f"{count} blocks in each unit of a scan (factors {_told(blocks)})"
            message = f"has {found}; at most {MAX_BLOCKS} can be decoded"
            raise ImageError(message)


def check_odd(data: bytes, header: Header) -> None:
    """Check of a file of odd subsampling what OpenCV leaves unsaid.

    Raises
    ------
    ImageError
        If the file has no end, or a factor, horizontal or vertical, does not divide the largest.
    """
    if not _scans(data, header.end)[1]:
        _refuse("Premature end of JPEG file")
    factors = _factors(data, header).values()
    for each in zip(*factors, strict=True):
        if any(n and max(each) % n for n in each):
            message = f"has fractional subsampling (factors {_told(factors)}), which cannot be decoded here"
            raise ImageError(message)


def _told(factors: Iterable[tuple[int, int]]) -> str:
    return " ".join(f"{h}×{v}" for h, v in factors)


def _factors(data: bytes, header: Header) -> dict[int, tuple[int, int]]:
    """Return each component's sampling factors, horizontal and vertical, by its identity."""
    _, _, start, end = next(segment for segment in header.segments if segment[0] in _FRAMES)
    last = min(end, start + 10 + 3 * header.components)
    return {data[at]: (data[at + 1] >> 4, data[at + 1] & 15) for at in range(start + 10, last - 2, 3)}


def _known(marker: int, segment: bytes, components: int) -> bytes:
    """Return of a segment what libjpeg needs: version 1 of JFIF, and a transform of Adobe's as it understands it."""
    content = bytearray(segment)
    if marker == 0xE0 and content[4:9] == b"JFIF\0" and len(content) > 9:
        content[9] = 1
    elif marker == 0xEE and content[4:9] == b"Adobe" and len(content) > 15:
        content[15] = content[15] and {3: 1, 4: 2}.get(components, 0)  # jdapimin.c: YCbCr and YCCK are assumed
    elif marker in _APPLICATION:
        content.clear()
    return bytes(content)


def _check_format(data: bytes) -> None:
    if not data:
        message = "empty"
        raise ImageError(message)
    if not data.startswith(b"\xff\xd8"):
        name = next((name for magic, name in _OTHER_FORMATS.items() if data.startswith(magic)), "of an unknown format")
        message = f"is {name}, not JPEG"
        raise ImageError(message)


def _segments(data: bytes) -> list[Segment]:
    """List the segments behind the first marker, up to a scan's header. Every photograph passes here: it is quick."""
    found: list[Segment] = []
    at, marker = 2, 0
    try:
        while marker != _SOS:
            stray = 0
            if data[at] != 0xFF or data[at + 1] in _NO_MARKERS:
                stray, at = _next_marker(data, at)
            marker = data[at + 1]
            if marker in _ALONE:
                end = at + 2
            elif marker in _BOUNDS:
                _refuse("it ends or begins anew before its pixels")
            else:
                end = at + 2 + max(2, data[at + 2] << 8 | data[at + 3])
            found.append((marker, stray, at, end))
            at = end
    except IndexError:
        at = len(data) + 1
    if at > len(data):
        _refuse("it ends in its header")
    return found


def _next_marker(data: bytes, at: int) -> tuple[int, int]:
    """Return how many bytes belong to nothing, and where the next marker is. Any number of 0xFF may precede it."""
    start, fill = at, 0
    while True:
        found = data.find(b"\xff", at)
        at = found
        while found >= 0 and data[at : at + 2] == b"\xff\xff":
            at, fill = at + 1, fill + 1
        if found < 0 or at + 1 >= len(data):
            _refuse("it ends in its header")
        if data[at + 1]:
            return at - start - fill, at
        at += 2


def _scans(data: bytes, at: int) -> tuple[list[int], bool]:
    """Find the headers of all scans behind the first, and tell whether the image has an end; others may follow it."""
    starts, found = [], None
    while (found := _MARKER.search(data, at)) and (marker := data[found.end() - 1]) != _EOI:
        if marker == _SOS:
            starts.append(found.start())
        at = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
    return starts, found is not None


def _dimensions(data: bytes, frame: Segment) -> tuple[int, int, int]:
    marker, _, start, end = frame
    if marker in _UNSUPPORTED:
        message = f"is {_UNSUPPORTED[marker]}, which cannot be decoded here"
        raise ImageError(message)
    if end - start < 10:
        _refuse("no size before its pixels")
    bits, height, width, components = struct.unpack_from(">BHHB", data, start + 4)
    if bits != 8:
        message = f"has {bits} bits a sample; only 8 can be decoded"
        raise ImageError(message)
    if components not in (1, 3, 4):
        message = f"has {components} colour components; only 1, 3 and 4 can be decoded"
        raise ImageError(message)
    if not height and width:
        message = "its height is told behind the pixels alone (a DNL marker), which cannot be decoded here"
        raise ImageError(message)
    if max(height, width) > MAX_SIDE:
        message = f"is {width} × {height} pixels large; no side over {MAX_SIDE} can be decoded"
        raise ImageError(message)
    if height * width > MAX_PIXELS:
        message = f"{width} × {height} pixels are over the limit of {MAX_PIXELS:,} (a decompression bomb?)"
        raise ImageError(message)
    return height, width, components


def _refuse(found: str) -> NoReturn:
    message = f"damaged or truncated: {found}"
    raise ImageError(message)
