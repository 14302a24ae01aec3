import struct

import pytest
from PIL import Image

from inferkit.dataset.exif import orientation


def tiff(value: int, *, order: str = "MM", kind: int = 3) -> bytes:
    """One entry, as some writers do it: a SHORT, a LONG or a BYTE."""
    endian = "<" if order == "II" else ">"
    content = {1: "B3x", 3: "H2x", 4: "I"}[kind]
    return order.encode() + struct.pack(f"{endian}HIHHHI{content}I", 42, 8, 1, 0x0112, kind, 1, value, 0)


def by_pillow(value: int, order: str) -> bytes:
    header = Image.Exif()
    header.endian = "<" if order == "II" else ">"
    header[0x0112] = value
    return header.tobytes()[6:]


@pytest.mark.parametrize("order", ["II", "MM"])
@pytest.mark.parametrize("value", range(1, 9))
def test_the_orientation_is_read_whatever_its_type(value: int, order: str) -> None:
    assert orientation(by_pillow(value, order)) == value
    for kind in (1, 3, 4):
        assert orientation(tiff(value, order=order, kind=kind)) == value


@pytest.mark.parametrize(
    "damaged", [b"", b"MM\0*", b"XXXX", b"II*\0\xff\xff\xff\xff", tiff(9), tiff(0), tiff(6)[:-8], tiff(70000, kind=4)]
)
def test_without_a_sound_one_a_photograph_is_upright(damaged: bytes) -> None:
    assert orientation(damaged) == 1
