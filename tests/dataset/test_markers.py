import re

import cv2
import numpy as np
import pytest
import simplejpeg

from inferkit.dataset.markers import MAX_SCANS, ImageError, check_units, read_header, tidied
from tests.dataset.corpus import TOO_MANY_BLOCKS, cmyk, corpus, lossless, sampled, with_frame, with_orientation
from tests.dataset.encoder import segment
from tests.dataset.pictures import jpeg, photograph

QUANTISERS = segment(0xDB, b"\0" + bytes([1] * 64))


@pytest.mark.parametrize("name", sorted(corpus()))
def test_the_size_is_what_turbojpeg_says(name: str) -> None:
    data = corpus()[name]
    header = read_header(data)
    try:
        expected = simplejpeg.decode_jpeg_header(data)[:2]
    except (KeyError, ValueError):  # a subsampling without a name
        expected = (40, 56)
    assert (header.height, header.width) == expected
    assert header.lossless == ("lossless" in name)
    assert data[: header.end].count(b"\xff\xda") == 1
    assert tidied(data, header)[-100:] == data[-100:]


@pytest.mark.parametrize("name", sorted(corpus()))
def test_units_are_too_large_only_where_libjpeg_says_so(name: str) -> None:
    data = corpus()[name]
    if name in TOO_MANY_BLOCKS:
        with pytest.raises(ImageError, match="blocks in each unit"):
            check_units(data, read_header(data))
    else:
        check_units(data, read_header(data))


@pytest.mark.parametrize("length", [2, 4, 5, 6, 9, 255])
def test_a_scan_that_claims_what_is_not_there_has_no_units(length: int) -> None:
    data = sampled("4:1:0", 8, 8)
    scan = data.index(b"\xff\xda")
    for cut in (data[: scan + length], data[: scan + 4] + b"\xff" + data[scan + 5 :]):
        check_units(cut, read_header(data))


def test_orientation_is_that_of_the_first_segment_that_tells_one() -> None:
    def exif(*content: bytes) -> bytes:
        return SOUND[:2] + b"".join(segment(0xE1, b"Exif\0\0" + own) for own in content) + SOUND[2:]

    def orientation(value: int) -> bytes:
        return b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01" + value.to_bytes(2, "big") + bytes(6)

    none = b"MM\0*\0\0\0\x08\0\0\0\0\0\0"
    for first, second, expected in [
        (orientation(6), orientation(3), 6),
        (orientation(6), none, 6),
        (none, orientation(3), 3),
        (b"XX", orientation(3), 3),
        (b"", orientation(3), 3),
        (orientation(9), orientation(3), 1),
        (none, none, 1),
    ]:
        data = exif(first, second)
        assert read_header(data).orientation == expected
        seen = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)).shape[:2]
        assert seen == ((120, 90) if expected == 6 else (90, 120))


@pytest.mark.parametrize("kind", [3, 4])
@pytest.mark.parametrize(
    "before", [b"", b"\xff\xff\xff", QUANTISERS, segment(0xE1, b"http://ns.adobe.com/xap"), b"\xff\x01"]
)
def test_orientation_is_found_wherever_it_stands(before: bytes, kind: int) -> None:
    for value in range(1, 9):
        assert read_header(with_orientation(value, jpeg(photograph()), before, kind)).orientation == value


SOUND = jpeg(photograph())


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (with_frame(SOUND, 0xC1, bits=12), "has 12 bits a sample; only 8 can be decoded"),
        (lossless(40, 56, bits=16), "has 16 bits a sample; only 8 can be decoded"),
        (with_frame(SOUND, height=0), "its height is told behind the pixels alone"),
        (with_frame(SOUND, count=2), "has 2 colour components; only 1, 3 and 4 can be decoded"),
        (with_frame(SOUND, count=255), "has 255 colour components; only 1, 3 and 4 can be decoded"),
        (with_frame(SOUND, 0xC5), "is hierarchical JPEG, which cannot be decoded here"),
        (with_frame(SOUND, 0xCF), "is hierarchical JPEG, which cannot be decoded here"),
        (with_frame(SOUND, 0xF7), "is JPEG-LS, which cannot be decoded here"),
        (b"\xff\x0a\0\0", "is JPEG XL, not JPEG"),
        (b"\0\0\0\x0cjP  \r\n", "is JPEG 2000, not JPEG"),
        (b"\xff\xd8\xff\xd8" + SOUND[2:], "damaged or truncated: it ends or begins anew before its pixels"),
        (b"\xff\xd8\xff\xd9", "damaged or truncated: it ends or begins anew before its pixels"),
        (b"\xff\xd8" + bytes(1000), "damaged or truncated: it ends in its header"),
        (b"\xff\xd8" + b"\xff" * 1000, "damaged or truncated: it ends in its header"),
        (b"\xff\xd8" + segment(0xDA, b"\0\0\x3f\0"), "damaged or truncated: no size before its pixels"),
        (b"\xff\xd8" + segment(0xC0, b"\x08") + segment(0xDA, b""), "damaged or truncated: no size before its pixels"),
    ],
)
def test_what_cannot_be_decoded_is_told_apart(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError, match=re.escape(reason)):
        read_header(data)


def test_every_beginning_of_a_file_is_a_header_or_refused() -> None:
    for length in range(len(SOUND) // 4):
        try:
            assert read_header(SOUND[:length]).width == 120
        except ImageError:
            assert length < read_header(SOUND).end


def scans(count: int, end: bytes) -> bytes:
    data = jpeg(photograph(), progressive=True)
    return data[: read_header(data).end] + segment(0xDA, b"\1\1\0\0\0\x10") * count + end


def test_a_file_of_endless_scans_is_refused() -> None:
    with pytest.raises(ImageError, match=f"has 4,001 scans, over the limit of {MAX_SCANS}"):
        read_header(scans(4000, b"\xff\xd9"))


def test_scans_of_what_follows_the_image_do_not_count() -> None:
    read_header(scans(5, b"\xff\xd9" + b"\xff\xda" * 4000))  # such as a film behind its first picture
    read_header(SOUND[:-2] + b"\xff\xd9" + b"\xff\xda" * 4000)


def test_a_long_header_is_read() -> None:
    data = SOUND[:2] + b"\xff\x01" * 20_000 + b"\xff" * 100_000 + SOUND[2:]
    assert read_header(data).width == 120


def test_what_says_nothing_about_pixels_is_left_out() -> None:
    data = SOUND[:2] + segment(0xE1, b"anything") + b"\0\0\0" + segment(0xFE, b"said") + SOUND[2:]
    assert tidied(data, read_header(data)) == SOUND
    adobe = cmyk(40, 56, 9)
    assert tidied(adobe, read_header(adobe)) == cmyk(40, 56, 2)
    odd = SOUND[:11] + b"\x07" + SOUND[12:]
    assert tidied(odd, read_header(odd)) == SOUND


def test_what_may_be_a_lost_segment_is_left_where_it_is() -> None:
    for stray in (SOUND[:2] + bytes(16) + SOUND[2:], SOUND.replace(b"\xff\xda", b"\0\0\xff\xda", 1)):
        assert tidied(stray, read_header(stray)) == stray
    assert read_header(sampled("4:1:0")).components == 3
