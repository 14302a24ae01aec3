"""What inferkit needs that this machine has or lacks, and the fix for each lack."""

import errno
import importlib
import os
import re
import shutil
import subprocess
import tempfile
import textwrap
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

from inferkit.errors import ReadError
from inferkit.linux.direct_io import direct_io_alignment
from inferkit.linux.io_uring import ReadQueue
from inferkit.linux.mounts import Filesystem, existing, filesystem
from inferkit.machine import checks
from inferkit.machine.checks import Check
from inferkit.machine.facts import PACKAGES, facts, installed
from inferkit.machine.holders import Holder, holder
from inferkit.machine.programs import install
from inferkit.records.host import Host
from inferkit.text import text_table
from inferkit.units import gigabytes

WIDTH = 100
"""Columns of a table at most."""

DATASET_BYTES = 100_000 * 3 * 224 * 224
"""A data set of usual size: 100,000 images of 3 × 224 × 224 uint8, 15 GB."""

_HOPPER = "9.0"
_RTX_WITHOUT_HOPPER = (1, 5)


def examine(path: Path) -> list[Check]:
    """Return what this machine has and lacks for data that lie, or will lie, under ``path``.

    This makes a temporary file there and removes it again.
    """
    host, folder = facts(), existing(path)
    folder = folder if folder.is_dir() else folder.parent
    disk = filesystem(folder)
    extras = {"onnxruntime": "measure", "jupyterlab": "lab", "ipywidgets": "lab", "scikit-image": "demo"}
    return [
        *(checks.python(), checks.cpu(host), checks.numa(host), checks.memory(host), checks.governor(host)),
        *(checks.driver(), checks.gpu(host), tensorrt(host), pycuda(), cuda_bindings()),
        *(file_system(disk, holder(folder)), direct_io(folder, disk), io_uring(), free_space(folder), shared_memory()),
        *(checks.locked_memory(), checks.open_files(), checks.page_cache()),
        *(program("numactl", "binds peers and by-hand runs to a NUMA node"), fio()),
        program("nvbandwidth", "the peer that copies to GPUs are compared with"),
        program("trtexec", "the peer that inference with TensorRT is compared with"),
        *(package(name, extra) for name, extra in extras.items()),
    ]


def table(checks: Iterable[Check]) -> str:
    """Return the checks as text for a terminal, wrapped to 100 columns, with the reason and the fix below each lack."""
    rows = list(checks)
    taken = sum(max((len(getattr(check, column)) for check in rows), default=0) + 2 for column in ("name", "status"))
    return "\n".join(text_table(line for check in rows for line in _lines(check, WIDTH - taken)))


def _lines(check: Check, width: int) -> Iterator[tuple[str, str, str]]:
    """Yield a check's rows; commands are not broken at their hyphens."""
    head: tuple[str, str] = check.name, check.status
    lack = [] if check.status == "present" else [("why: ", check.why), ("fix: ", check.fix)]
    for lead, words in [("", check.found), *lack]:
        indent = " " * len(lead)
        for line in textwrap.wrap(lead + words, width, subsequent_indent=indent, break_on_hyphens=False) or [""]:
            yield *head, line
            head = "", ""


def tensorrt(host: Host) -> Check:
    """Check which TensorRT there is, and whether it runs on these GPUs."""
    why = "engine tensorrt needs one of tensorrt, tensorrt_rtx; engine onnx works without"
    flavour = next((name for name in ("tensorrt", "tensorrt_rtx") if find_spec(name)), None)
    if flavour is None:
        fix = "pip install 'inferkit[tensorrt]', or 'inferkit[tensorrt-rtx]'"
        return Check("TensorRT", "absent", "neither tensorrt nor tensorrt_rtx", why, fix)
    base = flavour.replace("_", "-")
    version = next(iter(installed(name for name in PACKAGES if re.fullmatch(rf"{base}(-cu\d+)?", name)).values()), "")
    found = f"{flavour} {version or 'of unknown version'}"
    hopper = any(gpu.compute_capability == _HOPPER for gpu in host.gpus)
    if flavour == "tensorrt_rtx" and hopper and release(version) >= _RTX_WITHOUT_HOPPER:
        found += ", which refuses compute capability 9.0 (from 1.5 on); 1.4.0.76 runs there"
        fix = "pip install 'inferkit[tensorrt]', or 'tensorrt-rtx==1.4.0.76'"
        return Check("TensorRT", "limited", found, why, fix)
    return Check("TensorRT", "present", found, why)


def release(version: str) -> tuple[int, ...]:
    """Return a version's leading numbers: ``1.4.0.76`` is ``(1, 4, 0, 76)``; empty if the version is unknown."""
    numbers = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, numbers[0].split("."))) if numbers else ()


def pycuda() -> Check:
    """Check that PyCUDA is there and finds CUDA's library; this loads the library but makes no context."""
    why = "device cuda allocates, pins and copies through it"
    version = installed(["pycuda"]).get("pycuda")
    if version is None:
        return Check("PyCUDA", "absent", "not installed", why, "pip install 'inferkit[tensorrt]'")
    try:
        importlib.import_module("pycuda.driver")
    except (ImportError, OSError) as error:
        fix = "install NVIDIA's driver (libcuda.so.1), in a container docker run --gpus all"
        return Check("PyCUDA", "limited", f"{version}, but import fails: {error}", why, fix)
    return Check("PyCUDA", "present", version, why)


