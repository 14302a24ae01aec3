"""What inferkit needs that this machine has or lacks, and the fix for each lack."""

import errno
import importlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from inferkit.errors import InferkitError, ReadError
from inferkit.linux.direct_io import direct_io_alignment
from inferkit.linux.io_uring import ReadQueue
from inferkit.linux.mounts import Filesystem, existing, filesystem
from inferkit.machine import checks, decoding, direct_storage
from inferkit.machine.checks import Check
from inferkit.machine.facts import PACKAGES, facts, installed
from inferkit.machine.holders import Holder, holder
from inferkit.machine.programs import install
from inferkit.machine.tensorrt_versions import HOPPER, HOPPER_PIN, refuses_hopper
from inferkit.os_errors import explained, hinted, system_refusal
from inferkit.records.host import Host
from inferkit.text import text_table
from inferkit.units import gigabytes

WIDTH = 100
"""Columns of a table at most."""

DATASET_BYTES = 100_000 * 3 * 224 * 224
"""A data set of usual size: 100,000 images of 3 × 224 × 224 uint8, 15 GB."""

PURPOSES = {
    "onnxruntime": ("onnxruntime", "measure", "measuring needs it; reading executed notebooks does not"),
    "jupyterlab": ("jupyterlab", "lab", "for exploring in JupyterLab; batch runs do without"),
    "ipywidgets": ("ipywidgets", "lab", "for exploring in JupyterLab; batch runs do without"),
    "scikit-image": ("skimage.data", "demo", "sample photographs for quickstart"),
}
"""Packages: what to import of each, which of inferkit's extras brings it, and why it matters."""
_FAULTS = (InferkitError, OSError, ValueError, LookupError, AttributeError, ImportError, RuntimeError, MemoryError)
"""What a check may end by: what the system refuses, and files of /proc and /sys that hold what nobody expects."""
RUNS_S = 30.0
"""Longest time that a program may take to say its version, or a package to be imported."""
CHECK_FAILED = "look at the reason; in a container a seccomp profile or a missing mount (/proc, /sys) may hide it"

_TENSORRT_FIX = "pip install 'inferkit[tensorrt]', or 'inferkit[tensorrt-rtx]'"


def examine(path: Path) -> list[Check]:
    """Return what this machine has and lacks for data that lie, or will lie, under ``path``.

    This makes a temporary file there and removes it again.
    """
    host, folder = facts(), existing(path)
    folder = folder if folder.is_dir() else folder.parent
    looks: dict[str, Callable[[], Check]] = {
        "Python": checks.python,
        "CPU": partial(checks.cpu, host),
        "NUMA nodes": partial(checks.numa, host),
        "memory": partial(checks.memory, host),
        "CPU governor": partial(checks.governor, host),
        "NVIDIA driver": checks.driver,
        "GPUs": partial(checks.gpu, host),
        "TensorRT": partial(tensorrt, host),
        "PyCUDA": pycuda,
        "cuda-bindings": cuda_bindings,
        "nvJPEG": decoding.nvjpeg,
        "NVRTC": decoding.nvrtc,
        "JPEG decoder": partial(decoding.decoder, host),
        "KvikIO": direct_storage.kvikio,
        "nvidia-fs": direct_storage.module,
        "file system": lambda: file_system(filesystem(folder), holder(folder)),
        "O_DIRECT": lambda: direct_io(folder, filesystem(folder)),
        "io_uring": io_uring,
        "free space": partial(free_space, folder),
        "/dev/shm": shared_memory,
        "locked memory": checks.locked_memory,
        "open files": checks.open_files,
        "page cache": checks.page_cache,
        "numactl": partial(program, "numactl", "--show", "binds peers and by-hand runs to a NUMA node"),
        "fio": partial(program, "fio", "--version", "the peer that reads of storage are compared with"),
        "nvbandwidth": partial(program, "nvbandwidth", "--help", "the peer that copies to GPUs are compared with"),
        "trtexec": trtexec,
        **{name: partial(package, name) for name in PURPOSES},
    }
    return [_looked(name, look) for name, look in looks.items()]


