"""Which JPEG files a decoder in hardware decodes to the pixels that libjpeg gives."""

from inferkit.dataset.markers import Header, Segment, read_header

_BASELINE = 0xC0
_FRAMES = range(0xC0, 0xD0)
_TABLES = (0xC4, 0xC8, 0xCC)  # DHT, JPG and DAC lie among the frames' markers
_SAMPLINGS = {
    bytes([luma, 0x11, 0x11]): name
    for luma, name in {0x11: "4:4:4", 0x21: "4:2:2", 0x22: "4:2:0", 0x12: "4:4:0"}.items()
}
_END = b"\xff\xd9"
_YCC, _RGB = bytes([1, 2, 3]), b"RGB"


def hindrance(data: bytes, header: Header) -> str:
    """Say why a file must be decoded in software; empty where hardware decodes it alike.

    Parameters
    ----------
    data, header
        The whole file, and what :func:`inferkit.dataset.markers.read_header` tells of it.

    Notes
    -----
    An H100's decoder takes baseline files with one scan, grey or YCbCr (nvJPEG's documentation, "Hardware
    acceleration"). It refuses the others, but for two kinds: colours stored as RGB it takes for YCbCr, and a file that
    ends early it fills up. Neither is told.
    """
    marker, _, start, end = _frame(header)
    ids, factors = data[start + 10 : end : 3], data[start + 11 : end : 3]
    if marker != _BASELINE:
        return "not baseline (progressive, say)"
    if header.components == 4:
        return "CMYK"
    if data[header.segments[-1][2] + 4] != header.components:
        return "several scans"
    if header.components == 3 and _is_rgb(data, header, ids):
        return "stored as RGB"
    if header.components == 3 and factors not in _SAMPLINGS:
        return "rare chroma subsampling (4:1:1, say)"
    return "" if data.endswith(_END) else "no end of image, or bytes behind it"


def subsampling(data: bytes) -> str:
    """Return how a sound file's colours are subsampled: ``4:2:0``, say; ``grey``, or ``other``."""
    header = read_header(data)
    _, _, start, end = _frame(header)
    return "grey" if header.components == 1 else _SAMPLINGS.get(data[start + 11 : end : 3], "other")


def _frame(header: Header) -> Segment:
    return next(own for own in header.segments if own[0] in _FRAMES and own[0] not in _TABLES)


def _is_rgb(data: bytes, header: Header, ids: bytes) -> bool:
    """Tell of three components whether they are RGB, by libjpeg's rules (jdapimin.c, default_decompress_parms)."""
    adobe = None
    for marker, _, start, end in header.segments:
        if marker == 0xE0 and data.startswith(b"JFIF\0", start + 4):
            return False
        if marker == 0xEE and data.startswith(b"Adobe", start + 4) and end - start >= 16:
            adobe = data[start + 15]
    return ids == _RGB if adobe is None else adobe == 0
