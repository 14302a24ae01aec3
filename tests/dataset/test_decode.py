import io
from functools import cache

import cv2
import numpy as np
import pytest
import simplejpeg
from PIL import Image

from inferkit.dataset.decode import MAX_PIXELS, Decoder, ImageError
from inferkit.dataset.manifest import Resize
from inferkit.dataset.markers import read_header
from tests.dataset.corpus import (
    SAMPLINGS,
    TOO_MANY_BLOCKS,
    cmyk,
    grey,
    lossless,
    planes,
    sampled,
    with_frame,
    with_orientation,
)
from tests.dataset.encoder import encode, segment
from tests.dataset.pictures import Pixels, jpeg, photograph


@cache
def decoder(size: int, resize: Resize, fast: bool) -> Decoder:
    """Keep one of each: what is rare is decoded by a process of its own, whose start takes longer than the decoding."""
    return Decoder(size, resize=resize, fast=fast)


def decode(data: bytes, size: int = 32, *, resize: Resize = "stretch", fast: bool = False) -> Pixels:
    out = np.full((3, size, size), 77, np.uint8)
    decoder(size, resize, fast).decode(data, out)
    return out


def by_opencv(data: bytes, size: int = 32) -> Pixels:
    image = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))
    small = cv2.cvtColor(cv2.resize(image, (size, size)), cv2.COLOR_BGR2RGB)
    return np.ascontiguousarray(small.transpose(2, 0, 1), np.uint8)


def farthest(one: Pixels, other: Pixels) -> int:
    return int(np.abs(one.astype(int) - other).max())


def exif(turned: int, order: str = "MM") -> bytes:
    endian = "<" if order == "II" else ">"
    header = Image.Exif()
    header.endian = endian
    header[0x0112] = turned
    return header.tobytes()


@pytest.mark.parametrize("shape", [(90, 120), (120, 90), (32, 32), (31, 33), (7, 5), (1, 1)])
@pytest.mark.parametrize("progressive", [False, True])
def test_pixels_are_those_of_opencv(shape: tuple[int, int], progressive: bool) -> None:
    data = jpeg(photograph(3, *shape), progressive=progressive)
    assert farthest(decode(data), by_opencv(data)) <= 1


def test_float32_has_the_same_values() -> None:
    data, out = jpeg(photograph()), np.zeros((3, 32, 32), np.float32)
    Decoder(32).decode(data, out)
    np.testing.assert_array_equal(out, decode(data))


def test_a_decoder_is_not_confused_by_what_it_decoded_before() -> None:
    used, out = Decoder(32), np.empty((3, 32, 32), np.uint8)
    fresh = np.empty_like(out)
    for index, shape in enumerate([(90, 120), (10, 400), (400, 10), (90, 120)]):
        data = jpeg(photograph(index, *shape))
        used.decode(data, out)
        Decoder(32).decode(data, fresh)
        np.testing.assert_array_equal(out, fresh)


@pytest.mark.parametrize(
    ("shape", "scale"),
    [
        ((50, 200), 1),
        ((51, 200), 2),  # libjpeg rounds up: 26 × 100, and 0.8 × 32 is 25.6
        ((100, 100), 2),
        ((101, 101), 4),
        ((128, 900), 4),
        ((200, 200), 4),
        ((201, 201), 8),
        ((4000, 256), 8),
        ((600, 49), 1),
    ],
)
def test_fast_never_goes_far_under_the_wanted_size(shape: tuple[int, int], scale: int) -> None:
    data, out = jpeg(photograph(0, *shape)), np.empty((3, 32, 32), np.uint8)
    assert Decoder(32, fast=True).decode(data, out) == scale
    assert np.abs(out.astype(int) - by_opencv(data)).mean() < 9
    assert Decoder(32).decode(data, out) == 1


@pytest.mark.parametrize("shape", [(90, 120), (120, 90), (91, 120), (64, 64)])
def test_crop_keeps_proportions_and_the_centre(shape: tuple[int, int]) -> None:
    pixels = photograph(0, *shape)
    side = min(shape)
    top, left = (shape[0] - side) // 2, (shape[1] - side) // 2
    square = jpeg(pixels[top : top + side, left : left + side])
    assert np.abs(decode(jpeg(pixels), resize="crop").astype(int) - decode(square)).mean() < 2


def test_grey_becomes_rgb() -> None:
    grey = photograph()[:, :, 2]
    planes = decode(jpeg(grey))
    np.testing.assert_array_equal(planes[0], planes[1])
    np.testing.assert_array_equal(planes[0], planes[2])
    assert planes.std() > 20


