"""Which processes compute on a GPU, as NVML reports it, and which of them through NVIDIA's MPS.

The Multi-Process Service lets several processes compute on a GPU at the same time; without it they take turns.
"""

from pathlib import Path
from typing import Any, NamedTuple

from inferkit.linux.procfs import ROOT, command

MPS_SERVER = b"nvidia-cuda-mps-server"
"""The service's own process: it stays on every GPU that was ever shared, and computes nothing."""


class Users(NamedTuple):
    """Ids of the processes that compute on a GPU, and of those among them that do so through MPS.

    In a container NVML may report other ids than the container sees, or none.
    """

    all: list[int]
    by_mps: list[int]


def users_of(library: Any, handle: Any, proc: Path = ROOT / "proc") -> Users | None:
    """Return who computes on a GPU; None if NVML does not report it.

    Parameters
    ----------
    library, handle
        NVML's module, initialised, and its handle of a GPU.
    """
    refusals = (library.NVMLError, library.NVMLLibraryMismatchError)  # the latter by bindings newer than the driver
    try:
        running = [process.pid for process in library.nvmlDeviceGetComputeRunningProcesses(handle)]
    except refusals:
        return None
    try:
        by_mps = [process.pid for process in library.nvmlDeviceGetMPSComputeRunningProcesses(handle)]
    except refusals:  # a driver without it
        by_mps = []
    return Users([pid for pid in sorted({*running, *by_mps}) if not _is_server(proc / str(pid))], by_mps)


def _is_server(process: Path) -> bool:
    program = next(iter(command(process)), b"")
    return program.rsplit(b"/", 1)[-1].strip() == MPS_SERVER
