"""Devices: memory, copies, streams and events."""

from inferkit.devices.base import Device
from inferkit.devices.cpu import CpuDevice
from inferkit.errors import ParameterError
from inferkit.machine.decoding import nvjpeg

MEMORIES: dict[str, tuple[str, ...]] = {"cpu": CpuDevice.memories, "cuda": ("pinned", "pageable", "mapped")}
"""Kinds of host memory that each device copies from; known without opening the device."""


def why_no_decoder(kind: str, *, assumed: bool) -> str:
    """Say why a device cannot decode JPEG files, as far as that can be told without opening it; empty: it may.

    Parameters
    ----------
    kind
        ``cpu`` or ``cuda``.
    assumed
        The device is on another machine: what is installed here does not matter.
    """
    if kind != "cuda":
        return f"device is {kind}, which decodes none: set device: cuda"
    there = assumed or nvjpeg().status == "present"
    return "" if there else "nvJPEG is not installed: pip install 'inferkit[nvjpeg]'"


def open_device(kind: str, gpu: int = 0) -> Device:
    """Open a device.

    Parameters
    ----------
    kind
        ``cpu`` or ``cuda``.
    gpu
        Which one, as CUDA counts them.

    Raises
    ------
    ParameterError
        If there is no such kind.
    DeviceError
        If there is no such GPU, or CUDA cannot be used.
    """
    if kind == "cpu":
        return CpuDevice()
    if kind == "cuda":
        from inferkit.devices.cuda import CudaDevice

        return CudaDevice(gpu)
    message = f"device is {kind!r}: it must be cpu or cuda"
    raise ParameterError(message)