def _looked(name: str, look: Callable[[], Check]) -> Check:
    """Make one check; one that cannot be made ends none of the others."""
    try:
        return look()
    except _FAULTS as error:
        found = f"the check failed: {system_refusal(error) or f'{type(error).__name__}: {error}'}"
        return Check(name, "unknown", found, "what was not looked at may be lacking", CHECK_FAILED)


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
    flavour = _flavour()
    if flavour is None:
        return Check("TensorRT", "absent", "neither tensorrt nor tensorrt_rtx", why, _TENSORRT_FIX)
    base = flavour.replace("_", "-")
    version = next(iter(installed(name for name in PACKAGES if re.fullmatch(rf"{base}(-cu\d+)?", name)).values()), "")
    found = f"{flavour} {version or 'of unknown version'}"
    hopper = any(gpu.compute_capability == HOPPER for gpu in host.gpus)
    if hopper and refuses_hopper(flavour, version):
        found += f", which refuses compute capability {HOPPER} (from 1.7 on); 1.4 to 1.6 run there"
        fix = f"pip install 'inferkit[tensorrt]', or '{HOPPER_PIN}'"
        return Check("TensorRT", "limited", found, why, fix)
    if fault := import_fault(flavour):
        return Check("TensorRT", "limited", f"{found}, but import fails: {fault}", why, _TENSORRT_FIX)
    return Check("TensorRT", "present", found, why)


def _flavour() -> str | None:
    """Return which TensorRT is installed, the full one first: as engine ``tensorrt`` looks for it."""
    return next((name for name in ("tensorrt", "tensorrt_rtx") if find_spec(name)), None)


def trtexec() -> Check:
    """Check that the program of the TensorRT that is installed is there, and runs."""
    name = "tensorrt_rtx" if _flavour() == "tensorrt_rtx" else "trtexec"
    return program(name, "--help", "the peer that inference with TensorRT is compared with")


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
    if fault := import_fault("cuda.bindings.driver"):
        fix = "pip install --force-reinstall cuda-bindings"
        return Check("cuda-bindings", "limited", f"{version}, but import fails: {fault}", why, fix)
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
    """Check O_DIRECT by opening a file with it, and the alignment that the file system reports."""
    why = "reader direct bypasses the page cache by it"
    fix = "use reader buffered, or put the data on ext4 or XFS"
    try:
        with _some_file(folder) as file:
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


def _some_file(folder: Path) -> IO[bytes]:
    """Open a temporary file in a folder, or where none may be made, as on exports of data sets, one that is there."""
    try:
        return tempfile.NamedTemporaryFile(dir=folder, prefix=".inferkit-")
    except OSError:
        there = next((path for path in folder.iterdir() if path.is_file()), None)
        if there is None:
            raise
        return there.open("rb")


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


def program(name: str, asked: str, why: str) -> Check:
    """Check that a program is on the path, and runs if it is ``asked`` for something harmless."""
    place = shutil.which(name)
    if place is None:
        return Check(name, "absent", "not on PATH", why, install(name))
    told, fault = _run([place, asked])
    if fault:
        return Check(name, "limited", f"{place} does not run: {fault}", why, install(name))
    return Check(name, "present", told.strip() if asked == "--version" else place, why)


def package(name: str) -> Check:
    """Check that a package is installed and can be imported."""
    module, extra, why = PURPOSES[name]
    version = installed([name]).get(name)
    if version is None:
        return Check(name, "absent", "not installed", why, f"pip install 'inferkit[{extra}]'")
    if fault := import_fault(module):
        fix = f"pip install --force-reinstall {name}"
        return Check(name, "limited", f"{version}, but import fails: {fault}", why, fix)
    return Check(name, "present", version, why)


def import_fault(module: str) -> str:
    """Import a module in a process of its own, which it may end; return why that fails, empty if it does not."""
    return _run([sys.executable, "-c", f"import {module}"])[1]


def _run(command: Sequence[str]) -> tuple[str, str]:
    """Run a program; return what it said, and why it failed: its last line, or the signal that ended it."""
    quiet = subprocess.DEVNULL
    try:
        done = subprocess.run(
            command, stdin=quiet, capture_output=True, text=True, errors="replace", timeout=RUNS_S, check=False
        )
    except OSError as error:
        return "", explained(error)
    except subprocess.TimeoutExpired:
        return "", f"no answer within {RUNS_S:.0f} s"
    if not done.returncode:
        return done.stdout, ""
    ended = signal.Signals(-done.returncode).name if done.returncode < 0 else f"exit code {done.returncode}"
    said = (done.stderr or done.stdout).strip().splitlines()
    return "", f"{ended}: {hinted(said[-1])}" if said else ended
