"""A long run of every reader and engine here: are memory, descriptors and threads flat? ``make soak`` runs it.

Each way to read and infer streams without a pause for its share of the time, in one rank, and one of them in two; what
the rank and its parent hold is looked at every second.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from statistics import median
from time import monotonic, sleep
from typing import NamedTuple

from inferkit.dataset.synthetic import make_synthetic
from inferkit.plan.build import plan
from inferkit.ranks.group import Group
from inferkit.ranks.launch import Handle, launch
from inferkit.records.job import Job
from inferkit.records.outcome import Outcome
from inferkit.records.params import MakeDataset, SingleProcess
from inferkit.records.place import Place
from inferkit.records.windows import Window
from tests.dataset.pictures import folder_of

ENGINES = {"cpu": ("null", "onnx"), "cuda": ("null", "tensorrt")}
READERS = {"cpu": ("buffered", "direct", "jpeg", "mapped"), "cuda": ("buffered", "direct", "nvjpeg", "mapped")}
SIZE, IMAGES, BATCH = 32, 512, 4
WINDOW_S, LOOK_S = 5.0, 1.0
MOST_GROWN = {"resident": 1_000_000, "descriptors": 1, "threads": 0}
"""What has grown by no more is flat: allocators keep what is free, and readers of single files have one open now and
then at the instant when they are looked at."""
KINDS = tuple(MOST_GROWN)


class Held(NamedTuple):
    """What a process holds at an instant."""

    resident: int
    descriptors: int
    threads: int


def held(pid: int) -> Held:
    """Look at a process that runs."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return Held(int(status["VmRSS"].split()[0]) * 1024, descriptors, int(status["Threads"]))


def jobs(folder: Path, device: str) -> Iterator[tuple[str, list[Job]]]:
    """Yield every case of a device by its name, the last without inference also in two ranks."""
    make_synthetic(MakeDataset(data=str(folder / "set"), limit=IMAGES, shape=[3, SIZE, SIZE], images_per_file=128))
    folder_of(folder / "photographs", 64)
    for reader, engine in product(READERS[device], ENGINES[device]):
        where = {"images": str(folder / "photographs")} if "jpeg" in reader else {"data": str(folder / "set")}
        values = {"readers": [reader], "engines": [engine], "models": ["resnet18"], "size": SIZE, "source": "memory"}
        values |= {"device": device, "dtype": "uint8"}
        points = plan(SingleProcess.check({**where, **values, "batch_sizes": [BATCH], "verify_batches": 0})).points
        job = next(point.job for point in points if point.measure == "pipeline")
        yield f"{reader} {engine}", [job]
        if (reader, engine) == ("mapped", "null"):
            yield f"{reader} {engine}, 2 ranks", [job.changed(place=Place(rank=rank, ranks=2)) for rank in (0, 1)]


def soak(these: Sequence[Job], seconds: float) -> tuple[Outcome, list[Held], list[Held]]:
    """Run jobs for so long; returns what came of it, and what the first rank and this process held every second."""
    window = Window(warmup_s=1.0, duration_s=WINDOW_S, repeats=max(1, round((seconds - 1.0) / WINDOW_S)))
    own = [job.changed(window=window) for job in these]
    ranks: list[Held] = []
    parent: list[Held] = []
    with Group(own) if len(own) > 1 else launch(own[0]) as run:
        pid = (run if isinstance(run, Handle) else run.ranks[0]).pid
        while not run.ready():
            sleep(0.05)
        run.start()
        end = monotonic() + window.seconds - LOOK_S
        while monotonic() < end and not run.answered():
            sleep(LOOK_S)
            ranks.append(held(pid))
            parent.append(held(os.getpid()))
        return run.result(timeout_s=60.0), ranks, parent


def growth(course: Sequence[Held], kind: str) -> tuple[float, float]:
    """Return the medians of the second quarter and of the last: the first fills caches."""
    values = [getattr(each, kind) for each in course]
    quarter = max(1, len(values) // 4)
    return median(values[quarter : 2 * quarter] or values), median(values[-quarter:])


def flat(course: Sequence[Held]) -> bool:
    """Tell whether nothing grew by more than what is flat."""
    grown = {kind: growth(course, kind) for kind in KINDS}
    return all(after - before <= MOST_GROWN[kind] for kind, (before, after) in grown.items())


def line(name: str, course: Sequence[Held]) -> str:
    """Word what became of a process's course."""
    resident = growth(course, "resident")
    megabytes = " → ".join(f"{value / 1e6:.1f}" for value in resident)
    others = ", ".join(f"{kind} {' → '.join(f'{value:g}' for value in growth(course, kind))}" for kind in KINDS[1:])
    return f"{name:26} {megabytes} MB, {others}: {'flat' if flat(course) else 'NOT FLAT'}"


def main() -> int:
    """Soak all cases; exits with 1 if anything was not flat."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300.0, help="for all cases together (default 300)")
    parser.add_argument("--folder", default=".", help="where the data lies; reader direct needs a disk (default .)")
    parser.add_argument("--device", choices=ENGINES, default="cpu", help="cuda: GPU 0, with TensorRT and its decoder")
    arguments = parser.parse_args()
    good, whole = True, []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".soak-", dir=arguments.folder)))
        cases = list(jobs(folder.resolve(), arguments.device))
        for name, these in cases:
            outcome, ranks, parent = soak(these, arguments.seconds / len(cases))
            whole += parent
            batches = sum(repeat.batches for repeat in outcome.repeats)
            rate = batches / sum(repeat.seconds for repeat in outcome.repeats)
            print(line(name, ranks), f"({batches:,} batches, {rate:,.0f}/s)", flush=True)
            for warning in outcome.warnings:
                print(f"    {warning}")
            good = good and flat(ranks)
    print(line("parent of all", whole))
    good = good and flat(whole)
    print("verdict: flat" if good else "verdict: NOT FLAT")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
