"""Which versions of TensorRT-RTX run on Hopper. No matrix of its support names 9.0: this was seen on H100s."""

import re

HOPPER = "9.0"
"""Compute capability of H100 and H200."""
HOPPER_PIN = "tensorrt-rtx>=1.4,<1.7"
"""1.4.0.76, 1.5.0.114 and 1.6.1.120 run there; 1.7.1 says that it does not."""
_WITHOUT_HOPPER = (1, 7)


def release(version: str) -> tuple[int, ...]:
    """Return a version's leading numbers: ``1.4.0.76`` is ``(1, 4, 0, 76)``; empty if the version is unknown."""
    numbers = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, numbers[0].split("."))) if numbers else ()


def refuses_hopper(library: str, version: str) -> bool:
    """Tell whether a library, such as ``tensorrt_rtx`` of some version, runs on no GPU of compute capability 9.0."""
    return library == "tensorrt_rtx" and release(version) >= _WITHOUT_HOPPER
