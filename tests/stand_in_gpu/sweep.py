"""Fail each call of CUDA that a run makes, in one process, and print what became of each run: one JSON object a line.

``python -m tests.stand_in_gpu.sweep FOLDER [all]``, on the stand-in with its decoder; a small data set and photographs
are made in FOLDER, which is in memory. Without ``all`` part of the work is done, and each function fails at its first
call alone.
"""

import ctypes
import faulthandler
import gc
import json
import sys
import traceback
from collections.abc import Callable, Iterator
from functools import cache, partial
from itertools import cycle
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from inferkit.dataset.synthetic import make_synthetic
from inferkit.devices import contexts, nvjpeg_batch, open_device, pinned
from inferkit.devices.cpu import CpuMemory
from inferkit.errors import InferkitError
from inferkit.pipeline.timeline import Timeline
from inferkit.pipeline.workloads import WORKLOADS
from inferkit.ranks.rank import first_of
from inferkit.records.job import CopyJob, DeviceOptions, InferOptions, Job, PipelineJob, ReadOptions
from inferkit.records.params import MakeDataset
from inferkit.records.windows import Window
from tests.stand_in_gpu.nvjpeg import NvJpeg

SHAPE = (3, 8, 8)
HANGS_S = 30
BRIEF = Window(warmup_s=0.005, duration_s=0.01, repeats=1)
GPU = DeviceOptions(kind="cuda")
KINDS = ("contexts", "streams", "events", "memory", "graphs", "modules", "pages")
CODES = {
    2: "CUDA_ERROR_OUT_OF_MEMORY",
    46: "CUDA_ERROR_DEVICE_UNAVAILABLE",
    214: "CUDA_ERROR_ECC_UNCORRECTABLE",
    719: "CUDA_ERROR_LAUNCH_FAILED",
    802: "CUDA_ERROR_SYSTEM_NOT_READY",
    999: "CUDA_ERROR_UNKNOWN",
}
NVRTC_CODES = {
    1: "NVRTC_ERROR_OUT_OF_MEMORY",
    5: "NVRTC_ERROR_INVALID_OPTION",
    6: "NVRTC_ERROR_COMPILATION",
    11: "NVRTC_ERROR_INTERNAL_ERROR",
}
"""Errors of the compiler of kernels, which needs no GPU and is not lost with it."""
FEW = {"pipeline buffered", "pipeline nvjpeg", "graph"}
"""What makes every call, with threads."""
Work = Callable[[], object]


class Fault(NamedTuple):
    function: str
    nth: int
    code: int
    stays: int = 0


def jobs(folder: str) -> dict[str, Job]:
    """Return what ranks run: every kind of memory and direction, and readers with and without threads."""
    null = InferOptions(engine="null")
    photographs(Path(folder, "photographs"))
    found: dict[str, Job] = {
        f"copy {direction} {memory}": CopyJob(
            window=BRIEF, device=GPU, nbytes=4097, host_memory=memory, direction=direction
        )
        for direction, memory in (("in", "pinned"), ("both", "mapped"), ("out", "pageable"))
    }
    for reader, place in (("buffered", folder), ("mapped", folder), ("nvjpeg", f"{folder}/photographs")):
        reading = ReadOptions(
            reader=reader, folder=place, dtype="uint8", shape=SHAPE, threads=2, batch_size=8, verify_batches=2
        )
        found[f"pipeline {reader}"] = PipelineJob(window=BRIEF, device=GPU, reading=reading, inference=null)
    return found


def photographs(folder: Path) -> None:
    """Write photographs of which the decoder that stands in takes most; those of an odd height it refuses."""
    folder.mkdir()
    for index in range(16):
        height, width = 20 + 2 * index + (index % 8 == 7), 40 - index
        pixels = np.full((height, width, 3), 9 * index, np.uint8)
        Image.fromarray(pixels).save(folder / f"{index:02}.jpg")


def as_rank(job: Job) -> None:
    """Do a job as a rank does."""
    WORKLOADS[job.work](job, lambda stages: Timeline(job.window, stages, lambda _: None))


def graph() -> None:
    """Capture work, launch it some times, and free it, as an engine does with ``cuda_graph``."""
    from cuda.bindings import driver as bindings

    from inferkit.devices.cuda import CudaDevice
    from inferkit.devices.cuda_errors import checked
    from inferkit.devices.graphs import capture, destroy, launch

    with open_device("cuda") as device:
        assert isinstance(device, CudaDevice)
        slot = device.slot(64)
        copy = partial(bindings.cuMemcpyDtoDAsync, slot.address, slot.address, 64, device.compute.handle)
        with device.attached():
            captured = capture(device.compute, lambda: checked(copy(), "queueing a batch"))
            try:
                for _ in range(4):
                    with device.span(device.compute) as span:
                        launch(captured, device.compute)
                    span.wait()
            finally:
                destroy(captured)


def measured(work: Work) -> dict[str, Any]:
    """Do some work, and tell how it ended."""
    began = monotonic()
    told: dict[str, Any] = {"kind": "", "message": ""}
    faulthandler.dump_traceback_later(HANGS_S, exit=True)
    try:
        work()
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
    of_gpu, of_compiler = cycle(CODES), cycle(NVRTC_CODES)
    for function, calls in counts.items():
        for nth in sorted({1, -(-calls // 2), calls} if everything else {1}):
            if function.startswith("nvrtc"):
                yield Fault(function, nth, next(of_compiler))
            else:
                yield from (Fault(function, nth, next(of_gpu), stays) for stays in (0, 1))


def sweep(folder: str, tell: Callable[[dict[str, Any]], None], *, everything: bool) -> None:
    """Do each work once as it is, then once with each fault."""
    make_synthetic(MakeDataset(data=folder, limit=64, shape=list(SHAPE), images_per_file=32))
    gpu = StandIn()
    nothing = Fault("", 0, 0)
    works: dict[str, Work] = {name: partial(as_rank, job) for name, job in jobs(folder).items()} | {"graph": graph}
    for name, work in works.items():
        if not everything and name not in FEW:
            continue
        gpu.fault(nothing)
        told = measured(work)
        counts = gpu.counts()
        tell({"work": name, "fault": nothing, "fired": False, **told, "left": gpu.left(), "counts": counts})
        gc.freeze()  # of what was imported nothing is looked through again
        for fault in faults(counts, everything=everything):
            gpu.fault(fault)
            told = measured(work)
            fired = gpu.fired()
            gpu.fault(nothing)
            error = (NVRTC_CODES if fault.function.startswith("nvrtc") else CODES)[fault.code]
            tell({"work": name, "fault": fault, "fired": fired, "error": error, **told, "left": gpu.left()})


if __name__ == "__main__":
    nvjpeg_batch.functions = cache(NvJpeg)
    sweep(sys.argv[1], lambda told: print(json.dumps(told), flush=True), everything="all" in sys.argv)  # noqa: T201