def test_cmyk_of_pillow_and_ycck_of_adobe_become_rgb() -> None:
    pixels = photograph()
    expected = decode(jpeg(pixels))
    cmyk = io.BytesIO()
    Image.fromarray(pixels).convert("CMYK").save(cmyk, "JPEG", quality=95)
    inverted = 255 - np.asarray(Image.fromarray(pixels).convert("CMYK"))
    ycck = simplejpeg.encode_jpeg(np.ascontiguousarray(inverted), 95, "CMYK", "444")
    assert simplejpeg.decode_jpeg_header(cmyk.getvalue())[2] == "CMYK"
    assert simplejpeg.decode_jpeg_header(ycck)[2] == "YCCK"
    for data in (cmyk.getvalue(), bytes(ycck)):
        assert np.abs(decode(data, fast=True).astype(int) - expected).mean() < 4


@pytest.mark.parametrize("order", ["II", "MM"])
@pytest.mark.parametrize("turned", range(1, 9))
def test_photographs_are_upright_as_opencv_makes_them(turned: int, order: str) -> None:
    data = jpeg(photograph(), exif=exif(turned, order))
    assert read_header(data).orientation == turned
    assert farthest(decode(data), by_opencv(data)) <= 2


def test_exif_in_the_pixels_is_no_header() -> None:
    assert read_header(jpeg(photograph()) + exif(6)).orientation == 1


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("missing", [2, 3, 100, 800])
@pytest.mark.parametrize("fast", [False, True])
def test_a_truncated_file_is_refused(progressive: bool, missing: int, fast: bool) -> None:
    data = jpeg(photograph(), progressive=progressive)
    with pytest.raises(ImageError, match="damaged or truncated"):
        decode(data[:-missing], fast=fast)


@pytest.mark.parametrize("length", [2, 10, 100])
def test_a_file_that_ends_in_its_header_is_refused(length: int) -> None:
    with pytest.raises(ImageError, match="damaged or truncated"):
        decode(jpeg(photograph())[:length])


@pytest.mark.parametrize("restart", [0, 7])
@pytest.mark.parametrize("name", SAMPLINGS)
def test_every_subsampling_is_decoded_as_opencv_does(name: str, restart: int) -> None:
    data = sampled(name, restart=restart)
    assert farthest(decode(data), by_opencv(data)) <= 2
    assert farthest(decode(with_orientation(6, data)), by_opencv(with_orientation(6, data))) <= 2
    assert np.abs(decode(data, fast=True).astype(int) - by_opencv(data)).mean() < 9


@pytest.mark.parametrize("shape", [(1, 900), (900, 1), (2, 3), (8, 65500)])
@pytest.mark.parametrize("name", ["4:2:0", "4:1:0", "grey"])
def test_the_strangest_sizes_are_decoded(name: str, shape: tuple[int, int]) -> None:
    if name == "grey":
        data = grey(*shape)
    else:
        data = jpeg(photograph(0, *shape), subsampling=2) if max(shape) > 1000 else sampled(name, *shape)
    assert farthest(decode(data), by_opencv(data)) <= 2
    assert decode(data, fast=True).std() > 0


def test_441_of_opencv_is_decoded() -> None:
    options = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411]
    data = cv2.imencode(".jpg", photograph(0, 64, 64), options)[1].tobytes()
    turned = with_frame(data, factors=0x14)
    with pytest.raises(KeyError):
        simplejpeg.decode_jpeg_header(turned)
    assert farthest(decode(turned), by_opencv(turned)) <= 2


def test_fractional_subsampling_is_refused_by_name() -> None:
    data = encode(planes(), [(3, 1), (2, 1), (1, 1)])
    with pytest.raises(
        ImageError, match=r"^has fractional subsampling \(factors 3×1 2×1 1×1\), which cannot be decoded"
    ):
        decode(data)


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("name", TOO_MANY_BLOCKS)
def test_more_blocks_than_libjpeg_takes_are_no_damage(name: str, fast: bool) -> None:
    data, blocks, factors = TOO_MANY_BLOCKS[name]
    told = rf"^has {blocks} blocks in each unit of a scan \(factors {factors}\); at most 10 can be decoded$"
    with pytest.raises(ImageError, match=told):
        decode(data, fast=fast)


