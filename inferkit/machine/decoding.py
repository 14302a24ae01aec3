"""What reader nvjpeg needs: nvJPEG, NVRTC, and a GPU with a JPEG decoder; none is loaded or opened for it."""

from ctypes.util import find_library

from inferkit.machine.checks import Check
from inferkit.machine.facts import installed
from inferkit.records.host import Host

JPEG = ("nvidia-nvjpeg", "nvidia-nvjpeg-cu12")
NVRTC = ("nvidia-cuda-nvrtc", "nvidia-cuda-nvrtc-cu12")
INSTALL = "pip install 'inferkit[nvjpeg]'"
OF_CUDA_12 = "with a driver of CUDA 12: the packages whose names end in -cu12"
WITH = ("8.0", "9.0")
"""Compute capabilities of GPUs with a JPEG decoder in hardware: A100, A30 and H100 (nvJPEG's documentation)."""
FIRST = (8, 0)
"""GPUs before have none (the same)."""


def nvjpeg() -> Check:
    """Check that NVIDIA's decoder is installed, as a package or with CUDA."""
    why = "reader nvjpeg decodes JPEG files on the GPU by it; reader jpeg works without"
    return _library("nvJPEG", "nvjpeg", JPEG, why)


def nvrtc() -> Check:
    """Check that NVIDIA's run-time compiler is installed, as a package or with CUDA."""
    return _library("NVRTC", "nvrtc", NVRTC, "reader nvjpeg compiles for the GPU at hand what resizes photographs")


def _library(name: str, library: str, packages: tuple[str, ...], why: str) -> Check:
    told = ", ".join(f"{own} {version}" for own, version in installed(packages).items()) or find_library(library)
    if told:
        return Check(name, "present", told, why)
    return Check(name, "absent", "not installed", why, f"{INSTALL}; {OF_CUDA_12}")


def decoder(host: Host) -> Check:
    """Check which GPUs have a JPEG decoder in hardware, by what they are."""
    name, why = "JPEG decoder", "in hardware it leaves the GPU's cores to inference; else reader nvjpeg decodes on them"
    fix = "use reader jpeg, or nvjpeg on an A100, A30 or H100"
    if not host.gpus:
        return Check(name, "absent", "no GPU", why, fix)
    by_kind = {_has_decoder(gpu.compute_capability): gpu.name for gpu in host.gpus}
    if False in by_kind:
        return Check(name, "absent", f"{by_kind[False]} has none", why, fix)
    if None in by_kind:
        fix = "run reader nvjpeg once: its record tells what decoded (decoded: … by the GPU's decoder, or its cores)"
        return Check(name, "unknown", f"{by_kind[None]}: not known to us", why, fix)
    return Check(name, "present", ", ".join(dict.fromkeys(gpu.name for gpu in host.gpus)), why)


def _has_decoder(capability: str | None) -> bool | None:
    if capability is None or tuple(map(int, capability.split("."))) >= FIRST:
        return True if capability in WITH else None
    return False
