import errno
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferkit.errors import ReadError
from inferkit.linux.mounts import Filesystem, filesystem
from inferkit.machine import checks, doctor
from inferkit.machine.checks import Check
from inferkit.machine.doctor import examine, table
from inferkit.machine.holders import Holder
from inferkit.records.host import Gpu, Host, NumaNode

GIB = 1 << 30
SERVER = Host(
    cpu="Xeon",
    sockets=2,
    cores=8,
    threads_total=16,
    threads=16,
    memory_bytes=64 * GIB,
    numa_nodes=[NumaNode(node=n, cpus=list(range(8 * n, 8 * n + 8)), memory_bytes=32 * GIB) for n in (0, 1)],
    gpus=[Gpu(index=0, name="NVIDIA H100", memory_bytes=80 * GIB, numa_node=1, compute_capability="9.0")],
    governor="performance",
)


IMPORT_FAULT = doctor.import_fault


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is installed can be imported; trying takes seconds."""
    monkeypatch.setattr(doctor, "import_fault", lambda _: "")


def change(**facts: Any) -> Host:
    return SERVER.model_copy(update=facts)


def disk(fstype: str, **facts: Any) -> Filesystem:
    told = {"in_memory": False, "network": False, "fuse": False, "block_device": None, **facts}
    return Filesystem(Path("/d"), Path("/d"), fstype, "device", (), "0:1", **told)


class NVMLError(Exception):
    """As the library raises it."""


def nvml(*silent: str) -> Any:
    """Make an NVML that answers all but some calls."""

    def refuse(*_: int) -> None:
        message = "Driver/library version mismatch"
        raise NVMLError(message)

    calls = ("nvmlInit", "nvmlShutdown", "nvmlDeviceGetHandleByIndex")
    return SimpleNamespace(
        NVMLError=NVMLError, **{name: refuse if name in silent else (lambda *_: None) for name in calls}
    )


def test_every_check_says_why_and_lacks_say_the_fix(tmp_path: Path) -> None:
    found = examine(tmp_path)
    names = [check.name for check in found]
    assert len(set(names)) == len(names)
    expected = {"Python", "CPU", "NUMA nodes", "memory", "GPUs", "TensorRT", "PyCUDA", "O_DIRECT", "free space"}
    assert expected | {"/dev/shm", "locked memory", "open files", "numactl", "fio", "jupyterlab"} <= set(names)
    assert all(check.found and check.why and "\n" not in check.why for check in found)
    assert [check.name for check in found if bool(check.fix) == (check.status == "present")] == []


def test_examining_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("x")
    assert [check.name for check in examine(tmp_path / "not" / "yet")] == [c.name for c in examine(tmp_path / "data")]
    assert [file.name for file in tmp_path.iterdir()] == ["data"]


texts = st.text(st.characters(codec="ascii", categories=["L", "N", "P", "Zs"]), max_size=300)
any_check = st.builds(
    Check, st.text("abcdef /", min_size=1, max_size=20), st.sampled_from(["present", "limited"]), texts, texts, texts
)


@given(st.lists(any_check, max_size=5))
def test_table_is_never_wider_than_100_columns(rows: list[Check]) -> None:
    assert all(len(line) <= 100 for line in table(rows).splitlines())


def test_table_aligns_and_explains_lacks_only() -> None:
    rows = [Check("CPU", "present", "fast", "speed"), Check("memory", "limited", "1 GiB", "batches", "docker --memory")]
    assert table(rows).splitlines() == [
        "CPU     present  fast",
        "memory  limited  1 GiB",
        "                 why: batches",
        "                 fix: docker --memory",
    ]
    assert table([]) == ""


@pytest.mark.parametrize(
    ("version", "status"),
    [((3, 10, 9), "limited"), ((3, 11, 0), "present"), ((3, 13, 9), "present"), ((3, 14), "limited")],
)
def test_python(version: tuple[int, ...], status: str) -> None:
    assert checks.python(version).status == status


@pytest.mark.parametrize(
    ("check", "facts", "status", "words"),
    [
        (checks.cpu, {}, "present", "Xeon: sockets 2, cores 8, logical CPUs 16"),
        (checks.cpu, {"cpu_quota": 16.0}, "present", "Xeon"),
        (checks.cpu, {"cpu_quota": 1.5}, "limited", "usable: 16, quota 1.5 CPUs"),
        (checks.cpu, {"threads": 4}, "limited", "usable: 4"),
        (checks.cpu, {"threads_total": None}, "unknown", "cpuinfo"),
        (checks.numa, {}, "present", "0: 8 CPUs 32 GiB, 1: 8 CPUs 32 GiB"),
        (checks.numa, {"numa_nodes": []}, "unknown", "none"),
        (checks.numa, {"gpus": [Gpu(index=3, name="g")]}, "limited", "node unknown of GPU 3"),
        (checks.memory, {}, "present", "64 GiB"),
        (checks.memory, {"memory_limit_bytes": 8 * GIB}, "limited", "allows 8 GiB"),
        (checks.memory, {"memory_bytes": None}, "unknown", "meminfo"),
        (checks.governor, {}, "present", "performance"),
        (checks.governor, {"governor": "performance, powersave"}, "limited", "powersave"),
        (checks.governor, {"governor": None}, "unknown", "virtual"),
        (checks.gpu, {}, "present", "0: NVIDIA H100 80 GiB"),
        (checks.gpu, {"gpus": []}, "absent", "none"),
    ],
)
def test_machine(
    monkeypatch: pytest.MonkeyPatch, check: Callable[[Host], Check], facts: dict[str, Any], status: str, words: str
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", nvml())
    answer = check(change(**facts))
    assert answer.status == status
    assert words in answer.found


def test_gpu_without_nvml(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setattr(checks, "installed", lambda _: {})
    answer = checks.gpu(SERVER)
    assert (answer.status, answer.fix) == ("limited", "pip install 'inferkit[measure]'")


@pytest.mark.parametrize("silent", ["nvmlInit", "nvmlDeviceGetHandleByIndex"])
def test_gpus_are_not_present_where_nvml_does_not_answer(monkeypatch: pytest.MonkeyPatch, silent: str) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", nvml(silent))
    monkeypatch.setattr(checks, "installed", lambda _: {"nvidia-ml-py": "13"})
    answer = checks.gpu(SERVER)
    assert (answer.status, "nvidia-smi" in answer.fix) == ("limited", True)
    assert "NVIDIA H100" in answer.found
    assert "Driver/library version mismatch" in answer.found


def test_driver(tmp_path: Path) -> None:
    assert checks.driver(tmp_path).status == "absent"
    version = tmp_path / "proc/driver/nvidia/version"
    version.parent.mkdir(parents=True)
    version.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12\n")
    hidden = checks.driver(tmp_path)
    assert (hidden.status, "docker run --gpus all" in hidden.fix) == ("limited", True)
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/nvidia0").touch()
    assert checks.driver(tmp_path).found == "535.183.01, nvidia0"


@pytest.mark.parametrize(
    ("installed", "gpus", "status", "words"),
    [
        ({}, SERVER.gpus, "absent", "neither"),
        ({"tensorrt-cu12": "10.16.1"}, SERVER.gpus, "present", "tensorrt 10.16.1"),
        ({"tensorrt-rtx": "1.4.0.76"}, SERVER.gpus, "present", "tensorrt_rtx 1.4.0.76"),
        ({"tensorrt-rtx": "1.6.1.120"}, SERVER.gpus, "present", "tensorrt_rtx 1.6.1.120"),
        ({"tensorrt-rtx": "1.7"}, SERVER.gpus, "limited", "refuses compute capability 9.0"),
        ({"tensorrt-rtx": "1.7.1"}, SERVER.gpus, "limited", "refuses compute capability 9.0"),
        ({"tensorrt-rtx": "1.7.1"}, [Gpu(index=0, name="L4", compute_capability="8.9")], "present", "1.7.1"),
        ({"tensorrt": "11.4", "tensorrt-rtx": "1.7.1"}, SERVER.gpus, "present", "tensorrt 11.4"),
    ],
)
def test_tensorrt(
    monkeypatch: pytest.MonkeyPatch, installed: dict[str, str], gpus: list[Gpu], status: str, words: str
) -> None:
    modules = {name.removesuffix("-cu12").replace("-", "_") for name in installed}
    monkeypatch.setattr(doctor, "find_spec", lambda name: name in modules or None)
    monkeypatch.setattr(doctor, "installed", lambda names: {n: installed[n] for n in names if n in installed})
    answer = doctor.tensorrt(change(gpus=gpus))
    assert answer.status == status
    assert words in answer.found


def test_pycuda_that_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "installed", lambda _: {"pycuda": "2026.1"})
    monkeypatch.setitem(sys.modules, "pycuda", ModuleType("pycuda"))
    monkeypatch.setitem(sys.modules, "pycuda.driver", None)
    broken = doctor.pycuda()
    assert (broken.status, "import fails" in broken.found) == ("limited", True)
    monkeypatch.setitem(sys.modules, "pycuda.driver", ModuleType("pycuda.driver"))
    assert doctor.pycuda() == Check("PyCUDA", "present", "2026.1", broken.why)


@pytest.mark.parametrize(
    ("own", "status", "words"),
    [
        (Holder("disk", ("ext4", "nvme0n1"), ("nvme0n1",)), "present", "disk nvme0n1"),
        (Holder("disk", ("xfs", "dm-0", "sda"), ("sda", "sdb")), "present", "disk sda, sdb (under xfs on dm-0)"),
        (Holder("memory", ("tmpfs",)), "limited", "tmpfs on /d: lies in memory"),
        (Holder("memory", ("btrfs", "loop0", "tmpfs")), "limited", "in memory (btrfs on loop0 on tmpfs)"),
        (Holder("network", ("nfs4",)), "unknown", "network"),
        (Holder("fuse", ("fuse.sshfs",)), "unknown", "FUSE"),
        (Holder("unresolved", ("zfs",)), "unknown", "nobody can tell what is underneath"),
    ],
)
def test_file_system(own: Holder, status: str, words: str) -> None:
    answer = doctor.file_system(disk(own.chain[0]), own)
    assert answer.status == status
    assert words in answer.found


def test_direct_io_is_really_tried(tmp_path: Path) -> None:
    answer = doctor.direct_io(tmp_path, filesystem(tmp_path))
    assert answer.status in ("present", "limited", "absent", "unknown")
    assert list(tmp_path.iterdir()) == []
    assert doctor.direct_io(Path("/dev/shm"), filesystem(Path("/dev/shm"))).status == "limited"
    assert doctor.direct_io(Path("/proc"), filesystem(Path("/proc"))).found == "proc refuses it"


@pytest.mark.parametrize(("fstype", "status"), [("zfs", "unknown"), ("nfs4", "present")])
def test_direct_io_with_no_alignment_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fstype: str, status: str
) -> None:
    monkeypatch.setattr(doctor, "direct_io_alignment", lambda _: None)
    monkeypatch.setattr(os, "O_DIRECT", 0)
    assert doctor.direct_io(tmp_path, disk(fstype)).status == status


def test_io_uring_is_really_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(depth: int, group: int) -> None:
        raise ReadError("io_uring is refused: Operation not permitted (errno 1)")

    monkeypatch.setattr(doctor, "ReadQueue", refuse)
    answer = doctor.io_uring()
    assert answer.status == "absent"
    assert "errno 1" in answer.found
    assert "reader direct" in answer.fix


def test_direct_io_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(_: Path) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(doctor, "direct_io_alignment", refuse)
    answer = doctor.direct_io(tmp_path, disk("ecryptfs"))
    assert (answer.status, answer.found) == ("absent", "ecryptfs refuses it")


def test_space_too_small_for_a_data_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor, "DATASET_BYTES", 1 << 60)
    answer = doctor.free_space(tmp_path)
    assert answer.status == "limited"
    assert "100,000 images take" in answer.found


@pytest.mark.parametrize(
    ("limits", "status", "fix"),
    [
        ((64, 64), "limited", "docker run --ulimit nofile=4096, or limits.conf"),
        ((64, 1 << 20), "limited", "ulimit -n 4096"),
        ((4096, 4096), "present", ""),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), "present", ""),
    ],
)
def test_open_files(monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int], status: str, fix: str) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    answer = checks.open_files()
    assert (answer.status, answer.fix) == (status, fix)


def test_locked_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (8 << 20, -1))
    assert checks.locked_memory().found == "8 MiB at most"
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    assert checks.locked_memory().status == "present"


def test_page_cache_when_the_kernel_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "resident_share", lambda _: None)
    assert checks.page_cache().status == "unknown"


def test_fio_is_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "fio"
    monkeypatch.setenv("PATH", str(tmp_path))
    fio = partial(doctor.program, "fio", "--version", "why")
    assert fio().status == "absent"
    program.write_text("#!/bin/sh\necho fio-3.99\n")
    program.chmod(0o755)
    assert fio().found == "fio-3.99"
    program.write_text("#!/bin/sh\necho no library >&2\nexit 3\n")
    broken = fio()
    assert (broken.status, "exit code 3: no library" in broken.found) == ("limited", True)


def test_what_is_installed_and_cannot_be_imported_is_not_present(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that ends the process, as one does that was built for another CPU, ends no check."""
    monkeypatch.setattr(doctor, "import_fault", IMPORT_FAULT)
    monkeypatch.setattr(doctor, "installed", lambda names: dict.fromkeys(names, "1.0"))
    for module, told in (("no_such_module", "ModuleNotFoundError"), ("os; os.abort()", "SIGABRT")):
        monkeypatch.setitem(doctor.PURPOSES, "onnxruntime", (module, "measure", "why"))
        broken = doctor.package("onnxruntime")
        assert (broken.status, told in broken.found, "reinstall" in broken.fix) == ("limited", True, True)


