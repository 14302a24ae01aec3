"""CUDA's errors: what each is called, and what to do about it."""

from typing import Any

from cuda.bindings import driver as bindings

from inferkit.errors import DeviceError, NoDeviceError

_LOG = "the kernel's log has the reason (dmesg | grep -i xid)"
_RESET = f"{_LOG}; a GPU that nvidia-smi no longer shows needs a reset (nvidia-smi --gpu-reset) or a reboot"
_HINTS = {
    "CUDA_ERROR_OUT_OF_MEMORY": "lower batch_sizes, slots or host_batches, or end other programs that use the GPU "
    "(nvidia-smi)",
    "CUDA_ERROR_DEVICE_UNAVAILABLE": "another process has the GPU to itself, or its mode forbids use (nvidia-smi -q -d "
    "COMPUTE; nvidia-smi -c DEFAULT)",
    "CUDA_ERROR_NO_DEVICE": "does nvidia-smi show GPUs, and the container have them (docker run --gpus all)?",
    "CUDA_ERROR_INVALID_DEVICE": "does nvidia-smi still show it? See CUDA_VISIBLE_DEVICES",
    "CUDA_ERROR_SYSTEM_NOT_READY": "NVIDIA's fabric manager must run, in the driver's version (systemctl status "
    "nvidia-fabricmanager)",
    "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH": "the driver's library and its kernel module differ: reboot, or let the "
    "container have the host's driver",
    "CUDA_ERROR_OPERATING_SYSTEM": "the system refused the driver something: dmesg, ulimit -a and the container's "
    "rights tell what",
}
"""What to do about each; what is not here stopped the GPU's work, and NVIDIA's driver told the kernel why."""
COMPILER = "its version must suit the driver's CUDA: pip install nvidia-cuda-nvrtc"
"""What to do where NVRTC, which compiles kernels and needs no GPU, is absent or fails."""
_OTHERS_USE_IT = {"CUDA_ERROR_OUT_OF_MEMORY", "CUDA_ERROR_DEVICE_UNAVAILABLE"}
"""What keeps a process from a GPU that may be free for the next one."""


def failure(name: str, doing: str, *, opening: bool = False) -> DeviceError:
    """Return the exception for an error of CUDA.

    Parameters
    ----------
    name
        Of the error, as in ``CUDA_ERROR_OUT_OF_MEMORY``.
    doing
        What was being done.
    opening
        Whether that was to open the GPU: then other processes cannot either, and it is a NoDeviceError.
    """
    kind = NoDeviceError if opening and name not in _OTHERS_USE_IT else DeviceError
    return kind(f"{name}: {doing}: {COMPILER if name.startswith('NVRTC') else _HINTS.get(name, _RESET)}")


def checked(answer: tuple[Any, ...], doing: str, *, opening: bool = False) -> Any:
    """Return the result of a call to NVIDIA's bindings, of the driver or of NVRTC.

    Raises
    ------
    DeviceError
        If it failed: the error's name, what was being done, and what to do. NoDeviceError where ``opening``.
    """
    error, *values = answer
    if error != bindings.CUresult.CUDA_SUCCESS:
        raise failure(getattr(error, "name", str(error)), doing, opening=opening)
    return values[0] if values else None


def name_of(words: str) -> str:
    """Return the name of the error that the driver describes in these words; the words if it knows none."""
    for error in bindings.CUresult:
        _, told = bindings.cuGetErrorString(error)
        if told and told.decode() == words:
            return str(error.name)
    return words
