"""Devices: memory, copies, streams and events."""

from inferkit.devices.base import Device
from inferkit.devices.cpu import CpuDevice
from inferkit.errors import ParameterError

MEMORIES: dict[str, tuple[str, ...]] = {"cpu": CpuDevice.memories, "cuda": ("pinned", "pageable", "mapped")}
"""Kinds of host memory that each device copies from; known without opening the device."""


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