def cuda_bindings() -> Check:
    """Check NVIDIA's bindings for the CUDA driver."""
    why = "calls that PyCUDA lacks"
    version = installed(["cuda-bindings"]).get("cuda-bindings")
    if version is None:
        return Check("cuda-bindings", "absent", "not installed", why, "pip install 'inferkit[tensorrt]'")
    return Check("cuda-bindings", "present", version, why)


def file_system(disk: Filesystem, own: Holder) -> Check:
    """Check what holds the files in the end, and whether a disk's counters show what is read from it."""
    why = "the disk's counters prove that storage was read, not the page cache"
    found = f"{disk.fstype} on {disk.mount_point}"
    if own.kind == "disk":
        under = f" (under {' on '.join(own.chain[:-1])})" if own.stacked else ""
        return Check("file system", "present", f"{found}, disk {', '.join(own.disks)}{under}", why)
    if own.kind == "memory":
        under = f" ({own})" if len(own.chain) > 1 else ""
        return Check("file system", "limited", f"{found}: lies in memory{under}", why, "declare source: memory")
    kinds = {"network": "over a network", "fuse": "a FUSE program delivers it"}
    kind = kinds.get(own.kind, f"{own}: nobody can tell what is underneath")
    fix = "evict before measuring, use reader direct where O_DIRECT is present, and read more than the memory holds"
    return Check("file system", "unknown", f"{found} ({kind}): no disk's counters", why, fix)


def direct_io(folder: Path, disk: Filesystem) -> Check:
    """Check O_DIRECT by opening a temporary file with it, and the alignment that the file system reports."""
    why = "reader direct bypasses the page cache by it"
    fix = "use reader buffered, or put the data on ext4 or XFS"
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".inferkit-") as file:
            os.close(os.open(file.name, os.O_RDONLY | os.O_DIRECT))
            alignment = direct_io_alignment(Path(file.name))
    except OSError as error:
        if error.errno == errno.EINVAL:
            return Check("O_DIRECT", "absent", f"{disk.fstype} refuses it", why, fix)
        message = f"no file can be made in {folder}: {error.strerror}"
        return Check("O_DIRECT", "unknown", message, why, "name a folder that you may write")
    if disk.in_memory or disk.fuse:
        return Check("O_DIRECT", "limited", f"{disk.fstype} accepts it, but copies in silence", why, fix)
    if alignment:
        found = f"memory {alignment.memory} bytes, offsets {alignment.offset} bytes"
        return Check("O_DIRECT", "present", found, why)
    if disk.fstype == "zfs":
        return Check(
            "O_DIRECT", "unknown", "ZFS before 2.3 accepts it, but caches", why, "zfs version; zfs set direct=always"
        )
    return Check("O_DIRECT", "present", f"accepted by {disk.fstype}, alignment not reported", why)


def io_uring() -> Check:
    """Check that the kernel and the container permit io_uring."""
    why = "reader uring keeps the files of a batch in flight by it"
    try:
        ReadQueue(1, 1).close()
    except ReadError as error:
        fix = "sysctl kernel.io_uring_disabled=0, in a container a seccomp profile that permits it; or reader direct"
        return Check("io_uring", "absent", str(error), why, fix)
    return Check("io_uring", "present", "permitted", why)


def free_space(folder: Path) -> Check:
    """Check the space that is left for data sets."""
    why = "a data set takes 150 kB an image of 3 × 224 × 224 uint8, four times that as float32"
    return _space("free space", folder, why, "free some, or give another folder")


def shared_memory() -> Check:
    """Check the size of /dev/shm."""
    why = "data is staged there, once per NUMA node"
    folder, fix = Path("/dev/shm"), "mount -o remount,size=50% /dev/shm, or docker run --shm-size=32g"
    if not folder.is_dir():
        return Check("/dev/shm", "absent", "no such folder", why, "mount -t tmpfs tmpfs /dev/shm")
    return _space("/dev/shm", folder, why, fix)


def _space(name: str, folder: Path, why: str, fix: str) -> Check:
    """Check that a data set of usual size fits."""
    space = os.statvfs(folder)
    free, total = space.f_bavail * space.f_frsize, space.f_blocks * space.f_frsize
    found = f"{gigabytes(free)} of {gigabytes(total)}"
    if free >= DATASET_BYTES:
        return Check(name, "present", found, why)
    return Check(name, "limited", f"{found}; 100,000 images take {gigabytes(DATASET_BYTES)}", why, fix)


def program(name: str, why: str) -> Check:
    """Check that a program is on the path."""
    place = shutil.which(name)
    return Check(name, "present", place, why) if place else Check(name, "absent", "not on PATH", why, install(name))


def fio() -> Check:
    """Check fio and its version."""
    check = program("fio", "the peer that reads of storage are compared with")
    if check.status == "absent":
        return check
    try:
        told = subprocess.run([check.found, "--version"], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return Check("fio", "limited", f"{check.found} does not run: {error}", check.why, install("fio"))
    return Check("fio", "present", told.stdout.strip(), check.why)


def package(name: str, extra: str) -> Check:
    """Check a package that one of inferkit's extras brings."""
    purposes = {
        "measure": "measuring needs it; reading executed notebooks does not",
        "lab": "for exploring in JupyterLab; batch runs do without",
        "demo": "sample photographs for quickstart",
    }
    version = installed([name]).get(name)
    if version is None:
        return Check(name, "absent", "not installed", purposes[extra], f"pip install 'inferkit[{extra}]'")
    return Check(name, "present", version, purposes[extra])
