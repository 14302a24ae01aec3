import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from inferkit.linux import cgroups as limits
from inferkit.linux.cgroups import cpus
from inferkit.linux.procfs import cpu_list, fields, integer, kibibytes, text
from inferkit.machine import facts as host
from inferkit.machine import gpus
from inferkit.machine.facts import facts
from inferkit.records.host import Gpu, Host, Identity

FIXTURES = Path(__file__).parents[1] / "fixtures" / "host"
GIB = 1 << 30


def unpack(name: str, root: Path) -> Path:
    """Lay out a tree that was recorded by ``tail -n +1 FILE…``."""
    recorded = (FIXTURES / name).read_text()
    for path, content in re.findall(r"^==> /(\S+) <==\n(.*?)(?=^==> |\Z)", recorded, re.MULTILINE | re.DOTALL):
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content.removesuffix("\n"))
    return root


@pytest.fixture
def recorded(tmp_path: Path) -> Callable[[str], Host]:
    return lambda name: facts(unpack(name, tmp_path / name))


def test_two_socket_server_with_gpus(recorded: Callable[[str], Host]) -> None:
    found = recorded("xeon.txt")
    assert found.cpu == "Intel(R) Xeon(R) Silver 4112 CPU @ 2.60GHz"
    assert (found.sockets, found.cores, found.threads_total, found.threads) == (2, 8, 16, 16)
    assert found.memory_bytes == 197586184 * 1024
    assert (found.cpu_quota, found.memory_limit_bytes, found.virtual) == (None, None, None)
    assert [node.cpus for node in found.numa_nodes] == [[0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15]]
    assert [node.memory_bytes for node in found.numa_nodes] == [98703872 * 1024, 98882312 * 1024]
    assert (found.kernel, found.os, found.governor) == ("5.15.0-113-generic", "Ubuntu 22.04.4 LTS", "performance")
    assert found.gpus == [
        Gpu(
            index=index,
            name="Tesla V100-SXM2-32GB",
            pci_bus_id=address,
            numa_node=index,
            driver="535.183.01",
            pcie_generation=3,
            pcie_width=16,
        )
        for index, address in enumerate(["0000:3b:00.0", "0000:af:00.0"])
    ]


def test_what_identifies_lies_under_identity_alone(recorded: Callable[[str], Host]) -> None:
    found = recorded("xeon.txt")
    uuids = {f"gpu{n} uuid": f"GPU-00000000-1111-2222-3333-44444444444{n}" for n in (0, 1)}
    assert found.identity == Identity(hostname="node17", user="", serials={**uuids, "machine serial": "ABC1234"})
    rest = found.model_dump_json(exclude={"identity"})
    assert not [secret for secret in ("node17", "ABC1234", "GPU-0") if secret in rest]


def test_epyc_with_four_nodes_in_a_job(recorded: Callable[[str], Host]) -> None:
    found = recorded("epyc.txt")
    assert found.cpu == "AMD EPYC 7251 8-Core Processor"
    assert (found.sockets, found.cores, found.threads_total, found.threads) == (1, 8, 16, 8)
    assert found.cpu_quota == 2.5  # the job's, two levels up; the step and the top set none
    assert found.memory_limit_bytes is None
    assert [node.cpus for node in found.numa_nodes] == [[0, 1, 8, 9], [2, 3, 10, 11], [4, 5, 12, 13], [6, 7, 14, 15]]
    assert found.governor == "performance, schedutil"
    assert found.virtual is None
    assert found.gpus == []


def test_pod_in_a_virtual_machine(recorded: Callable[[str], Host]) -> None:
    found = recorded("vm.txt")
    assert (found.sockets, found.cores, found.threads) == (1, 2, 4)
    assert (found.cpu_quota, found.memory_limit_bytes, found.governor) == (1.5, 8 * GIB, None)
    assert found.virtual == "virtual machine (QEMU Standard PC (Q35 + ICH9, 2009)); container (kubernetes)"
    assert found.os == "Debian GNU/Linux 12 (bookworm)"
    gpu = found.gpus[0]
    assert (gpu.numa_node, gpu.driver, gpu.pcie_generation) == (None, "580.82.07", 5)


