"""How a user's network expects pixels to be prepared."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from inferkit.errors import ModelError

Float32 = npt.NDArray[np.float32]
LAYOUTS = ("NCHW", "NHWC")
DTYPES = ("uint8", "float32")
"""Of images."""


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How the user's network expects pixels: as ``(pixel * scale - mean) / std``, in some layout.

    Parameters
    ----------
    scale
        For example 1/255; None is 1.
    mean, std
        One value, or one per channel, in the units after `scale`; None is 0 and 1.
    layout
        ``"NCHW"`` or ``"NHWC"``; if None, the number of channels tells.
    """

    scale: float | None = None
    mean: Sequence[float] | float | None = None
    std: Sequence[float] | float | None = None
    layout: str | None = None

    def __post_init__(self) -> None:
        if self.layout not in (None, *LAYOUTS):
            message = f"layout {self.layout!r} is unknown: choose one of {', '.join(LAYOUTS)}"
            raise ModelError(message)
        if self.scale == 0 or (self.std is not None and min(np.ravel(self.std)) <= 0):
            message = f"scale {self.scale} and std {self.std} must not be zero, nor std negative"
            raise ModelError(message)

    @property
    def changes_pixels(self) -> bool:
        """Whether pixels are normalised at all: numbers that change nothing are none."""
        std = np.ravel(1.0 if self.std is None else self.std)
        return self.scale not in (None, 1) or bool(np.any(self.mean or 0.0)) or bool((std != 1).any())

    def per_channel(self, channels: int) -> tuple[Float32, Float32]:
        """Return `a` and `b` of the equivalent ``(pixel - a) * b``, float32, as (1, channels, 1, 1)."""
        scale = 1.0 if self.scale is None else self.scale
        mean = _spread("mean", 0.0 if self.mean is None else self.mean, channels)
        std = _spread("std", 1.0 if self.std is None else self.std, channels)
        return mean / np.float32(scale), np.float32(scale) / std


def _spread(name: str, values: Sequence[float] | float, channels: int) -> Float32:
    flat = np.ravel(values).astype(np.float32)
    if flat.size not in (1, channels):
        message = f"{name} has {flat.size} values, images have {channels} channels: give one value, or one a channel"
        raise ModelError(message)
    return np.broadcast_to(flat, channels).reshape(1, channels, 1, 1)
