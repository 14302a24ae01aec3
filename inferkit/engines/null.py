"""Infer nothing: only reading and copying are left."""

from typing import Self

import numpy as np
from numpy.typing import NDArray

from inferkit.devices.base import Device, Slot, Span
from inferkit.engines.base import Engine, Options
from inferkit.errors import EngineError


class NullEngine(Engine):
    """A batch is done when it is copied."""

    name = "null"
    has_ceiling = False

    @classmethod
    def build(
        cls,
        device: Device,
        model: str,
        batch_size: int,
        dtype: str,
        shape: tuple[int, ...],
        options: Options = Options(),  # noqa: B008 - immutable
    ) -> Self:
        """Build from nothing."""
        return cls()

    def infer(self, slot: Slot, images: int, after: Span | None) -> Span:
        """Return the copy's own span."""
        if after is None:
            message = "engine null infers nothing, so it has no ceiling to measure: measure the copy"
            raise EngineError(message)
        return after

    def output(self, slot: Slot) -> NDArray[np.float32] | None:
        """Return None."""
        return None
