"""Reader gds beside readers that go through host memory: bytes from files into a GPU's memory, nothing inferred.

Each reader streams into the GPU in a process of its own (read and copy at the same time), with the same threads,
batches and buffers; all of them once a round, the first to run changing. The table has GB/s and CPU cores (median),
the ratio of gds to each (geometric mean of the rounds, 95 % interval), and the way that gds really took. Needs a GPU
and KvikIO.
"""

import argparse
import os
import statistics
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from time import sleep
from typing import NamedTuple

from inferkit.dataset.synthetic import make_synthetic
from inferkit.devices import open_device
from inferkit.errors import DeviceError, InferkitError
from inferkit.machine.direct_storage import why_no_direct_storage
from inferkit.machine.holders import holder
from inferkit.ranks.launch import launch
from inferkit.records.figures import figure_of
from inferkit.records.job import DeviceOptions, PipelineJob, ReadOptions
from inferkit.records.outcome import Outcome
from inferkit.records.params import MakeDataset
from inferkit.records.windows import Window
from inferkit.stats import paired_ratio

COLUMNS = ("folder on", "reader", "threads", "GB/s", "cores", "gds ÷ it", "95 %", "way")
FOLDERS = [Path("/var/tmp/inferkit-bench-gds"), Path("/dev/shm/inferkit-bench-gds")]


class Side(NamedTuple):
    """What one reader reached in one round."""

    gb_per_s: float
    cores: float
    way: str


def prepared(folder: Path, images: int) -> Path:
    """Make random images in a folder that holds none."""
    if not folder.exists():
        print(f"making {images} random images in {folder}", flush=True)
        make_synthetic(MakeDataset(data=str(folder.absolute()), limit=images))
        os.sync()
    return folder


def measured(reader: str, folder: Path, threads: int, arguments: argparse.Namespace) -> Side:
    """Stream a folder's files into the GPU, in a rank."""
    reading = ReadOptions(
        reader=reader,
        folder=str(folder.absolute()),
        batch_size=arguments.batch_size,
        threads=threads,
        host_batches=threads + arguments.slots + 1,
        verify_batches=arguments.verify,
    )
    window = Window(warmup_s=arguments.warmup, duration_s=arguments.seconds, repeats=1)
    with launch(PipelineJob(window=window, device=DeviceOptions(kind="cuda"), reading=reading)) as rank:
        while not rank.ready():
            sleep(0.01)
        rank.start()
        outcome = rank.result()
    figure = figure_of(outcome.repeats)
    assert figure is not None
    kept = [repeat for repeat in outcome.repeats if not repeat.warmup]
    cores = sum(repeat.cpu_s or 0.0 for repeat in kept) / sum(repeat.seconds for repeat in kept)
    return Side((figure.bytes_per_s or 0.0) / 1e9, cores, way_of(outcome))


def way_of(outcome: Outcome) -> str:
    """Name the way that bytes took, where a reader has several."""
    ways = (outcome.facts.get("reader") or {}).get("ways", [])
    return "; ".join(f"compatibility mode: {way['lacks']}" if way["lacks"] else "GPUDirect Storage" for way in ways)


def compare(folder: Path, threads: int, arguments: argparse.Namespace) -> dict[str, list[Side]]:
    """Measure all readers round by round; one that cannot read here is left out, with its reason."""
    rounds: dict[str, list[Side]] = {reader: [] for reader in arguments.readers.split(",")}
    for turn in range(arguments.rounds):
        for reader in list(rounds)[:: 1 if turn % 2 == 0 else -1]:
            try:
                rounds[reader].append(measured(reader, folder, threads, arguments))
            except InferkitError as error:
                print(f"{reader} on {folder}: {error}", flush=True)
                del rounds[reader]
    return rounds


def rows(folder: Path, threads: int, arguments: argparse.Namespace) -> Iterator[list[str]]:
    """Compare on a folder; print results, and yield the table's rows."""
    on = str(holder(prepared(folder, arguments.images)))
    suffix = f"{'memory' if holder(folder).kind == 'memory' else 'disk'}_{threads}"
    rounds = compare(folder, threads, arguments)
    ours = [side.gb_per_s for side in rounds.get("gds", [])]
    for reader, sides in rounds.items():
        rate, cores = (statistics.median(values) for values in zip(*(side[:2] for side in sides), strict=True))
        print(f"result gds_{reader}_{suffix} {rate:.3f} GB/s ({cores:.2f} cores)", flush=True)
        cells = [on, reader, str(threads), f"{rate:.2f}", f"{cores:.2f}", "", "", sides[0].way]
        if ours and reader != "gds":
            ratio, low, high = paired_ratio(ours, [side.gb_per_s for side in sides])
            cells[5:7] = [f"{ratio:.3f}", f"{low:.3f} … {high:.3f}"]
            print(f"result gds_vs_{reader}_{suffix} {ratio:.3f} ratio ({low:.3f} … {high:.3f})", flush=True)
        yield cells


def missing() -> str:
    """Say why nothing can be measured here; empty: all is there."""
    try:
        open_device("cuda").close()
    except DeviceError as error:
        return str(error)
    return why_no_direct_storage("cuda", assumed=False)


def main() -> None:
    """Compare on each folder, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, action="append", help="data sets; made where there is none")
    parser.add_argument("--readers", default="gds,direct,uring,mapped", help="readers, gds among them")
    parser.add_argument("--images", type=int, default=16384, help="random images to make (150 kB each)")
    parser.add_argument("--threads", default="1,8", help="reader threads")
    parser.add_argument("--batch-size", type=int, default=128, help="images per batch")
    parser.add_argument("--slots", type=int, default=3, help="batches on the GPU at a time")
    parser.add_argument("--verify", type=int, default=4, help="batches to verify before")
    parser.add_argument("--rounds", type=int, default=4, help="of all readers")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    parser.add_argument("--warmup", type=float, default=1.0, help="seconds before each")
    arguments = parser.parse_args()
    if why := missing():
        print(f"nothing to measure: {why}")
        return
    every = product(arguments.folder or FOLDERS, map(int, arguments.threads.split(",")))
    table = [list(COLUMNS), *(row for folder, threads in every for row in rows(folder, threads, arguments))]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for cells in table:
        print("  ".join(map(str.ljust, cells, widths)).rstrip())


if __name__ == "__main__":
    main()
