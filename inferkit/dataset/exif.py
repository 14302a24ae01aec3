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

_TYPES = {1: "B", 3: "H", 4: "I"}  # BYTE, SHORT, LONG; the standard says SHORT, some writers do otherwise


def orientation(tiff: bytes) -> int:
    """Read the orientation: 1 (upright) to 8; 1 if there is none or the data are damaged.

    Parameters
    ----------
    tiff
        EXIF data, from the header of TIFF on.
    """
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    try:
        (first,) = struct.unpack_from(f"{order}I", tiff, 4)
        (entries,) = struct.unpack_from(f"{order}H", tiff, first)
        for entry in range(first + 2, first + 2 + 12 * entries, 12):
            tag, kind = struct.unpack_from(f"{order}HH", tiff, entry)
            if tag == 0x0112:
                (value,) = struct.unpack_from(f"{order}{_TYPES.get(kind, 'H')}", tiff, entry + 8)
                return int(value) if value in UPRIGHT else 1
    except struct.error:
        return 1
    return 1
