"""The contract of an engine: it infers what lies in a slot, in the background, once the copy is done."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from inferkit.devices.base import Device, Slot, Span


class Engine(ABC):
    """Infers batches on a device.

    Attributes
    ----------
    name
        As in the parameter ``engines``.
    has_ceiling
        Whether inferring takes time of its own.
    """

    name: ClassVar[str]
    has_ceiling: ClassVar[bool] = True

    @classmethod
    @abstractmethod
    def build(
        cls, device: Device, model: str, batch_size: int, dtype: str, shape: tuple[int, ...], *, threads: int = 0
    ) -> Self:
        """Make an engine for batches of up to ``batch_size`` images.

        Parameters
        ----------
        device
            Where the slots are.
        model
            An ONNX file that takes the data set's dtype and shape.
        threads
            CPU threads; 0: one per core. Engines that compute elsewhere ignore it.

        Raises
        ------
        EngineError
            If the model does not fit the images, or the device is none that the engine knows.
        """

    @property
    def facts(self) -> dict[str, str]:
        """The library and version that infers, for the record."""
        return {}

    @abstractmethod
    def infer(self, slot: Slot, images: int, after: Span | None) -> Span:
        """Infer a slot's first images, in the background, once ``after`` is done."""

    @abstractmethod
    def output(self, slot: Slot) -> NDArray[np.float32] | None:
        """Return a copy of what the slot's last, finished inference gave; None where an engine infers nothing."""

    def close(self) -> None:  # noqa: B027 - most engines have nothing to free
        """Free what the engine holds; calling it again does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
