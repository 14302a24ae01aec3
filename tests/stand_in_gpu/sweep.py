"""Fail each call of CUDA that a run makes, in one process, and print what became of each run: one JSON object a line.

``python -m tests.stand_in_gpu.sweep FOLDER [all]``, on the stand-in; a small data set is made in FOLDER, which is in
memory. Without ``all`` each function fails once, at its first call.
"""

import ctypes
import faulthandler
import gc
import json
import sys
import traceback
from collections.abc import Callable, Iterator
from itertools import cycle
from time import monotonic
from typing import Any, NamedTuple

from inferkit.dataset.synthetic import make_synthetic
from inferkit.devices import contexts, pinned
from inferkit.devices.cpu import CpuMemory
from inferkit.errors import InferkitError
from inferkit.pipeline.timeline import Timeline
from inferkit.pipeline.workloads import WORKLOADS
from inferkit.ranks.rank import first_of
from inferkit.records.job import CopyJob, DeviceOptions, InferOptions, Job, PipelineJob, ReadOptions
from inferkit.records.params import MakeDataset
from inferkit.records.windows import Window

SHAPE = (3, 8, 8)
HANGS_S = 30
BRIEF = Window(warmup_s=0.005, duration_s=0.01, repeats=1)
GPU = DeviceOptions(kind="cuda")
KINDS = ("contexts", "streams", "events", "memory", "graphs", "pages")
CODES = {
    2: "CUDA_ERROR_OUT_OF_MEMORY",
    46: "CUDA_ERROR_DEVICE_UNAVAILABLE",
    214: "CUDA_ERROR_ECC_UNCORRECTABLE",
    719: "CUDA_ERROR_LAUNCH_FAILED",
    802: "CUDA_ERROR_SYSTEM_NOT_READY",
    999: "CUDA_ERROR_UNKNOWN",
}
FEW = {"pipeline buffered"}
"""What makes every call, with threads."""


class Fault(NamedTuple):
    function: str
    nth: int
    code: int
    stays: int = 0


def jobs(folder: str) -> dict[str, Job]:
    """Return what is run: every kind of memory and direction, and readers with and without threads."""
    null = InferOptions(engine="null")
    found: dict[str, Job] = {
        f"copy {direction} {memory}": CopyJob(
            window=BRIEF, device=GPU, nbytes=4097, host_memory=memory, direction=direction
        )
        for direction, memory in (("in", "pinned"), ("both", "mapped"), ("out", "pageable"))
    }
    for reader in ("buffered", "mapped"):
        reading = ReadOptions(
            reader=reader, folder=folder, dtype="uint8", shape=SHAPE, threads=2, batch_size=8, verify_batches=2
        )
        found[f"pipeline {reader}"] = PipelineJob(window=BRIEF, device=GPU, reading=reading, inference=null)
    return found


def measured(job: Job) -> dict[str, Any]:
    """Do a job as a rank does, and tell how it ended."""
    began = monotonic()
    told: dict[str, Any] = {"kind": "", "message": ""}
    faulthandler.dump_traceback_later(HANGS_S, exit=True)
    try:
        WORKLOADS[job.work](job, lambda stages: Timeline(job.window, stages, lambda _: None))
    except InferkitError as error:
        first = first_of(error)
        told = {"kind": type(first).__name__, "message": str(first)}
    except Exception:  # noqa: BLE001 - what is no error of ours is what is looked for
        told = {"kind": "traceback", "message": traceback.format_exc()}
    faulthandler.cancel_dump_traceback_later()
    return told | {"seconds": monotonic() - began}


class StandIn:
    """The library that stands in, told from here."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libcuda.so.1")
        self._library.stand_in_called.restype = ctypes.c_char_p

    def fault(self, fault: Fault) -> None:
        function, nth, code, stays = fault
        self._library.stand_in_fault(function.encode(), ctypes.c_long(nth), code, stays)

    def fired(self) -> bool:
        return bool(self._library.stand_in_fired())

    def counts(self) -> dict[str, int]:
        """Return how often each function was called since the last fault was told."""
        found: dict[str, int] = {}
        count = ctypes.c_long()
        while name := self._library.stand_in_called(len(found), ctypes.byref(count)):
            found[name.decode()] = count.value
        return {name: calls for name, calls in found.items() if calls}

    def left(self) -> dict[str, int]:
        """Return what is still there of a run, on the GPU and here; then the GPU forgets its part."""
        gc.collect()
        ended = {f"ended {kind}": self._library.stand_in_ended(place) for place, kind in enumerate(KINDS)}
        found = {kind: self._library.stand_in_alive(place) for place, kind in enumerate(KINDS)}
        held = [each for each in gc.get_objects() if isinstance(each, CpuMemory) and each.array.size]
        found |= {"held": len(held), "shared": len(pinned._PAGES), "holders": contexts.context_of(0)._holders}
        self._library.stand_in_forget()
        return {kind: count for kind, count in (found | ended).items() if count}


def faults(counts: dict[str, int], *, everything: bool) -> Iterator[Fault]:
    """Yield faults at the first call of each function, or also a middle and the last one; the errors take turns."""
    codes = cycle(CODES)
    for function, calls in counts.items():
        for nth in sorted({1, -(-calls // 2), calls} if everything else {1}):
            yield from (Fault(function, nth, next(codes), stays) for stays in (0, 1))


def sweep(folder: str, tell: Callable[[dict[str, Any]], None], *, everything: bool) -> None:
    """Run each job once as it is, then once with each fault."""
    make_synthetic(MakeDataset(data=folder, limit=64, shape=list(SHAPE), images_per_file=32))
    gpu = StandIn()
    nothing = Fault("", 0, 0)
    for name, job in jobs(folder).items():
        if not everything and name not in FEW:
            continue
        gpu.fault(nothing)
        told = measured(job)
        counts = gpu.counts()
        tell({"job": name, "fault": nothing, "fired": False, **told, "left": gpu.left(), "counts": counts})
        for fault in faults(counts, everything=everything):
            gpu.fault(fault)
            told = measured(job)
            fired = gpu.fired()
            gpu.fault(nothing)
            tell({"job": name, "fault": fault, "fired": fired, "error": CODES[fault.code], **told, "left": gpu.left()})


if __name__ == "__main__":
    sweep(sys.argv[1], lambda told: print(json.dumps(told), flush=True), everything="all" in sys.argv)  # noqa: T201
