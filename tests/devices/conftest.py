import pytest

from inferkit.devices import MEMORIES
from inferkit.devices.base import Device
from inferkit.errors import DeviceError
from tests.kvikio_stand_in import StorageDevice

KINDS = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
SETTINGS = [
    pytest.param(kind, memory, marks=[pytest.mark.gpu] if kind == "cuda" else [], id=f"{kind}-{memory}")
    for kind, memories in MEMORIES.items()
    for memory in memories
    if memory != "mapped"
]
"""Every device with every kind of host memory that it allocates."""


def open_or_skip(kind: str) -> Device:
    """Open a device, the CPU with poison; skip, with the reason, where there is none."""
    if kind == "cpu":
        return StorageDevice(poison=True)
    try:
        from inferkit.devices.cuda import CudaDevice

        return CudaDevice(0, poison=True)
    except (ImportError, DeviceError) as error:
        pytest.skip(f"no CUDA device: {error}")