@pytest.mark.parametrize("factors", [[(2, 2)] * 3, [(4, 4), (1, 1), (1, 1)], [(4, 4)] * 3, [(1, 1)] * 3])
def test_as_many_blocks_in_scans_of_their_own_are_decoded(factors: list[tuple[int, int]]) -> None:
    data = encode(planes(), factors, apart=True)
    assert farthest(decode(data), by_opencv(data)) <= 2


@pytest.mark.parametrize("factors", [0x00, 0x01, 0x51, 0xFF])
def test_factors_that_no_file_may_have_are_damage(factors: int) -> None:
    with pytest.raises(ImageError, match=r"^damaged or truncated"):
        decode(with_frame(jpeg(photograph()), factors=factors))


@pytest.mark.parametrize("factor", [(1, 1), (2, 2), (4, 1)])
def test_grey_has_no_subsampling_whatever_its_factors(factor: tuple[int, int]) -> None:
    assert farthest(decode(grey(restart=3, factor=factor)), decode(grey())) == 0


@pytest.mark.parametrize("ids", [b"RGB", b"\1", b"\1\2\3"])
@pytest.mark.parametrize("shape", [(40, 56), (1500, 2000)])
def test_lossless_files_are_never_reduced(ids: bytes, shape: tuple[int, int]) -> None:
    """libjpeg writes them at full size, whatever it is asked for: past a buffer of the reduced size."""
    out, decoder = np.zeros((3, 32, 32), np.uint8), Decoder(32, fast=True)
    for _ in range(2):
        assert decoder.decode(lossless(*shape, ids), out) == 1
        assert (out == 128).all()
        decoder.decode(jpeg(photograph(0, 900, 1200)), out)  # leaves a larger buffer


def test_lossless_files_in_colours_that_libjpeg_converts_are_refused_as_such() -> None:
    data = lossless(40, 56, b"\1\2\3")
    with pytest.raises(ImageError, match=r"^cannot be decoded here: Unsupported color conversion request"):
        decode(data[:2] + segment(0xEE, b"Adobe\0\x64\0\0\0\0\1") + data[2:])


def test_a_side_that_is_too_long_is_refused_as_such() -> None:
    with pytest.raises(ImageError, match=r"^is 8 × 65501 pixels large; no side over 65500 can be decoded"):
        decode(with_frame(jpeg(photograph()), height=65501, width=8))


@pytest.mark.parametrize("adobe", [None, 0])
def test_cmyk_is_what_opencv_makes_of_it(adobe: int | None) -> None:
    assert farthest(decode(cmyk(adobe=adobe)), by_opencv(cmyk(adobe=adobe))) <= 2


def test_truncated_cmyk_is_refused() -> None:
    cmyk = io.BytesIO()
    Image.fromarray(photograph()).convert("CMYK").save(cmyk, "JPEG")
    with pytest.raises(ImageError, match="damaged or truncated"):
        decode(cmyk.getvalue()[:-200])


def with_bytes_before_a_marker(data: bytes) -> bytes:
    """Put stray bytes before the second scan, which libjpeg warns of and steps over."""
    second = data.index(b"\xff\xda", data.index(b"\xff\xda") + 2)
    table = data.rindex(b"\xff\xc4", 0, second) if b"\xff\xc4" in data[second - 200 : second] else second
    return data[:table] + b"\x01\x02\x03" + data[table:]


def test_stray_bytes_inside_the_pixels_are_damage() -> None:
    data = with_bytes_before_a_marker(jpeg(photograph(), progressive=True))
    with pytest.raises(ImageError, match="damaged or truncated: Corrupt JPEG data: 1 extraneous bytes before marker"):
        decode(data)


@pytest.mark.parametrize("name", ["4:2:0", "4:1:0"])
def test_padding_between_application_segments_is_no_reason_to_skip_but_damage_behind_it_is(name: str) -> None:
    data = sampled(name)
    padded = data[:2] + segment(0xE1, b"maker's notes") + bytes(5) + data[2:]
    np.testing.assert_array_equal(decode(padded), decode(data))
    with pytest.raises(ImageError, match="damaged or truncated"):
        decode(padded[:-50])
    with pytest.raises(ImageError, match="damaged or truncated"):
        decode(data[:2] + bytes(17) + data[2:])


