import pytest

from inferkit.dataset.baseline import hindrance, subsampling
from inferkit.dataset.markers import read_header
from tests.dataset.corpus import cmyk, grey, lossless, sampled, with_frame, with_orientation
from tests.dataset.encoder import segment
from tests.dataset.pictures import jpeg, photograph


def hindered(data: bytes) -> str:
    return hindrance(data, read_header(data))


@pytest.mark.parametrize("name", ["4:4:4", "4:2:2", "4:2:0", "4:4:0"])
def test_what_hardware_decodes(name: str) -> None:
    assert hindered(sampled(name)) == ""
    assert hindered(sampled(name, restart=2)) == ""
    assert hindered(with_orientation(6, sampled(name))) == ""
    assert subsampling(sampled(name)) == name


def test_grey_is_decoded_by_hardware() -> None:
    assert hindered(grey()) == ""
    assert subsampling(grey()) == "grey"


@pytest.mark.parametrize("name", ["4:1:1", "4:4:1", "4:1:0", "4:2:0 in thirds", "chroma first"])
def test_rare_subsampling_is_decoded_in_software(name: str) -> None:
    assert "subsampling" in hindered(sampled(name))
    assert subsampling(sampled(name)) == "other"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (jpeg(photograph(), progressive=True), "progressive"),
        (cmyk(), "CMYK"),
        (lossless(8, 8), "baseline"),
        (with_frame(sampled("4:4:4"), 0xC1), "baseline"),
        (jpeg(photograph(), keep_rgb=True), "RGB"),
        (sampled("4:2:0")[:-2], "no end"),
        (sampled("4:2:0") + b"\0", "behind it"),
        (b"\xff\xd8" + segment(0xEE, b"Adobe\0\x64\0\0\0\0\0") + sampled("4:4:4")[2:], "RGB"),
    ],
)
def test_what_hardware_would_decode_otherwise_or_not(data: bytes, why: str) -> None:
    assert why in hindered(data)


def test_of_jfif_colours_are_ycc_whatever_adobe_says() -> None:
    jfif = b"\xff\xd8" + segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0")
    assert hindered(jfif + segment(0xEE, b"Adobe\0\x64\0\0\0\0\0") + sampled("4:4:4")[2:]) == ""
