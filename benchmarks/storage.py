"""Readers against fio on the same files: block of a whole batch, same threads, in alternation.

Each side runs in a process of its own, with the same number of buffers, on the same CPUs. What is compared is the
bandwidth of a window; the ratio is the geometric mean of the rounds' ratios, with its 95 % interval.

direct against ``psync direct=1`` and, with eight times the threads, against ``io_uring iodepth=8`` (as many reads in
flight on both sides); buffered against ``psync direct=0`` on warm pages. mapped reads nothing, so that its cost is a
time per batch.
"""

import argparse
import os
import statistics
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from time import sleep
from typing import Literal, NamedTuple

from inferkit.beside import run_task, task_of
from inferkit.dataset.format import open_dataset
from inferkit.dataset.synthetic import make_synthetic
from inferkit.errors import InferkitError
from inferkit.mounts import filesystem
from inferkit.pipeline.job import Job, Outcome, Window
from inferkit.pipeline.launch import launch
from inferkit.probes import fio
from inferkit.run import figure_of
from inferkit.stats import paired_ratio

COLUMNS = ("folder on", "comparison", "threads", "ours GB/s", "fio GB/s", "ratio", "95 %", "ours s/GB", "fio s/GB")
DEPTH = 8


class Comparison(NamedTuple):
    """What is held against what."""

    name: str
    job: Job
    engine: Literal["psync", "io_uring"] = "psync"


class Found(NamedTuple):
    """Both sides' bandwidth (GB/s) and CPU seconds per GB, round by round."""

    ours: list[float]
    theirs: list[float]
    our_cpu: list[float]
    their_cpu: list[float]


def measured(job: Job) -> Outcome:
    """Measure a job in a rank."""
    with launch(job) as rank:
        while not rank.ready():
            sleep(0.01)
        rank.start()
        return rank.result()


def compare(comparison: Comparison, threads: int, rounds: int) -> Found:
    """Run reader and fio in alternation, the side that begins changing from round to round."""
    task = task_of(comparison.job.model_copy(update={"threads": threads}))
    if comparison.engine == "io_uring":
        task = replace(task, engine="io_uring", depth=DEPTH)
    found = Found([], [], [], [])
    for turn in range(rounds):
        for side in ("ours", "theirs") if turn % 2 == 0 else ("theirs", "ours"):
            if side == "ours":
                outcome = measured(comparison.job)
                figure = figure_of(outcome.repeats)
                assert figure is not None
                found.ours.append((figure.bytes_per_s or 0.0) / 1e9)
                found.our_cpu.append(outcome.facts["reading"]["cpu_s_per_gb"])
            else:
                result = run_task(task)
                found.theirs.append(result.bytes_per_s / 1e9)
                found.their_cpu.append(result.cpu_s_per_gb)
    return found


def comparisons(folder: Path, arguments: argparse.Namespace) -> Iterator[Comparison]:
    """Yield what can be compared on a folder's file system."""
    base = Job(
        work="read",
        window=Window(warmup_s=arguments.warmup, duration_s=arguments.seconds, repeats=1),
        folder=str(folder),
        batch_size=arguments.batch_size,
        threads=arguments.threads,
        host_batches=arguments.host_batches or arguments.threads,
    )
    in_memory = filesystem(folder).in_memory
    if not in_memory:
        direct = base.model_copy(update={"reader": "direct"})
        yield Comparison("direct_vs_fio", direct)
        many = arguments.threads * DEPTH
        deep = direct.model_copy(update={"threads": many, "host_batches": arguments.host_batches or many})
        yield Comparison("async_vs_fio_uring", deep, "io_uring")
    yield Comparison("buffered_vs_fio", base.model_copy(update={"reader": "buffered"}))


def mapped_us(folder: Path, arguments: argparse.Namespace, batch_size: int) -> float:
    """Return the microseconds that a batch of mapped files takes."""
    window = Window(warmup_s=arguments.warmup, duration_s=arguments.seconds, repeats=3)
    job = Job(work="read", window=window, folder=str(folder), reader="mapped", batch_size=batch_size)
    repeats = [repeat for repeat in measured(job).repeats if not repeat.warmup]
    return statistics.median(repeat.seconds / repeat.batches for repeat in repeats) * 1e6


def row(system: str, comparison: Comparison, found: Found) -> list[str]:
    """Return a line of the table."""
    ratio, low, high = paired_ratio(found.ours, found.theirs)
    numbers = [statistics.median(found.ours), statistics.median(found.theirs), ratio]
    cpu = [statistics.median(found.our_cpu), statistics.median(found.their_cpu)]
    texts = [f"{value:.3f}" for value in numbers] + [f"{low:.3f} … {high:.3f}"] + [f"{value:.3f}" for value in cpu]
    return [system, comparison.name, str(comparison.job.threads), *texts]


def prepared(folder: Path, images: int) -> Path:
    """Make random images in a folder that holds none, and read them once, so that their pages are warm."""
    if not folder.exists():
        print(f"making {images} random images in {folder}", flush=True)
        make_synthetic(folder, images=images)
        os.sync()
    dataset = open_dataset(folder)
    for index in range(len(dataset.files)):
        dataset.path(index).read_bytes()
    return folder


def main() -> None:
    """Parse the command line, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*", help="data sets; made where there is none")
    parser.add_argument("--images", type=int, default=8192, help="random images to make (150 kB each)")
    parser.add_argument("--threads", type=int, default=min(8, len(os.sched_getaffinity(0))), help="reader threads")
    parser.add_argument("--batch-size", type=int, default=32, help="images per batch")
    parser.add_argument("--host-batches", type=int, default=0, help="batch buffers; 0: one a thread, as fio has")
    parser.add_argument("--rounds", type=int, default=6, help="pairs of measurements")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--warmup", type=float, default=0.5, help="seconds before each")
    parser.add_argument("--only", default="", help="names of comparisons, separated by commas")
    arguments = parser.parse_args()
    folders = arguments.folders or [Path("/var/tmp/inferkit-bench-storage"), Path("/dev/shm/inferkit-bench-storage")]
    lacking = fio.missing()
    if lacking:
        print(f"no comparison with fio: {lacking}")
    rows, results = [], []
    for folder in folders:
        system = filesystem(prepared(folder, arguments.images))
        suffix = "_memory" if system.in_memory else ""
        for comparison in () if lacking else comparisons(folder, arguments):
            if arguments.only and comparison.name not in arguments.only.split(","):
                continue
            try:
                found = compare(comparison, arguments.threads, arguments.rounds)
            except InferkitError as error:
                print(f"{comparison.name} on {folder}: {error}")
                continue
            rows.append(row(system.fstype, comparison, found))
            ratio, low, high = paired_ratio(found.ours, found.theirs)
            results.append(f"result {comparison.name}{suffix} {ratio:.3f} ratio ({low:.3f} … {high:.3f})")
        if system.in_memory:
            times = {
                size: mapped_us(folder, arguments, size) for size in (arguments.batch_size, arguments.batch_size * 4)
            }
            rows += [[system.fstype, "mapped", "1", *[""] * 3, f"{us:.1f} us at batch {n}"] for n, us in times.items()]
            results.append(f"result mapped_us {times[arguments.batch_size]:.1f} us")
    table = [list(COLUMNS), *([*cells, *[""] * (len(COLUMNS) - len(cells))] for cells in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for cells in table:
        print("  ".join(map(str.ljust, cells, widths)).rstrip())
    print("\n".join(results))


if __name__ == "__main__":
    main()
