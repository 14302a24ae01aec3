"""Who computes on a GPU, told by a stand-in of NVML; processes are real, but for MPS's server."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from inferkit.machine.gpu_processes import Users, users_of

SERVER, CLIENT, OTHER = 900001, 900002, 900003


class NVMLError(Exception):
    """As the library raises it."""


class NVMLLibraryMismatchError(Exception):
    """As the bindings raise it where they are newer than the driver."""


def nvml(
    running: list[int], by_mps: list[int] | None, *, tells: bool = True, refusal: type[Exception] = NVMLError
) -> Any:
    def told(pids: list[int] | None) -> Any:
        def call(_: Any) -> Any:
            if not tells or pids is None:
                raise refusal("Not Supported")
            return [SimpleNamespace(pid=pid) for pid in pids]

        return call

    return SimpleNamespace(
        NVMLError=NVMLError,
        NVMLLibraryMismatchError=NVMLLibraryMismatchError,
        nvmlDeviceGetComputeRunningProcesses=told(running),
        nvmlDeviceGetMPSComputeRunningProcesses=told(by_mps),
    )


def processes(folder: Path, **commands: bytes) -> Path:
    for pid, command in commands.items():
        (folder / pid.removeprefix("p")).mkdir()
        (folder / pid.removeprefix("p") / "cmdline").write_bytes(command)
    return folder


@pytest.mark.parametrize(
    "command", [b"nvidia-cuda-mps-server", b"nvidia-cuda-mps-server\0\0", b"/usr/bin/nvidia-cuda-mps-server\0-d\0"]
)
def test_the_server_of_mps_is_nobody_and_its_clients_are_known(tmp_path: Path, command: bytes) -> None:
    proc = processes(tmp_path, p900001=command, p900002=b"python3\0-m\0inferkit.ranks.rank\0")
    library = nvml([SERVER, CLIENT, OTHER], [CLIENT])
    assert users_of(library, 0, proc) == Users([CLIENT, OTHER], [CLIENT])


def test_clients_are_found_that_are_told_as_such_alone(tmp_path: Path) -> None:
    assert users_of(nvml([SERVER], [CLIENT]), 0, processes(tmp_path, p900001=b"nvidia-cuda-mps-server\0")) == Users(
        [CLIENT], [CLIENT]
    )


def test_a_process_that_only_names_the_server_counts(tmp_path: Path) -> None:
    proc = processes(tmp_path, p900003=b"watch\0nvidia-cuda-mps-server\0")
    assert users_of(nvml([OTHER], []), 0, proc) == Users([OTHER], [])


def test_a_driver_that_knows_no_mps_still_tells_who_is_there() -> None:
    assert users_of(nvml([os.getpid()], None), 0) == Users([os.getpid()], [])


@pytest.mark.parametrize("refusal", [NVMLError, NVMLLibraryMismatchError])
def test_where_nvml_does_not_tell_nobody_is_made_up(refusal: type[Exception]) -> None:
    assert users_of(nvml([os.getpid()], [], tells=False, refusal=refusal), 0) is None
