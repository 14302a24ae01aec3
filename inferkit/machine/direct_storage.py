"""What GPUDirect Storage needs: KvikIO and cuFile, and the kernel's module nvidia-fs; nothing is loaded or opened."""

import os
from importlib.util import find_spec
from pathlib import Path

from inferkit.linux.procfs import ROOT, text
from inferkit.machine.checks import Check
from inferkit.machine.facts import installed

KVIKIO = ("kvikio-cu13", "kvikio-cu12")
CUFILE = ("nvidia-cufile", "nvidia-cufile-cu12")
LOADS = "install NVIDIA's package nvidia-gds, then modprobe nvidia-fs"


def nvidia_fs(root: Path = ROOT) -> str | None:
    """Return what the kernel's module nvidia-fs says of its version; None where it is not loaded."""
    own = root / "proc/driver/nvidia-fs"
    return (text(own / "version") or "loaded, version not told") if own.is_dir() else None


def why_no_direct_storage(kind: str, *, assumed: bool) -> str:
    """Say why no reader can deliver straight to a device's memory, without opening it; empty: one may.

    Parameters
    ----------
    kind
        ``cpu`` or ``cuda``.
    assumed
        The device is on another machine: what is installed here does not matter.
    """
    if kind != "cuda":
        return f"device is {kind}, which has no memory of its own: set device: cuda"
    return "" if assumed or find_spec("kvikio") else "KvikIO is not installed: pip install 'inferkit[gds]'"


def kvikio() -> Check:
    """Check that KvikIO is installed, and cuFile by which it reads."""
    why = "reader gds reads files into a GPU's memory by it; the other readers need none"
    found = installed((*KVIKIO, *CUFILE))
    told = ", ".join(f"{name} {version}" for name, version in found.items())
    if found.keys() & set(KVIKIO):
        return Check("KvikIO", "present", told, why)
    fix = "pip install 'inferkit[gds]'; with a driver of CUDA 12: kvikio-cu12 instead"
    return Check("KvikIO", "absent", "not installed", why, fix)


def module(root: Path = ROOT) -> Check:
    """Check that nvidia-fs is loaded, and that cuFile can look at disks."""
    name, why = "nvidia-fs", "with it disks write to a GPU's memory; without, reader gds passes through host memory"
    version = nvidia_fs(root)
    if version is None:
        return Check(name, "absent", "no /proc/driver/nvidia-fs", why, f"on the host: {LOADS}")
    if not os.access(root / "run/udev", os.R_OK):
        fix = "docker run -v /run/udev:/run/udev:ro"
        return Check(name, "limited", f"{version}, but no /run/udev, where cuFile looks for disks", why, fix)
    return Check(name, "present", version, why)