@pytest.mark.parametrize(
    "odd",
    [
        segment(0xE0, b"JFIF\0\x07\1\0\0\1\0\1\0\0"),
        segment(0xEE, b"Adobe\0\x64\0\0\0\0\x09"),
        segment(0xE2, b"ICC_PROFILE\0\x09\x02 not all of it"),
        segment(0xFE, b"\xff\xd8\xff\xda a remark"),
        segment(0xE1, b"Exif\0\0" + jpeg(photograph(3, 32, 32))),
        segment(0xE1, b""),
        b"\xff\xff\xff" + segment(0xE3, b"after fill bytes"),
        b"\xff\x01\xff\xd3",
    ],
)
def test_odd_application_data_are_no_reason_to_skip(odd: bytes) -> None:
    data = sampled("4:2:0")
    np.testing.assert_array_equal(decode(data[:2] + odd + data[2:]), decode(data))
    with pytest.raises(ImageError, match="damaged or truncated"):
        decode(data[:2] + odd + data[2:-50])


DAMAGED = {
    "cmyk": cmyk(),
    "progressive": jpeg(photograph(), progressive=True),
    "grey with restarts": grey(restart=6),
    "colour with restarts": sampled("4:2:0", restart=6),
    "4:1:0": sampled("4:1:0"),
    "plain": jpeg(photograph()),
}


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("kind", DAMAGED)
def test_a_quarter_that_was_zeroed_is_damage(kind: str, fast: bool) -> None:
    data = DAMAGED[kind]
    for start in (4, 5, 6):
        first, last = len(data) * start // 10, len(data) * start // 10 + len(data) // 4
        with pytest.raises(ImageError, match="damaged or truncated"):
            decode(data[:first] + bytes(last - first) + data[last:], fast=fast)


@pytest.mark.parametrize("kind", ["grey with restarts", "colour with restarts"])
def test_restart_markers_out_of_turn_are_damage(kind: str) -> None:
    data = DAMAGED[kind]
    for changed in (data.replace(b"\xff\xd2", b"\xff\xd5", 1), data.replace(b"\xff\xd1", b"\xff\xd1\xff\xd2", 1)):
        assert changed != data
        with pytest.raises(ImageError, match="damaged or truncated"):
            decode(changed)


@pytest.mark.parametrize("turned", range(1, 9))
@pytest.mark.parametrize("shape", [(90, 121), (121, 90), (91, 120), (64, 64)])
def test_crops_are_of_the_photograph_once_it_is_upright(shape: tuple[int, int], turned: int) -> None:
    """An odd margin: the pixel more is at the right and the bottom of the upright photograph."""
    data = with_orientation(turned, jpeg(photograph(0, *shape)))
    upright = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB))
    side = min(shape)
    top, left = (upright.shape[0] - side) // 2, (upright.shape[1] - side) // 2
    square = upright[top : top + side, left : left + side]
    assert farthest(decode(data, side, resize="crop"), np.ascontiguousarray(square.transpose(2, 0, 1), np.uint8)) <= 2


@pytest.mark.parametrize(
    "error", [KeyError(6), OverflowError("large"), MemoryError(), SystemError("x"), cv2.error("x"), IndexError("x")]
)
def test_whatever_a_library_raises_is_about_the_file(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(simplejpeg, "decode_jpeg", fail)
    with pytest.raises(ImageError):
        decode(jpeg(photograph()))


def test_bytes_behind_the_end_are_no_reason_to_skip() -> None:
    data = jpeg(photograph())
    np.testing.assert_array_equal(decode(data + b"appended" * 9), decode(data))


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "TIFF", "WebP"])
def test_another_format_is_refused_by_name(kind: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(photograph()).save(buffer, kind)
    with pytest.raises(ImageError, match=f"is {kind}, not JPEG"):
        decode(buffer.getvalue())


@pytest.mark.parametrize(("data", "reason"), [(b"", "empty"), (b"<html>404", "unknown format")])
def test_what_is_no_image_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        decode(data)


@pytest.mark.parametrize(("height", "width", "refused"), [(14913, 12000, False), (14914, 12000, True)])
def test_a_decompression_bomb_is_refused_before_memory_is_taken(height: int, width: int, refused: bool) -> None:
    """The limit lies between the two; the file claims a size that its data does not have."""
    assert (height * width > MAX_PIXELS) is refused
    data = bytearray(jpeg(photograph()))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    if refused:
        with pytest.raises(ImageError, match="over the limit of 178,956,970"):
            decode(bytes(data))
    else:
        with pytest.raises(ImageError, match="damaged or truncated"):
            decode(bytes(data), fast=True)
        decoder.cache_clear()  # 537 MB
