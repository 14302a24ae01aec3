"""Several processes against one, and what starting them costs.

On one device: 1, 2, 4 … ranks. On several GPUs: each GPU alone, one process that feeds them all (a thread each), and
one rank per GPU. Each setting is measured in rounds, in alternation; a figure is the median over the rounds. Without a
GPU: the engine ``null`` on the CPU, 1 and 2 ranks. Last, eight ranks without an engine are started: seconds to the
barrier.
"""

import argparse
import shutil
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import sleep
from typing import Any

from inferkit.dataset.synthetic import make_synthetic
from inferkit.linux.cgroups import affinity
from inferkit.machine.facts import facts
from inferkit.machine.placement import place_ranks
from inferkit.machine.topology import topology
from inferkit.measure.measure import measure
from inferkit.plan.build import plan
from inferkit.ranks.group import Group
from inferkit.records.job import CopyJob, DeviceOptions
from inferkit.records.params import MakeDataset, MultiProcess
from inferkit.records.run import Run
from inferkit.records.windows import Window

START_RANKS, START_ROUNDS = 8, 3


@dataclass(frozen=True)
class Setting:
    """Some GPUs (none: the CPU) and a number of ranks on them."""

    gpus: tuple[int, ...]
    ranks: int

    @property
    def name(self) -> str:
        """Name the setting in result lines."""
        where = "gpu" + "_".join(map(str, self.gpus)) if self.gpus else "cpu"
        return f"{where}_{self.ranks}ranks"


def settings(arguments: argparse.Namespace) -> list[Setting]:
    """Return what is measured side by side."""
    gpus = arguments.gpus if arguments.device == "cuda" else []
    if len(gpus) < 2:
        return [Setting(tuple(gpus), ranks) for ranks in arguments.ranks]
    return [*(Setting((gpu,), 1) for gpu in gpus), Setting(tuple(gpus), 1), Setting(tuple(gpus), len(gpus))]


