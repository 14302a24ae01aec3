"""A device that decodes JPEG files as a GPU's decoder does, but on the CPU: by what decodes in software."""

import ctypes
from collections.abc import Sequence

import numpy as np

from inferkit.batch import COLUMNS_REVERSED, ROWS_REVERSED, TRANSPOSED, Segment
from inferkit.devices.base import Decoding, JpegDecoder, Slot, Span
from inferkit.devices.cpu import CpuDevice
from inferkit.records.figures import Json


class Decodes:
    """Counts what it is given; refuses every image whose index a test names."""

    def __init__(self) -> None:
        self.decoded = 0
        self.turned: dict[int, int] = {}

    @property
    def facts(self) -> dict[str, Json]:
        return {"backend": "hardware", "lanes": 1, "decoded": self.decoded, "refused": 0}


class DecodingDevice(CpuDevice):
    """A CPU with a decoder."""

    decoder: Decodes
    decoding: Decoding

    def open_decoder(self, decoding: Decoding) -> JpegDecoder:
        self.decoding = decoding
        self.decoder = Decodes()
        return self.decoder

    def copy_in(self, segments: Sequence[Segment], slot: Slot) -> Span:
        def fill() -> None:
            target = slot.address
            for segment in segments:
                nbytes = 3 * self.decoding.size**2
                if segment.kind == "jpeg":
                    pixels = self.decoding.software(segment)
                    self.decoder.decoded += 1
                    self.decoder.turned[segment.file] = segment.turned
                    ctypes.memmove(target, pixels.ctypes.data, nbytes)
                else:
                    assert segment.nbytes == nbytes
                    ctypes.memmove(target, segment.address, nbytes)
                target += nbytes

        return self._copies.submit(fill)


def turned(
    image: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]", how: int
) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    """Turn rows × columns as a segment tells."""
    image = image.T if how & TRANSPOSED else image
    return image[:: -1 if how & ROWS_REVERSED else 1, :: -1 if how & COLUMNS_REVERSED else 1]