def test_arm_takes_cores_from_sysfs(recorded: Callable[[str], Host]) -> None:
    found = recorded("grace.txt")
    assert (found.cpu, found.sockets, found.cores) == ("ARM implementer 0x41 part 0xd4f", 1, 2)
    assert [node.cpus for node in found.numa_nodes] == [[0, 1], []]


def test_empty_root_is_unknown_not_guessed(tmp_path: Path) -> None:
    found = facts(tmp_path)
    unknown = (found.sockets, found.cores, found.threads_total, found.threads, found.memory_bytes, found.virtual)
    assert unknown == (None,) * 6
    assert (found.cpu, found.kernel, found.os, found.numa_nodes, found.gpus) == ("", "", "", [], [])


@pytest.mark.parametrize(
    ("mark", "kind"), [(".dockerenv", "docker"), ("run/.containerenv", "podman"), (".singularity.d", "apptainer")]
)
def test_container_by_the_runtime_s_file(tmp_path: Path, mark: str, kind: str) -> None:
    root = unpack("xeon.txt", tmp_path)
    (root / mark).parent.mkdir(exist_ok=True)
    (root / mark).touch()
    assert facts(root).virtual == f"container ({kind})"


def test_container_by_its_layered_root(tmp_path: Path) -> None:
    root = unpack("xeon.txt", tmp_path)
    (root / "proc/self/mountinfo").write_text("612 500 0:77 / / rw,relatime - overlay overlay rw,lowerdir=/a\n")
    assert facts(root).virtual == "container (of unknown kind)"


def test_this_machine() -> None:
    found = facts()
    assert found is facts()
    assert found.threads == len(os.sched_getaffinity(0))
    assert found.threads_total is not None
    assert 1 <= cpus() <= found.threads <= found.threads_total
    assert found.packages["inferkit"]
    assert found.python == ".".join(map(str, sys.version_info[:3]))
    assert found.identity is not None
    assert found.identity.user
    assert Host.model_validate_json(found.model_dump_json()) == found


def test_host_is_frozen_and_closed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Host(cpu="x").cpu = "y"  # type: ignore[misc]
    with pytest.raises(ValidationError, match="Extra inputs"):
        Host.model_validate({"cpu": "x", "colour": "blue"})


def test_nothing_heavy_is_imported() -> None:
    source = (
        "import sys, inferkit.machine.facts; "
        "print([m for m in ('numpy','pandas','pynvml','pycuda') if m in sys.modules])"
    )
    with os.popen(f'{sys.executable} -c "{source}"') as answer:
        assert answer.read().strip() == "[]"


@pytest.mark.parametrize(("affinity", "quota", "expected"), [(8, None, 8), (8, 2.5, 3), (2, 64.0, 2), (4, 0.25, 1)])
def test_cpus_is_the_lower_of_affinity_and_quota(
    monkeypatch: pytest.MonkeyPatch, affinity: int, quota: float | None, expected: int
) -> None:
    monkeypatch.setattr(limits, "affinity", lambda: set(range(affinity)))
    monkeypatch.setattr(limits, "cpu_quota", lambda: quota)
    assert limits.cpus() == expected


def test_user_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000)
    assert host._user() == "uid 4000000"


class _Refused(Exception):
    pass