def works(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield engine, model, batch size and reader of each thing that is measured in every setting."""
    for engine in arguments.engines:
        for entry in arguments.models:
            model, _, batch = entry.partition(":")
            for reader in arguments.readers:
                yield {
                    "engines": [engine],
                    "models": [model],
                    "batch_sizes": [int(batch)],
                    "readers": [reader],
                    "precisions": ["float32" if engine == "onnx" else arguments.precision],
                }


def run_once(arguments: argparse.Namespace, setting: Setting, work: dict[str, Any]) -> Run:
    """Measure one work in one setting, without its ceilings."""
    params = MultiProcess.check(
        {
            "data": str(arguments.data.resolve()),
            "device": arguments.device,
            "gpus": list(setting.gpus),
            "gpu_counts": [len(setting.gpus)] if setting.gpus else [],
            "ranks": [setting.ranks],
            "threads": [arguments.threads],
            "slots": arguments.slots,
            "warmup_s": arguments.warmup,
            "duration_s": arguments.seconds,
            "repeats": arguments.repeats,
            "rerun": "always",
            **work,
        }
    )
    planned = plan(params)
    (point,) = [point for point in planned.points if point.measure == "pipeline"]
    (run,) = measure(replace(planned, points=[replace(point, ceilings={})]))
    return run


def name_of(work: dict[str, Any]) -> str:
    """Name a work in result lines."""
    engine, model, batch, reader = (work[key][0] for key in ("engines", "models", "batch_sizes", "readers"))
    return f"{engine if engine == 'null' else model}_batch{batch}_{reader}"


def show(setting: Setting, work: dict[str, Any], run: Run) -> None:
    """Print a run as a line, and below it what is to be known of it."""
    rate = run.measured.images_per_s if run.measured else None
    together = run.facts.get("group", {})
    error, overlap = (run.measured.half_width if run.measured else None) or 0.0, together.get("overlap") or 0.0
    print(
        f"{name_of(work):36} {setting.name:16} {rate or 0.0:>12,.0f} images/s ± {error:7.3%} "
        f"overlap {overlap:7.2%} {run.cores or 0.0:5.2f} cores {run.verdict}",
        flush=True,
    )
    for note in [*([run.failure.message] if run.failure else []), *run.reasons, *run.warnings, *run.unverified]:
        print(f"    {note}")


def results(rates: dict[tuple[str, Setting], list[float]], overlaps: Sequence[float]) -> Iterator[str]:
    """Yield the result lines."""
    median = {key: statistics.median(values) for key, values in rates.items() if values}
    for (work, setting), rate in median.items():
        yield f"result ranks_{work}_{setting.name} {rate:.6g} images/s"
        single = median.get((work, Setting(setting.gpus, 1)))
        if setting.ranks > 1 and single:
            yield f"result ranks_{work}_{setting.name}_vs_one_process {rate / single:.4f} ratio"
        alone = [median.get((work, Setting((gpu,), 1))) for gpu in setting.gpus]
        if len(alone) > 1 and None not in alone:
            total = sum(value for value in alone if value is not None)
            yield f"result ranks_{work}_{setting.name}_vs_sum_of_each_alone {rate / total:.4f} ratio"
    if overlaps:
        yield f"result ranks_overlap {min(overlaps):.4f} ratio"


def start_cost() -> tuple[float, float]:
    """Start eight ranks that copy on the CPU; returns seconds to the barrier (median) and the smallest overlap."""
    seconds, overlaps = [], []
    for _ in range(START_ROUNDS):
        places = place_ranks(topology(), START_RANKS, cpus=affinity()).places
        window = Window(warmup_s=1.0, duration_s=1.0, repeats=1)
        copying = CopyJob(window=window, device=DeviceOptions(), nbytes=1 << 20, host_memory="pageable")
        with Group([copying.changed(place=place) for place in places]) as group:
            while not group.ready():
                sleep(0.005)
            group.start()
            together = group.result(60.0).facts["group"]
        seconds.append(together["barrier_s"])
        overlaps.append(together["overlap"])
    return statistics.median(seconds), min(overlaps)


def words(text: str) -> list[str]:
    """Split a list on the command line."""
    return [word for word in text.split(",") if word]


def numbers(text: str) -> list[int]:
    """Split a list of numbers on the command line."""
    return [int(word) for word in words(text)]


def parse() -> argparse.Namespace:
    """Read the command line; defaults are what this machine can do."""
    there = [gpu.index for gpu in facts().gpus]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("/dev/shm/inferkit-bench-ranks"), help="made if missing")
    parser.add_argument("--images", type=int, default=8192 if there else 2048, help="random images to make")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda" if there else "cpu", help="where to infer")
    parser.add_argument("--gpus", type=numbers, default=there, help="GPUs to use")
    parser.add_argument("--ranks", type=numbers, default=[1, 2, 4] if there else [1, 2], help="on one GPU, or the CPU")
    parser.add_argument("--engines", type=words, default=["null", "tensorrt"] if there else ["null"], help="engines")
    parser.add_argument("--models", type=words, default=["alexnet_owt:1024", "resnet50:256"], help="model:batch size")
    parser.add_argument("--readers", type=words, default=["mapped", "buffered"], help="readers")
    parser.add_argument("--precision", default="float16", help="float16 or float32")
    threads = 4 if there else 1
    parser.add_argument("--threads", type=int, default=threads, help="reader threads per process, and per GPU of it")
    parser.add_argument("--slots", type=int, default=3, help="batches on the device at a time")
    parser.add_argument("--warmup", type=float, default=2.0 if there else 1.0, help="seconds")
    parser.add_argument("--seconds", type=float, default=5.0 if there else 2.0, help="seconds of each window")
    parser.add_argument("--repeats", type=int, default=2, help="windows of each measurement")
    parser.add_argument("--rounds", type=int, default=2, help="how often to measure everything")
    parser.add_argument("--no-start", action="store_true", help="leave out the eight ranks")
    return parser.parse_args()


def main() -> None:
    """Make the images, measure, print, and remove them."""
    arguments = parse()
    made = not arguments.data.exists()
    if made:
        make_synthetic(MakeDataset(data=str(arguments.data.absolute()), limit=arguments.images, images_per_file=512))
    try:
        compare(arguments)
    finally:
        if made:
            shutil.rmtree(arguments.data)


def compare(arguments: argparse.Namespace) -> None:
    """Measure every work in every setting, and the start of eight ranks."""
    host = facts()
    print(f"on {', '.join(gpu.name for gpu in host.gpus) or host.cpu}\n{topology()}\n", flush=True)
    rates: dict[tuple[str, Setting], list[float]] = {}
    overlaps: list[float] = []
    for _ in range(arguments.rounds):
        for work in works(arguments):
            for setting in settings(arguments):
                run = run_once(arguments, setting, work)
                show(setting, work, run)
                own = rates.setdefault((name_of(work), setting), [])
                if run.measured and run.measured.images_per_s:
                    own.append(run.measured.images_per_s)
                    overlaps.append(run.facts["group"]["overlap"])
    lines = list(results(rates, overlaps))
    if not arguments.no_start:
        seconds, overlap = start_cost()
        lines += [f"result ranks_start_s {seconds:.3f} s", f"result ranks_start_overlap {overlap:.4f} ratio"]
    print("\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
