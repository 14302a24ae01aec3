"""What the GPUs do during a run, as NVML reports it: clocks, power, temperature, link, and who else uses them.

Every value is optional: a virtual machine or a partitioned GPU may not report it.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from time import monotonic
from typing import Any

import numpy as np

from inferkit.closing import Closing
from inferkit.errors import DeviceError
from inferkit.machine.contention import launcher
from inferkit.machine.gpu_processes import users_of
from inferkit.machine.gpus import instances
from inferkit.machine.nvml import nvml
from inferkit.machine.samples import Samples
from inferkit.records.figures import Json

Sample = Callable[[], float | None]

SLOWED = {
    0x08: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}
"""Reasons for lower clocks that make a figure INVALID (nvml.h, nvmlClocksEventReasons)."""
POWER_CAP = 0x04
ENERGY_S = 10.0
"""The energy counter moves ten times a second; over a shorter time than this it means nothing."""


Read = Callable[[Any, Any], float]
_SENSORS: dict[str, tuple[str, Read]] = {
    "busy": ("share", lambda nvml, gpu: nvml.nvmlDeviceGetUtilizationRates(gpu).gpu / 100),
    "power_w": ("W", lambda nvml, gpu: nvml.nvmlDeviceGetPowerUsage(gpu) / 1000),
    "energy_j": ("J", lambda nvml, gpu: nvml.nvmlDeviceGetTotalEnergyConsumption(gpu) / 1000),
    "clock_hz": ("Hz", lambda nvml, gpu: nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_SM) * 1e6),
    "temperature_c": ("°C", lambda nvml, gpu: nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU)),
    "slowed": ("bits", lambda nvml, gpu: nvml.nvmlDeviceGetCurrentClocksEventReasons(gpu)),
    "pcie_generation": ("", lambda nvml, gpu: nvml.nvmlDeviceGetCurrPcieLinkGeneration(gpu)),
    "pcie_width": ("lanes", lambda nvml, gpu: nvml.nvmlDeviceGetCurrPcieLinkWidth(gpu)),
    "pcie_in": ("bytes/s", lambda nvml, gpu: nvml.nvmlDeviceGetPcieThroughput(gpu, nvml.NVML_PCIE_UTIL_RX_BYTES) * 1e3),
    "pcie_out": (
        "bytes/s",
        lambda nvml, gpu: nvml.nvmlDeviceGetPcieThroughput(gpu, nvml.NVML_PCIE_UTIL_TX_BYTES) * 1e3,
    ),
}
EVERY_S = {"energy_j": 0.5, "pcie_in": 0.9, "pcie_out": 0.9}
"""Seconds between two questions to the slow sensors. The energy of an H100 takes a core 4 ms. PCIe traffic takes 20 ms
of waiting, in which NVML counts it (an H100 copied as fast as without: 55.1 GB/s). The other sensors take
microseconds."""
GPUS_A_TURN = 4
"""With more GPUs than this the slow sensors are read less often, so that the other samples keep their pace."""


class GpuMonitor(Closing):
    """Reads some GPUs' sensors until it is closed; where NVML does not answer, ``missing`` says why.

    Parameters
    ----------
    gpus
        NVML's indices, or UUIDs of MIG instances: then the GPUs that these are parts of are read.
    """

    def __init__(self, gpus: Sequence[int | str]) -> None:
        self.missing = ""
        self._handles: dict[int, Any] = {}
        self._by_mps: dict[int, bool] = {}
        self._others: dict[int, set[int]] = {}
        self._open = ExitStack()
        try:
            with ExitStack() as opening:
                self._nvml = opening.enter_context(nvml())
                parents = instances() if any(isinstance(gpu, str) for gpu in gpus) else {}
                numbers = dict.fromkeys(parents.get(gpu) if isinstance(gpu, str) else gpu for gpu in gpus)
                self._handles = {gpu: self._nvml.nvmlDeviceGetHandleByIndex(gpu) for gpu in numbers if gpu is not None}
                self._open = opening.pop_all()
        except DeviceError as error:
            self.missing = str(error)

    def close(self) -> None:
        """Let go of NVML; calling it again does nothing, and neither does a library that refuses: its GPU is lost."""
        with suppress(DeviceError):
            self._open.close()

    def sources(self) -> dict[str, tuple[str, Sample]]:
        """Return what a :class:`~inferkit.machine.monitor.Monitor` should sample."""
        turns = max(1.0, len(self._handles) / GPUS_A_TURN)
        return {
            f"gpu{gpu}_{name}": (unit, _rarely(sample, EVERY_S[name] * turns) if name in EVERY_S else sample)
            for gpu, handle in self._handles.items()
            for name, (unit, read) in _SENSORS.items()
            for sample in [self._optional(partial(read, self._nvml, handle))]
        }

    def look(self) -> None:
        """See who is there, and whether this process computes through MPS; it must already hold its contexts."""
        for gpu, handle in self._handles.items():
            users = users_of(self._nvml, handle)
            if users is None:
                continue
            self._others[gpu] = {pid for pid in users.all if not _ours(pid)}
            if os.getpid() in users.all:
                self._by_mps[gpu] = os.getpid() in users.by_mps

    def _optional(self, call: Callable[[], float]) -> Sample:
        def sample() -> float | None:
            try:
                return float(call())
            except self._nvml.NVMLError:
                return None

        return sample

    def facts(self, samples: Mapping[str, Samples], start_s: float, end_s: float) -> dict[str, Json]:
        """Summarise what was sampled between two instants (``CLOCK_MONOTONIC``), one entry per GPU.

        Parameters
        ----------
        samples
            By source.
        """
        if self.missing:
            return {"missing": self.missing}
        inside = {name: own.between(start_s, end_s) for name, own in samples.items()}
        return {str(gpu): self._summary(gpu, inside) for gpu in self._handles}

    def _summary(self, gpu: int, inside: dict[str, Any]) -> dict[str, Json]:
        def values(name: str) -> Any:
            return inside.get(f"gpu{gpu}_{name}", np.empty((0, 2)))

        users = users_of(self._nvml, self._handles[gpu])
        before = self._others.get(gpu, set())
        found: dict[str, Json] = {
            "others": None if users is None else sorted(before | {pid for pid in users.all if not _ours(pid)})
        }
        if gpu in self._by_mps:
            found["mps"] = self._by_mps[gpu]
        for name in ("busy", "power_w", "clock_hz", "pcie_in", "pcie_out"):
            if len(values(name)):
                found[f"{name}_median"] = float(np.median(values(name)[:, 1]))
        for name in ("temperature_c", "pcie_generation", "pcie_width"):
            if len(values(name)):
                found[f"{name}_max"] = float(values(name)[:, 1].max())
        if len(values("slowed")):
            bits = int(np.bitwise_or.reduce(values("slowed")[:, 1].astype(np.int64)))
            found["slowed_by"] = [reason for bit, reason in SLOWED.items() if bits & bit]
            found["power_capped"] = bool(bits & POWER_CAP)
        energy = values("energy_j")
        if len(energy) > 1 and energy[-1, 0] - energy[0, 0] >= ENERGY_S:
            found["mean_power_w"] = float((energy[-1, 1] - energy[0, 1]) / (energy[-1, 0] - energy[0, 0]))
        return found


def _rarely(sample: Sample, seconds: float) -> Sample:
    """Ask once in a while; in between there is no sample."""
    next_s = 0.0

    def seldom() -> float | None:
        nonlocal next_s
        if monotonic() < next_s:
            return None
        next_s = monotonic() + seconds
        return sample()

    return seldom


def _ours(pid: int) -> bool:
    if pid == os.getpid():
        return True
    return launcher(pid) == launcher(os.getpid())


def pcie_bytes_per_s(generation: float, lanes: float) -> float | None:
    """Return what a PCIe link can carry one way, before packet overhead; None for an unknown generation.

    Transfers per second and lane of PCI-SIG's base specifications, times the line code: 8b/10b up to generation 2,
    128b/130b from 3 on.
    """
    transfers = {1: 2.5e9, 2: 5e9, 3: 8e9, 4: 16e9, 5: 32e9, 6: 64e9}.get(int(generation))
    if transfers is None:
        return None
    return transfers * lanes / 8 * (0.8 if generation < 3 else 128 / 130)
