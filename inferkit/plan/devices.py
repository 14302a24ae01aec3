"""Which devices to use, and how points name them."""

import os
import re
from collections.abc import Sequence

from inferkit.errors import ParameterError
from inferkit.machine.facts import facts
from inferkit.machine.gpus import instances
from inferkit.plan.assumed import Assumed
from inferkit.records.figures import Scalar
from inferkit.records.place import Place
from inferkit.text import quoted

Gpu = int | str
"""NVML's number of a GPU, or the UUID of a MIG instance: a part of one that CUDA shows as a device of its own."""
INSTANCE = "MIG-"
KINDS = ("GPU-", INSTANCE)
"""How the UUIDs of GPUs begin, and those of MIG instances."""


def chosen_gpus(device: str, gpus: Sequence[Gpu], assumed: Assumed | None = None) -> list[Gpu]:
    """Return the GPUs to use: where none are named those that CUDA_VISIBLE_DEVICES leaves, else all.

    The CPU counts as one device, 0. A GPU that is named by its UUID, or the beginning of it, is told by its number.

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
        return list(gpus) or list(instead)
    named = [_found(gpu, found) for gpu in gpus]
    missing = [gpu for gpu, own in zip(gpus, named, strict=True) if own is None]
    if not found or missing:
        there = [*found, *_uuids().values(), *instances()]
        what = f"no GPU {missing}, only {there}" if found else "no NVIDIA GPU that its driver shows"
        message = f"device is cuda, but this machine has {what}: `inferkit doctor` tells why; device: cpu needs none"
        raise ParameterError(message)
    return _each_once([gpu for gpu in named if gpu is not None]) or _visible(found)


def _each_once(gpus: Sequence[Gpu]) -> list[Gpu]:
    return list(dict.fromkeys(gpus))


def _uuids() -> dict[int, str]:
    """Return the UUIDs of the GPUs, by number."""
    known = facts().identity
    serials = known.serials if known else {}
    return {gpu.index: uuid for gpu in facts().gpus if (uuid := serials.get(f"gpu{gpu.index} uuid"))}


def _found(name: Gpu, there: Sequence[int]) -> Gpu | None:
    """Return what a number or the beginning of a UUID names, if it names one thing here."""
    if isinstance(name, int):
        return name if name in there else None
    if not name.startswith(KINDS):
        return None
    whole: dict[Gpu, str] = {number: uuid for number, uuid in _uuids().items() if number in there}
    parts: dict[Gpu, str] = {uuid: uuid for uuid in instances()} if name.startswith(INSTANCE) else {}
    fitting = [gpu for gpu, uuid in (whole | parts).items() if uuid.lower().startswith(name.lower())]
    return fitting[0] if len(fitting) == 1 else None


def parents_of(gpus: Sequence[Gpu]) -> dict[str, int]:
    """Return the MIG instances here and the GPUs that they are parts of, where any is named; none otherwise."""
    listed = [*gpus, *os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    return instances() if any(str(name).strip().startswith(INSTANCE) for name in listed) else {}


def place_of_instance(gpus: Sequence[Gpu]) -> Place:
    """Return the place of a process that uses a MIG instance, which it sees alone.

    Raises
    ------
    ParameterError
        If there are other devices: CUDA shows a process one MIG instance and nothing else.
    """
    if len(gpus) > 1:
        message = (
            f"gpus are {', '.join(map(str, gpus))}, and CUDA shows a process one MIG instance and nothing else: name "
            "one, or use notebook 03c, which gives each its own process"
        )
        raise ParameterError(message)
    return Place(gpus=tuple(gpus))


def _visible(there: list[int]) -> list[Gpu]:
    """Return the GPUs that CUDA_VISIBLE_DEVICES leaves, if it is set."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is None:
        return list(there)
    names = [name.strip() for name in listed.split(",")]
    found = [_found(int(name) if re.fullmatch("[0-9]{1,5}", name) else name, there) for name in names]
    if None in found:
        first = names[found.index(None)]
        message = (
            f"CUDA_VISIBLE_DEVICES is {quoted(listed)}, and {quoted(first)} is none of the GPUs {there}: CUDA leaves "
            "out that and all behind it. Name those to use in gpus, as nvidia-smi -L writes them, or unset it"
        )
        raise ParameterError(message)
    return _each_once([gpu for gpu in found if gpu is not None])


def device_axes(device: str, gpus: Sequence[Gpu]) -> dict[str, Scalar]:
    """Return the axes that say where; the CPU has no number, and several GPUs at once are joined by +."""
    if device == "cpu":
        return {"device": device}
    return {"device": device, "gpu": gpus[0] if len(gpus) == 1 else "+".join(map(str, gpus))}
