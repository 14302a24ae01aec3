"""The contract of an engine: once the copy is done, it infers in the background what lies in a slot."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from inferkit.closing import Closing
from inferkit.devices.base import Device, Slot, Span
from inferkit.errors import EngineError


class Options(NamedTuple):
    """How an engine infers; each engine uses the options that it knows.

    Parameters
    ----------
    threads
        CPU threads; 0 means one per core.
    contexts
        Batches that a GPU infers side by side, each in an execution context of its own.
    cuda_graph
        Launch a batch as one CUDA graph.
    """

    threads: int = 0
    contexts: int = 1
    cuda_graph: bool = False


class Engine(Closing):
    """Infers batches on a device.

    Attributes
    ----------
    name
        As in the parameter ``engines``.
    has_ceiling
        Whether inferring takes time of its own.
    has_out
        Whether results are copied to host memory.
    is_reference
        Whether other engines' outputs are held against its own.
    lacks
        Precisions that it cannot compute in, and what to do instead.
    runs_plans
        Whether it runs files that TensorRT built.
    fixed_batch
        Images in every batch, where the network takes no other number.
    """

    name: ClassVar[str]
    has_ceiling: ClassVar[bool] = True
    has_out: ClassVar[bool] = False
    is_reference: ClassVar[bool] = False
    lacks: ClassVar[dict[str, str]] = {}
    runs_plans: ClassVar[bool] = True
    fixed_batch: int | None = None

    @classmethod
    @abstractmethod
    def build(
        cls,
        device: Device,
        model: str,
        batch_size: int,
        dtype: str,
        shape: tuple[int, ...],
        options: Options = Options(),  # noqa: B008 - immutable
    ) -> Self:
        """Make an engine for batches of up to ``batch_size`` images.

        Parameters
        ----------
        device
            Where the slots are.
        model
            An ONNX file, or a plan, that takes the data set's dtype and shape.
        options
            How it infers.

        Raises
        ------
        EngineError
            If the model does not fit the images, or the engine does not know the device.
        """

    @property
    def facts(self) -> dict[str, str]:
        """The library that infers and its version, for the record."""
        return {}

    @abstractmethod
    def infer(self, slot: Slot, images: int, after: Span | None) -> Span:
        """Infer a slot's first images, in the background, once ``after`` is done."""

    @abstractmethod
    def output(self, slot: Slot) -> NDArray[np.float32] | None:
        """Return a copy of the output of the slot's last, finished inference; None if the engine infers nothing."""

    def out(self, slot: Slot, after: Span) -> Span:
        """Bring a slot's results to host memory once ``after`` is done; does nothing if they are there already."""
        return after

    def layers(self, slot: Slot) -> tuple[list[tuple[str, float]], str]:
        """Time each layer of one batch that lies in the slot.

        Returns
        -------
        times, description
            Name and milliseconds of each layer, in order; the library's description of the built network, as JSON.

        Raises
        ------
        EngineError
            If the engine cannot time single layers.
        """
        message = f"engine {self.name} times no layers: set layer_profile: false"
        raise EngineError(message)

    def close(self) -> None:
        """Free what the engine holds; calling it again does nothing."""


def check_results(what: str, shape: Sequence[int | str | None], images: int) -> None:
    """Refuse outputs that are not as many as the images of their batch; a size that is not known yet may be.

    Raises
    ------
    EngineError
        Telling the network or engine ``what``, and the shape.
    """
    size = shape[0] if shape else 1
    if isinstance(size, int) and size not in {-1, images}:
        message = (
            f"{what} gives {size} results (shape {list(shape)}) for a batch of {images} images: export the model so "
            "that its output's first dimension is the batch"
        )
        raise EngineError(message)
