"""NVML, NVIDIA's library that reports on GPUs: this is the only place that initialises it and shuts it down."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from inferkit.errors import DeviceError


@contextmanager
def nvml() -> Iterator[Any]:
    """Yield the library's module, initialised, and shut it down afterwards.

    Raises
    ------
    DeviceError
        If it is not installed or does not answer, now or inside the ``with`` block: why, and what to do.
    """
    try:
        import pynvml
    except ImportError as error:
        message = "nvidia-ml-py is not installed: pip install 'inferkit[measure]'"
        raise DeviceError(message) from error
    try:
        pynvml.nvmlInit()
        try:
            yield pynvml
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        message = f"NVML: {error}: does nvidia-smi show the GPUs?"
        raise DeviceError(message) from error


def no_driver(error: DeviceError) -> bool:
    """Tell whether NVML did not answer because there is no driver here: a machine without GPUs lacks nothing."""
    return type(error.__cause__).__name__ in {"NVMLError_LibraryNotFound", "NVMLError_DriverNotLoaded"}
