"""Readers against fio on the same files: block of a whole batch, same threads, in alternation.

Each side runs in a process of its own, with the same number of buffers, on the same CPUs. What is compared is the
bandwidth of a window; the ratio is the geometric mean of the rounds' ratios, with its 95 % interval.

direct against ``psync direct=1`` and, with eight times the threads, against ``io_uring iodepth=8`` (as many reads in
flight on both sides); uring against ``io_uring`` with its own block and reads in flight; buffered against ``psync
direct=0`` on warm pages. mapped reads nothing, so that its cost is a time per batch.

``--small`` instead holds uring against direct and fio on small images, files and batches, with one thread and eight.
"""

import argparse
import os
import statistics
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from time import sleep
from typing import NamedTuple

from inferkit.dataset.format import open_dataset
from inferkit.dataset.synthetic import make_synthetic
from inferkit.errors import InferkitError
from inferkit.linux.mounts import filesystem
from inferkit.measure import fio
from inferkit.measure.peers import run_task, task_of
from inferkit.ranks.launch import launch
from inferkit.records.figures import figure_of
from inferkit.records.job import ReadJob, ReadOptions
from inferkit.records.outcome import Outcome
from inferkit.records.params import MakeDataset
from inferkit.records.windows import Window
from inferkit.stats import paired_ratio

COLUMNS = ("folder on", "comparison", "threads", "ours GB/s", "theirs", "ratio", "95 %", "ours s/GB", "theirs")
DEPTH = 8


class SmallSet(NamedTuple):
    """A data set of few bytes per image, file or batch."""

    name: str
    size: int
    images: int
    images_per_file: int
    batch_size: int


SMALL_SETS = (
    SmallSet("24k_one", 90, 8000, 1, 32),
    SmallSet("24k_many", 90, 8000, 1000, 4),
    SmallSet("150k_one", 224, 2000, 1, 32),
    SmallSet("150k_many", 224, 4000, 1000, 32),
)


class Comparison(NamedTuple):
    """What is held against what: a reader against fio or another reader."""

    name: str
    job: ReadJob
    theirs: fio.Task | ReadJob


class Found(NamedTuple):
    """Both sides' bandwidth (GB/s) and CPU seconds per GB, round by round."""

    ours: list[float]
    theirs: list[float]
    our_cpu: list[float]
    their_cpu: list[float]


def measured(job: ReadJob) -> Outcome:
    """Measure a job in a rank."""
    with launch(job) as rank:
        while not rank.ready():
            sleep(0.01)
        rank.start()
        return rank.result()


def bandwidth(side: fio.Task | ReadJob) -> tuple[float, float]:
    """Return GB/s and CPU seconds per GB."""
    if isinstance(side, fio.Task):
        result = run_task(side)
        return result.bytes_per_s / 1e9, result.cpu_s_per_gb
    outcome = measured(side)
    figure = figure_of(outcome.repeats)
    assert figure is not None
    return (figure.bytes_per_s or 0.0) / 1e9, outcome.facts["reading"]["thread_cpu_s_per_gb"]


def compare(comparison: Comparison, rounds: int) -> Found:
    """Run both sides in alternation, the one that begins changing from round to round."""
    found = Found([], [], [], [])
    ours, theirs = (found.ours, found.our_cpu), (found.theirs, found.their_cpu)
    sides = [(comparison.job, ours), (comparison.theirs, theirs)]
    for turn in range(rounds):
        for side, (rates, cpu) in sides if turn % 2 == 0 else reversed(sides):
            rate, seconds = bandwidth(side)
            rates.append(rate)
            cpu.append(seconds)
    return found


def job_of(reader: str, folder: Path, arguments: argparse.Namespace, threads: int, batch_size: int) -> ReadJob:
    """Return the reading of a folder."""
    return ReadJob(
        window=Window(warmup_s=arguments.warmup, duration_s=arguments.seconds, repeats=1),
        reading=ReadOptions(
            reader=reader,
            folder=str(folder),
            batch_size=batch_size,
            threads=threads,
            host_batches=arguments.host_batches or threads,
        ),
    )


def comparisons(folder: Path, arguments: argparse.Namespace) -> Iterator[Comparison]:
    """Yield what can be compared on a folder's file system."""
    threads, batch_size = arguments.threads, arguments.batch_size
    if not filesystem(folder).in_memory:
        direct, uring = (job_of(reader, folder, arguments, threads, batch_size) for reader in ("direct", "uring"))
        yield Comparison("direct_vs_fio", direct, task_of(direct))
        deep = job_of("direct", folder, arguments, threads * DEPTH, batch_size)
        yield Comparison("async_vs_fio_uring", deep, replace(task_of(direct), engine="io_uring", depth=DEPTH))
        yield Comparison("uring_vs_fio_uring", uring, task_of(uring))
    buffered = job_of("buffered", folder, arguments, threads, batch_size)
    yield Comparison("buffered_vs_fio", buffered, task_of(buffered))


