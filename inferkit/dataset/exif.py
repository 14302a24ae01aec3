"""How a photograph is to be turned: the orientation in its EXIF data (EXIF 2.32, tag 0x0112)."""

import struct

UPRIGHT = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}
"""Orientation → transpose, then reverse rows, reverse columns."""

_TYPES = {1: "B", 4: "I", 6: "b", 9: "i", 13: "I"}
"""BYTE, LONG, SBYTE, SLONG and IFD. The standard says SHORT, as which any other type is read (OpenCV reads all so).

That is why OpenCV misses big-endian numbers of one and of four bytes; they are what the file says all the same.
"""


def orientation(tiff: bytes) -> int | None:
    """Read the orientation: 1 (upright) to 8; None if there is none, or the data are damaged before it.

    Parameters
    ----------
    tiff
        EXIF data, from the header of TIFF on. Only its first directory is about the photograph; others are about its
        thumbnail.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return None
    try:
        (first,) = struct.unpack_from(f"{order}I", tiff, 4)
        (entries,) = struct.unpack_from(f"{order}H", tiff, first)
        for entry in range(first + 2, first + 2 + 12 * entries, 12):
            tag, kind = struct.unpack_from(f"{order}HH", tiff, entry)
            if tag == 0x0112:
                (value,) = struct.unpack_from(f"{order}{_TYPES.get(kind, 'H')}", tiff, entry + 8)
                return int(value) if value in UPRIGHT else 1
    except struct.error:
        return None
    return None
