"""Which processes compute on a GPU, as NVML reports it, and which of them through NVIDIA's MPS.

The Multi-Process Service lets several processes compute on a GPU at the same time; without it they take turns.
"""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from inferkit.errors import DeviceError
from inferkit.linux.procfs import ROOT, command
from inferkit.machine.nvml import nvml

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
    try:
        running = [process.pid for process in library.nvmlDeviceGetComputeRunningProcesses(handle)]
    except library.NVMLError:
        return None
    try:
        by_mps = [process.pid for process in library.nvmlDeviceGetMPSComputeRunningProcesses(handle)]
    except library.NVMLError:  # a driver without it
        by_mps = []
    return Users([pid for pid in sorted({*running, *by_mps}) if not _is_server(proc / str(pid))], by_mps)


def users(gpus: Sequence[int]) -> dict[int, list[int]]:
    """Return the processes that compute on some GPUs (NVML's numbers); nothing if NVML does not report it."""
    told: dict[int, Users | None] = {}
    if gpus:
        with suppress(DeviceError), nvml() as library:
            told = {gpu: users_of(library, library.nvmlDeviceGetHandleByIndex(gpu)) for gpu in gpus}
    return {gpu: found.all for gpu, found in told.items() if found is not None}


def _is_server(process: Path) -> bool:
    program = next(iter(command(process)), b"")
    return program.rsplit(b"/", 1)[-1].strip() == MPS_SERVER