def _nvml(**answers: Any) -> ModuleType:
    """Make an NVML of one GPU that refuses whatever is not among the answers."""

    def refuse(*_: Any) -> Any:
        raise _Refused

    module = ModuleType("pynvml")
    for what in ("HandleByIndex", "Name", "UUID", "Serial", "MemoryInfo", "PciInfo", "CudaComputeCapability"):
        setattr(module, f"nvmlDeviceGet{what}", refuse)
    for what in ("EnforcedPowerLimit", "EccMode", "MigMode", "MaxPcieLinkGeneration", "MaxPcieLinkWidth"):
        setattr(module, f"nvmlDeviceGet{what}", refuse)
    defaults = {
        "NVMLError": _Refused,
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlSystemGetDriverVersion": lambda: b"580.82.07",
        "nvmlDeviceGetCount": lambda: 1,
        "nvmlDeviceGetHandleByIndex": lambda index: index,
    }
    for name, answer in {**defaults, **answers}.items():
        setattr(module, name, answer)
    return module


def test_nvml_tells_everything(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told = {
        "MemoryInfo": SimpleNamespace(total=85 * 10**9),
        "PciInfo": SimpleNamespace(busId=b"00000000:3B:00.0"),
        "CudaComputeCapability": (9, 0),
        "EnforcedPowerLimit": 700_000,
        "EccMode": (1, 1),
        "MigMode": (0, 0),
        "Name": "NVIDIA H100",
        "UUID": "GPU-42",
        "MaxPcieLinkGeneration": 5,
        "MaxPcieLinkWidth": 16,
    }
    answers = {f"nvmlDeviceGet{what}": (lambda _, value=value: value) for what, value in told.items()}
    monkeypatch.setitem(sys.modules, "pynvml", _nvml(**answers))
    ((gpu, serials),) = gpus._from_nvml(unpack("xeon.txt", tmp_path))
    assert serials == {"gpu0 uuid": "GPU-42"}
    assert gpu == Gpu(
        index=0,
        name="NVIDIA H100",
        memory_bytes=85 * 10**9,
        pci_bus_id="0000:3b:00.0",
        numa_node=0,
        driver="580.82.07",
        compute_capability="9.0",
        pcie_generation=5,
        pcie_width=16,
        power_limit_w=700.0,
        ecc=True,
        mig=False,
    )


def test_nvml_tells_nothing_but_that_there_is_a_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", _nvml())
    assert gpus._from_nvml(tmp_path) == [(Gpu(index=0, name="NVIDIA GPU", driver="580.82.07"), {})]


def test_lost_gpu_is_listed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(_: int) -> None:
        raise _Refused

    monkeypatch.setitem(sys.modules, "pynvml", _nvml(nvmlDeviceGetHandleByIndex=refuse))
    assert gpus._from_nvml(tmp_path) == [(Gpu(index=0, name="NVIDIA GPU, out of reach"), {})]


def test_nvml_without_driver_or_bindings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse() -> None:
        raise _Refused

    monkeypatch.setitem(sys.modules, "pynvml", _nvml(nvmlInit=refuse))
    assert gpus._from_nvml(tmp_path) == []
    monkeypatch.setitem(sys.modules, "pynvml", _nvml(nvmlDeviceGetCount=refuse))
    assert gpus._from_nvml(tmp_path) == []
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert gpus._from_nvml(tmp_path) == []


@given(st.sets(st.integers(0, 300)))
def test_cpu_list_reads_what_the_kernel_writes(cpus: set[int]) -> None:
    starts = sorted(cpu for cpu in cpus if cpu - 1 not in cpus)
    ends = sorted(cpu for cpu in cpus if cpu + 1 not in cpus)
    written = ",".join(f"{a}-{b}" if a < b else f"{a}" for a, b in zip(starts, ends, strict=True))
    assert cpu_list(written) == sorted(cpus)


def test_small_files(tmp_path: Path) -> None:
    file = tmp_path / "value"
    assert (text(file), integer(file), fields(None), kibibytes(None)) == (None, None, {}, None)
    file.write_text("max\n")
    assert (text(file), integer(file)) == ("max", None)
    file.write_text("-1\n")
    assert integer(file) == -1
    assert fields("a:b : c\nnothing\nd:\n") == {"a": "b : c", "d": ""}
    assert kibibytes("12 kB") == 12288
