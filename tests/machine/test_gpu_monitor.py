"""What NVML tells, from a stand-in: everything, nothing, and who else is there."""

import os
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from inferkit.machine import gpu_monitor as gpu_watch
from inferkit.machine.gpu_monitor import EVERY_S, GpuMonitor, pcie_bytes_per_s
from inferkit.machine.samples import Samples, mean


class NVMLError(Exception):
    """As the library raises it."""


def nvml(*, tells: bool = True, slowed: int = 0, pids: tuple[int, ...] = (), by_mps: tuple[int, ...] = ()) -> Any:
    def told(value: Any) -> Any:
        def call(*_: Any) -> Any:
            if not tells:
                raise NVMLError("Not Supported")
            return value

        return call

    return SimpleNamespace(
        NVMLError=NVMLError,
        NVMLLibraryMismatchError=NVMLError,
        NVML_CLOCK_SM=1,
        NVML_PCIE_UTIL_TX_BYTES=0,
        NVML_PCIE_UTIL_RX_BYTES=1,
        nvmlDeviceGetPcieThroughput=lambda gpu, counter: told((2_000, 54_000_000)[counter])(),
        NVML_TEMPERATURE_GPU=0,
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetUtilizationRates=told(SimpleNamespace(gpu=80)),
        nvmlDeviceGetPowerUsage=told(400_000),
        nvmlDeviceGetTotalEnergyConsumption=told(0),
        nvmlDeviceGetClockInfo=told(1980),
        nvmlDeviceGetTemperature=told(55),
        nvmlDeviceGetCurrentClocksEventReasons=told(slowed),
        nvmlDeviceGetCurrPcieLinkGeneration=told(5),
        nvmlDeviceGetCurrPcieLinkWidth=told(16),
        nvmlDeviceGetComputeRunningProcesses=told([SimpleNamespace(pid=pid) for pid in pids]),
        nvmlDeviceGetMPSComputeRunningProcesses=told([SimpleNamespace(pid=pid) for pid in by_mps]),
    )


def watch(monkeypatch: pytest.MonkeyPatch, library: Any) -> dict[str, Any]:
    monkeypatch.setitem(sys.modules, "pynvml", library)
    watched = GpuMonitor([0])
    watched.look()
    samples = {}
    for name, (_, sample) in watched.sources().items():
        told = [(float(at), value) for at in range(3) if (value := sample()) is not None]
        if told and name == "gpu0_energy_j":
            told = [(0.0, 1000.0), (5.0, 3500.0), (12.0, 7000.0)]
        samples[name] = Samples(2, mean)
        for own in told:
            samples[name].add(*own)
    found: dict[str, Any] = watched.facts(samples, 0.0, 12.0)["0"]
    return found


def test_everything_that_is_told_is_summarised(monkeypatch: pytest.MonkeyPatch) -> None:
    found = watch(monkeypatch, nvml(slowed=0x04, pids=(os.getpid(),)))
    assert found["others"] == []
    assert found["slowed_by"] == []
    assert found["power_capped"]
    assert found["mean_power_w"] == pytest.approx(500.0)
    assert found["busy_median"] == pytest.approx(0.8)
    assert (found["pcie_generation_max"], found["pcie_width_max"]) == (5, 16)
    assert (found["pcie_in_median"], found["pcie_out_median"]) == (54e9, 2e6)


def test_slowdown_and_other_processes_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    found = watch(monkeypatch, nvml(slowed=0x40 | 0x80, pids=(os.getpid(), 1)))
    assert found["slowed_by"] == ["hardware thermal slowdown", "power brake"]
    assert found["others"] == [1]


def test_who_was_there_before_the_windows_counts_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    library = nvml(pids=(os.getpid(), 1))
    monkeypatch.setitem(sys.modules, "pynvml", library)
    watched = GpuMonitor([0])
    watched.look()
    library.nvmlDeviceGetComputeRunningProcesses = nvml(pids=(os.getpid(),)).nvmlDeviceGetComputeRunningProcesses
    assert watched.facts({}, 0.0, 12.0)["0"]["others"] == [1]


@pytest.mark.parametrize(("by_mps", "served"), [((), False), ((os.getpid(),), True), ((1,), False)])
def test_whether_mps_serves_this_process(
    monkeypatch: pytest.MonkeyPatch, by_mps: tuple[int, ...], served: bool
) -> None:
    found = watch(monkeypatch, nvml(pids=(os.getpid(),), by_mps=by_mps))
    assert found["mps"] is served
    assert found["others"] == [pid for pid in by_mps if pid == 1]


def test_nothing_is_said_of_mps_where_we_are_not_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container, or when the context is gone."""
    assert "mps" not in watch(monkeypatch, nvml(pids=(1,), by_mps=(1,)))


def test_what_is_not_told_is_not_made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    assert watch(monkeypatch, nvml(tells=False)) == {"others": None}


@pytest.mark.parametrize("sensor", ["energy_j", "pcie_in", "pcie_out"])
def test_what_takes_long_to_answer_is_asked_for_rarely(monkeypatch: pytest.MonkeyPatch, sensor: str) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", nvml())
    now = [100.0]
    monkeypatch.setattr(gpu_watch, "monotonic", lambda: now[0])
    sample = GpuMonitor([0]).sources()[f"gpu0_{sensor}"][1]
    answers = []
    for _ in range(11):
        answers.append(sample())
        now[0] += EVERY_S[sensor] / 5 * 1.001
    assert [k for k, answer in enumerate(answers) if answer is not None] == [0, 5, 10]


def test_without_the_library_the_reason_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    watched = GpuMonitor([0])
    assert watched.sources() == {}
    assert "pip install" in watched.facts({}, 0.0, 1.0)["missing"]


def test_nvml_is_let_go_once_whether_the_gpu_is_there_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []
    library = nvml()
    library.nvmlShutdown = lambda: ended.append("once")
    monkeypatch.setitem(sys.modules, "pynvml", library)
    watched = GpuMonitor([0])
    assert not ended
    watched.close()
    watched.close()
    assert ended == ["once"]
    library.nvmlDeviceGetHandleByIndex = refuse
    watched = GpuMonitor([7])
    assert ended == ["once", "once"]
    assert watched.missing.startswith("NVML: Not Found")


def refuse(*_: Any) -> Any:
    message = "Not Found"
    raise NVMLError(message)


@pytest.mark.parametrize(
    ("generation", "lanes", "gigabytes"), [(3, 16, 15.75), (4, 16, 31.5), (5, 16, 63.0), (2, 8, 4.0)]
)
def test_a_links_limit(generation: int, lanes: int, gigabytes: float) -> None:
    limit = pcie_bytes_per_s(generation, lanes)
    assert limit is not None
    assert limit / 1e9 == pytest.approx(gigabytes, rel=0.002)
    assert pcie_bytes_per_s(9, 16) is None
