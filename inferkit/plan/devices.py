"""Which devices to use, and how points name them."""

import os
from collections.abc import Sequence

from inferkit.errors import ParameterError
from inferkit.machine.facts import facts
from inferkit.plan.assumed import Assumed
from inferkit.records.figures import Scalar


def chosen_gpus(device: str, gpus: Sequence[int], assumed: Assumed | None = None) -> list[int]:
    """Return NVML's numbers of the GPUs to use: where none are named those that CUDA_VISIBLE_DEVICES leaves, else all.

    The CPU counts as one device, 0.

    Parameters
    ----------
    device, gpus
        As parameters name them.
    assumed
        What a dry run assumes.

    Raises
    ------
    ParameterError
        If there is no such GPU here.
    """
    if device == "cpu":
        if list(gpus) not in ([], [0]):
            message = f"gpus is {gpus}, but device is cpu: set device: cuda, or leave gpus empty"
            raise ParameterError(message)
        return [0]
    found = [gpu.index for gpu in facts().gpus]
    if assumed is not None and (instead := assumed.numbers(len(found))):
        return list(gpus) or instead
    missing = sorted(set(gpus) - set(found))
    if not found or missing:
        what = f"no GPU {missing}, only {found}" if found else "no NVIDIA GPU that its driver shows"
        message = f"device is cuda, but this machine has {what}: `inferkit doctor` tells why; device: cpu needs none"
        raise ParameterError(message)
    return list(gpus) or _visible(found)


def _visible(there: list[int]) -> list[int]:
    """Return the GPUs that CUDA_VISIBLE_DEVICES leaves, if it is set."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is None:
        return there
    names = [name.strip() for name in listed.split(",")]
    left = [int(name) for name in names if name.isdigit() and int(name) in there]
    if len(left) < len(names):
        message = (
            f"CUDA_VISIBLE_DEVICES is {listed!r}, and the GPUs are {there}: name those to use in gpus, as nvidia-smi "
            "numbers them, or unset it"
        )
        raise ParameterError(message)
    return left


def device_axes(device: str, gpus: Sequence[int]) -> dict[str, Scalar]:
    """Return the axes that say where; the CPU has no number, and several GPUs at once are joined by +."""
    if device == "cpu":
        return {"device": device}
    return {"device": device, "gpu": gpus[0] if len(gpus) == 1 else "+".join(map(str, gpus))}