FAULTS = [
    *(OSError(1, "not permitted"), ValueError("x"), KeyError("y"), ReadError("z")),
    *(RuntimeError("can't start new thread"), MemoryError()),
]


@pytest.mark.parametrize("error", FAULTS)
def test_a_check_that_fails_ends_no_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception) -> None:
    def fail(*_: object) -> Check:
        raise error

    names = [check.name for check in examine(tmp_path)]
    monkeypatch.setattr(checks, "cpu", fail)
    monkeypatch.setattr(doctor, "direct_io", fail)
    found = examine(tmp_path)
    assert [check.name for check in found] == names
    assert [check.name for check in found if "the check failed" in check.found] == ["CPU", "O_DIRECT"]


def test_where_no_file_may_be_made_one_that_is_there_tells_of_o_direct(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(**_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    can = doctor.direct_io(tmp_path, filesystem(tmp_path))
    monkeypatch.setattr(tempfile, "NamedTemporaryFile", refuse)
    cannot = doctor.direct_io(tmp_path, filesystem(tmp_path))
    assert (cannot.status, "no file can be made" in cannot.found) == ("unknown", True)
    (tmp_path / "images.tensors").write_bytes(bytes(4096))
    assert doctor.direct_io(tmp_path, filesystem(tmp_path)) == can


def test_absent_package_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "installed", lambda _: {})
    assert doctor.package("scikit-image").fix == "pip install 'inferkit[demo]'"


def test_doctor_loads_no_cuda_that_is_not_there() -> None:
    source = (
        "import sys, inferkit.machine.doctor; print([m for m in ('pandas','tensorrt','pycuda') if m in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