def small_comparisons(folder: Path, arguments: argparse.Namespace) -> Iterator[Comparison]:
    """Yield uring against direct, and against fio, on small images and files beside a folder."""
    for small in () if filesystem(folder.parent).in_memory else SMALL_SETS:
        place = folder.with_name(f"{folder.name}-{small.name}")
        prepared(place, small.images, small.size, small.images_per_file)
        for threads in (1, 8):
            readers = ("direct", "uring")
            direct, uring = (job_of(reader, place, arguments, threads, small.batch_size) for reader in readers)
            yield Comparison(f"uring_vs_direct_{small.name}_{threads}", uring, direct)
            yield Comparison(f"uring_vs_fio_uring_{small.name}_{threads}", uring, task_of(uring))


def mapped_us(folder: Path, arguments: argparse.Namespace, batch_size: int) -> float:
    """Return the microseconds that a batch of mapped files takes."""
    window = Window(warmup_s=arguments.warmup, duration_s=arguments.seconds, repeats=3)
    job = ReadJob(window=window, reading=ReadOptions(reader="mapped", folder=str(folder), batch_size=batch_size))
    repeats = [repeat for repeat in measured(job).repeats if not repeat.warmup]
    return statistics.median(repeat.seconds / repeat.batches for repeat in repeats) * 1e6


def row(system: str, comparison: Comparison, found: Found) -> list[str]:
    """Return a line of the table."""
    ratio, low, high = paired_ratio(found.ours, found.theirs)
    numbers = [statistics.median(found.ours), statistics.median(found.theirs), ratio]
    cpu = [statistics.median(found.our_cpu), statistics.median(found.their_cpu)]
    texts = [f"{value:.3f}" for value in numbers] + [f"{low:.3f} … {high:.3f}"] + [f"{value:.3f}" for value in cpu]
    return [system, comparison.name, str(comparison.job.reading.threads), *texts]


def prepared(folder: Path, images: int, size: int = 224, images_per_file: int = 1000) -> Path:
    """Make random images in a folder that holds none, and read them once, so that their pages are warm."""
    if not folder.exists():
        print(f"making {images} random images in {folder}", flush=True)
        data = str(folder.absolute())
        make_synthetic(MakeDataset(data=data, limit=images, size=size, images_per_file=images_per_file))
        os.sync()
    dataset = open_dataset(folder)
    for index in range(len(dataset.files)):
        dataset.path(index).read_bytes()
    return folder


def compared(folder: Path, arguments: argparse.Namespace) -> Iterator[list[str]]:
    """Compare on a folder; print each result as soon as it is there, and yield the table's rows."""
    lacking = fio.missing()
    system = filesystem(folder.parent if arguments.small else prepared(folder, arguments.images))
    suffix = "_memory" if system.in_memory else ""
    for comparison in (small_comparisons if arguments.small else comparisons)(folder, arguments):
        if arguments.only and comparison.name not in arguments.only.split(","):
            continue
        if lacking and isinstance(comparison.theirs, fio.Task):
            print(f"{comparison.name} on {folder}: {lacking}")
            continue
        try:
            found = compare(comparison, arguments.rounds)
        except InferkitError as error:
            print(f"{comparison.name} on {folder}: {error}")
            continue
        ratio, low, high = paired_ratio(found.ours, found.theirs)
        print(f"result {comparison.name}{suffix} {ratio:.3f} ratio ({low:.3f} … {high:.3f})", flush=True)
        yield row(system.fstype, comparison, found)
    if system.in_memory and not arguments.small:
        for size in (arguments.batch_size, arguments.batch_size * 4):
            microseconds = mapped_us(folder, arguments, size)
            if size == arguments.batch_size:
                print(f"result mapped_us {microseconds:.1f} us", flush=True)
            yield [system.fstype, "mapped", "1", *[""] * 3, f"{microseconds:.1f} us at batch {size}"]


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*", help="data sets; made where there is none")
    parser.add_argument("--images", type=int, default=8192, help="random images to make (150 kB each)")
    parser.add_argument("--threads", type=int, default=min(8, len(os.sched_getaffinity(0))), help="reader threads")
    parser.add_argument("--batch-size", type=int, default=128, help="images per batch")
    parser.add_argument("--host-batches", type=int, default=0, help="batch buffers; 0: one a thread, as fio has")
    parser.add_argument("--rounds", type=int, default=6, help="pairs of measurements")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    parser.add_argument("--warmup", type=float, default=0.5, help="seconds before each")
    parser.add_argument("--only", default="", help="names of comparisons, separated by commas")
    parser.add_argument("--small", action="store_true", help="uring on data sets of its own, beside the folders")
    return parser.parse_args()


def main() -> None:
    """Compare on each folder, and print the table."""
    arguments = parse()
    folders = arguments.folders or [Path("/var/tmp/inferkit-bench-storage"), Path("/dev/shm/inferkit-bench-storage")]
    rows = [cells for folder in folders for cells in compared(folder, arguments)]
    table = [list(COLUMNS), *([*cells, *[""] * (len(COLUMNS) - len(cells))] for cells in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for cells in table:
        print("  ".join(map(str.ljust, cells, widths)).rstrip())


if __name__ == "__main__":
    main()
