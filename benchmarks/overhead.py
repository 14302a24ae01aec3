"""What inferkit itself costs per batch: its ring, loop and bookkeeping against a bare loop of the same read and copy.

Images lie in memory (/dev/shm) and batches are small, so that hardly anything else takes time. Each side runs in a
process of its own, in alternation. The time per batch is a window's length ÷ the batches completed in it, so that it
includes every wait; the overhead is the difference between the two sides' medians over all windows.
"""

import argparse
import ctypes
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path
from time import perf_counter_ns

import numpy as np

from inferkit.dataset.format import open_dataset
from inferkit.dataset.tensors import Dataset
from inferkit.devices.base import Slot
from inferkit.devices.cpu import CpuDevice
from inferkit.engines.null import NullEngine
from inferkit.pipeline.loop import Loop
from inferkit.pipeline.resident_source import ResidentSource
from inferkit.pipeline.ring import Ring
from inferkit.pipeline.timeline import Timeline
from inferkit.readers import READERS
from inferkit.readers.mapped import MappedReader
from inferkit.readers.split import batches, split
from inferkit.records.windows import Window

SHAPE = (3, 32, 32)
FILES, IMAGES_PER_FILE = 4, 1024
BATCH_SIZE = 8
SLOTS, BUFFERS = 3, 5
WARMUP_S, WINDOW_S = 0.2, 0.1
READER_NAMES = ("mapped", "buffered")
STAGES = ("read", "copy", "infer", "out")


def write_images(folder: Path) -> None:
    """Write files of random images."""
    random = np.random.default_rng(0)
    for k in range(FILES):
        random.integers(0, 256, (IMAGES_PER_FILE, *SHAPE), np.uint8).tofile(folder / f"images-{k}.tensors")


def whole(dataset: Dataset, reader: str, windows: int) -> list[float]:
    """Time the real thing; returns microseconds per batch, one value a window."""
    timeline = Timeline(Window(warmup_s=WARMUP_S, duration_s=WINDOW_S, repeats=windows), STAGES, lambda progress: None)
    with ExitStack() as stack:
        device = stack.enter_context(CpuDevice())
        opened = stack.enter_context(READERS[reader](dataset, device))
        slots: list[Slot] = [device.slot(BATCH_SIZE * dataset.image_bytes) for _ in range(SLOTS)]
        shares = split([file.images for file in dataset.files], 1, "uniform")
        source: Ring | ResidentSource
        if opened.capabilities.has_ceiling:
            source = stack.enter_context(Ring(opened, device, shares, BATCH_SIZE, buffers=BUFFERS))
        else:
            source = ResidentSource(opened, shares, BATCH_SIZE)
        Loop(source, device, NullEngine(), slots).run(timeline)
    return [repeat.seconds / repeat.batches * 1e6 for repeat in timeline.repeats if not repeat.warmup]


def bare(dataset: Dataset, reader: str, windows: int) -> list[float]:
    """Time nothing but the read and the copy, one after the other."""
    with ExitStack() as stack:
        step = _bare_steps(dataset, reader, stack)
        _window(step, WARMUP_S)
        return [_window(step, WINDOW_S) for _ in range(windows)]


def _window(step: Callable[[], None], seconds: float) -> float:
    done, start = 0, perf_counter_ns()
    end = start + int(seconds * 1e9)
    while (now := perf_counter_ns()) < end or not done:
        step()
        done += 1
    return (now - start) / done / 1e3


def _bare_steps(dataset: Dataset, reader: str, stack: ExitStack) -> Callable[[], None]:
    """Return what reads the next batch, if it must be read, and copies it to the next slot."""
    device = stack.enter_context(CpuDevice())
    nbytes = BATCH_SIZE * dataset.image_bytes
    slots = cycle([device.slot(nbytes).address for _ in range(SLOTS)])
    if reader == "mapped":
        mapped = stack.enter_context(MappedReader(dataset, device))
        (share,) = split([file.images for file in dataset.files], 1, "uniform")
        sources = cycle([mapped.read(pieces, None)[0].address for pieces in batches(share, BATCH_SIZE, 1)])
        return lambda: (ctypes.memmove(next(slots), next(sources), nbytes), None)[1]
    buffers = [device.allocate(nbytes) for _ in range(BUFFERS)]
    targets: Iterator[tuple[list[memoryview], int]] = cycle([([b.array.data], b.address) for b in buffers])
    descriptors = [os.open(dataset.path(k), os.O_RDONLY) for k in range(FILES)]
    places = cycle([(d, at) for d in descriptors for at in range(0, IMAGES_PER_FILE * dataset.image_bytes, nbytes)])

    def step() -> None:
        (view, address), (descriptor, offset) = next(targets), next(places)
        os.preadv(descriptor, view, offset)
        ctypes.memmove(next(slots), address, nbytes)

    return step


SIDES: dict[str, Callable[[Dataset, str, int], list[float]]] = {"whole": whole, "bare": bare}


def measure_apart(side: str, reader: str, folder: str, windows: int) -> list[float]:
    """Run one side in a fresh process."""
    command = [sys.executable, __file__, f"--side={side}", f"--reader={reader}", f"--folder={folder}"]
    done = subprocess.run([*command, f"--windows={windows}"], check=True, capture_output=True, text=True)
    times: list[float] = json.loads(done.stdout)
    return times


def compare(rounds: int, windows: int) -> None:
    """Run both sides for every reader in alternation, and print what they took."""
    times: dict[tuple[str, str], list[float]] = {(reader, side): [] for reader in READER_NAMES for side in SIDES}
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="inferkit-overhead-") as folder:
        write_images(Path(folder))
        for _ in range(rounds):
            for (reader, side), found in times.items():
                found += measure_apart(side, reader, folder, windows)
    print(f"{'reader':10} {'bare us':>9} {'inferkit us':>12} {'overhead us':>12} {'rounds':>7}")
    overheads = {}
    for reader in READER_NAMES:
        loop, real = (statistics.median(times[reader, side]) for side in ("bare", "whole"))
        overheads[reader] = real - loop
        print(f"{reader:10} {loop:9.1f} {real:12.1f} {real - loop:12.1f} {rounds:7}")
    print(f"batches of {BATCH_SIZE} images, {BATCH_SIZE * int(np.prod(SHAPE))} bytes; 1 reader thread, {SLOTS} slots")
    for reader, overhead in overheads.items():
        print(f"result overhead_{reader} {overhead:.1f} us")
    print(f"result overhead_median {max(overheads.values()):.1f} us")


def main() -> None:
    """Measure, or be one side of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--windows", type=int, default=10, help="of 0.1 s, in each round and process")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--reader", default="mapped", help=argparse.SUPPRESS)
    parser.add_argument("--folder", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not arguments.side:
        compare(arguments.rounds, arguments.windows)
        return
    gc.freeze()
    dataset = open_dataset(Path(arguments.folder), dtype="uint8", shape=SHAPE)
    print(json.dumps(SIDES[arguments.side](dataset, arguments.reader, arguments.windows)))


if __name__ == "__main__":
    main()
