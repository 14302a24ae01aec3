import struct

import cv2
import numpy as np
import pytest
from PIL import Image

from inferkit.dataset.exif import UPRIGHT, orientation
from tests.dataset.encoder import segment
from tests.dataset.pictures import jpeg

CONTENTS = {1: "B3x", 3: "H2x", 4: "I", 6: "b3x", 8: "h2x", 9: "i", 13: "I"}
"""Every type of whole numbers: BYTE, SHORT, LONG, SBYTE, SSHORT, SLONG, IFD."""


def tiff(
    value: int, *, order: str = "MM", kind: int = 3, count: int = 1, tag: int = 0x0112, more: bytes = b""
) -> bytes:
    """A directory of one entry, and another directory behind it."""
    endian = "<" if order == "II" else ">"
    entry = struct.pack(f"{endian}HHI{CONTENTS.get(kind, 'H2x')}", tag, kind, count, value)
    mark = b"II*\0" if order == "II" else b"MM\0*"
    return mark + struct.pack(f"{endian}IH", 8, 1) + entry + struct.pack(f"{endian}I", 26 if more else 0) + more


def by_opencv(tiff: bytes) -> int:
    """Return the orientation by which OpenCV turns a photograph of four colours."""
    corners = np.zeros((32, 48, 3), np.uint8)
    corners[:16, :24], corners[:16, 24:], corners[16:, :24] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    data = jpeg(corners)
    data = data[:2] + segment(0xE1, b"Exif\0\0" + tiff) + data[2:]
    seen = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB), np.int64)
    for value, (transpose, rows, columns) in UPRIGHT.items():
        turned = corners.transpose(1, 0, 2) if transpose else corners
        turned = turned[:: -1 if rows else 1, :: -1 if columns else 1]
        if turned.shape == seen.shape and np.abs(turned - seen).mean() < 20:
            return value
    raise AssertionError(tiff)


def by_pillow(value: int, order: str) -> bytes:
    header = Image.Exif()
    header.endian = "<" if order == "II" else ">"
    header[0x0112] = value
    return header.tobytes()[6:]


@pytest.mark.parametrize("order", ["II", "MM"])
@pytest.mark.parametrize("value", range(1, 9))
def test_the_orientation_is_read_whatever_its_type(value: int, order: str) -> None:
    assert orientation(by_pillow(value, order)) == value
    for kind in CONTENTS:
        for count in (0, 1, 2, 5):
            assert orientation(tiff(value, order=order, kind=kind, count=count)) == value


@pytest.mark.parametrize("count", [0, 1, 2, 3])
@pytest.mark.parametrize(("order", "kinds"), [("II", [*range(11), 12, 13, 16, 255]), ("MM", [0, 3, 8, 255, 2, 7])])
def test_what_opencv_reads_is_read(order: str, kinds: list[int], count: int) -> None:
    """It takes every type for a SHORT, which goes wrong only with big-endian numbers of other lengths."""
    for kind in kinds:
        given = tiff(6, order=order, kind=kind, count=count)
        assert (orientation(given) or 1) == by_opencv(given)


@pytest.mark.parametrize("order", ["II", "MM"])
def test_the_thumbnail_s_orientation_turns_no_photograph(order: str) -> None:
    thumbnail = tiff(6, order=order)[8:]
    assert orientation(tiff(72, order=order, tag=0x0128, more=thumbnail)) is None
    assert by_opencv(tiff(72, order=order, tag=0x0128, more=thumbnail)) == 1
    assert orientation(tiff(3, order=order, more=thumbnail)) == 3 == by_opencv(tiff(3, order=order, more=thumbnail))


@pytest.mark.parametrize("order", ["II", "MM"])
@pytest.mark.parametrize("value", [0, 9, 255, 256, 0x0600, 65535])
def test_an_orientation_that_there_is_none_of_turns_nothing(value: int, order: str) -> None:
    assert orientation(tiff(value, order=order)) == 1 == by_opencv(tiff(value, order=order))


@pytest.mark.parametrize("kind", [4, 6, 9])
def test_nor_do_numbers_of_other_lengths(kind: int) -> None:
    assert orientation(tiff(-6 if kind != 4 else 70000, kind=kind)) == 1


@pytest.mark.parametrize(
    "damaged",
    [b"", b"MM\0*", b"XXXX", b"MM\0\0" + tiff(6)[4:], b"II*\0\xff\xff\xff\xff", tiff(6)[:-8], tiff(6, tag=0x0128)],
)
def test_damaged_data_tell_none(damaged: bytes) -> None:
    assert orientation(damaged) is None
    assert by_opencv(damaged) == 1
