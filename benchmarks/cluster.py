"""What measuring through a cluster costs: ranks of this machine, started here and by a Dask worker, in alternation.

A scheduler and workers are started on this machine: each a node of its own, with GPUs one each. Each round measures the
same ranks as notebook 03c does and as 03d does; a figure is the median of the rounds' ratios. Beside it: from the last
rank's ready to the start, and how well the worker's clock is known.
"""

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from typing import Any

from inferkit.cluster.fleet import NODES_BARRIER_S
from inferkit.cluster.workers import Nodes
from inferkit.dataset.synthetic import make_synthetic
from inferkit.measure.measure import measure
from inferkit.measure.watch import Start, start_here
from inferkit.plan.build import plan
from inferkit.plan.points import Plan
from inferkit.ranks.group import BARRIER_S
from inferkit.records.params import Cluster, MakeDataset, MultiProcess
from inferkit.records.run import Run


@contextmanager
def workers(folder: Path, nodes: int, device: str) -> Iterator[Path]:
    """Start a scheduler and workers on this machine, and give the scheduler's file."""
    file = folder / "scheduler.json"
    worker = ("--no-nanny", "--no-dashboard", "--nthreads", "1", "--local-directory", str(folder))
    programs: list[tuple[str, str, tuple[str, ...]]] = [
        ("dask_scheduler", "", ("--port", "0", "--dashboard-address", ":0"))
    ]
    programs += [("dask_worker", str(node), worker) for node in range(nodes)]
    with ExitStack() as stack:
        log = stack.enter_context((folder / "log").open("wb"))
        for program, gpu, words in programs:
            command = [sys.executable, "-m", f"distributed.cli.{program}", "--scheduler-file", str(file), *words]
            own = {"CUDA_VISIBLE_DEVICES": gpu} if gpu and device == "cuda" else {}
            started = stack.enter_context(subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | own))
            stack.callback(started.kill)
            while not file.exists():
                sleep(0.1)
        yield file


def run_once(planned: Plan, start: Start) -> tuple[Run, float]:
    """Measure a plan's last pipeline, the one with its engine, without ceilings; return it and the seconds it took."""
    point = [point for point in planned.points if point.measure == "pipeline"][-1]
    begun = monotonic()
    (run,) = measure(replace(planned, points=[replace(point, ceilings={})]), None, start)
    return run, monotonic() - begun


def rate(run: Run) -> float:
    """Return images per second; a point that failed ends the benchmark."""
    if run.measured is None or not run.measured.images_per_s:
        raise SystemExit(str(run.failure))
    return run.measured.images_per_s


def main() -> None:
    """Measure in alternation and print the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=1, help="workers on this machine")
    parser.add_argument("--ranks", type=int, default=1, help="of each")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--engine", default="null")
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--reader", default="memory")
    parser.add_argument("--data", type=Path, default=Path("/dev/shm/inferkit-bench-cluster"), help="made if missing")
    arguments = parser.parse_args()
    if arguments.reader != "memory" and not arguments.data.exists():
        make_synthetic(MakeDataset(data=str(arguments.data), limit=8192))
    asked: dict[str, Any] = {
        "device": arguments.device,
        "engines": [arguments.engine],
        "models": [arguments.model],
        "precisions": ["float16" if arguments.engine == "tensorrt" else "float32"],
        "readers": [arguments.reader],
        "data": str(arguments.data),
        "batch_sizes": [arguments.batch],
        "warmup_s": 1.0,
        "duration_s": arguments.seconds,
        "repeats": 2,
    }
    ratios, longer, clocks = [], [], []
    nodes, ranks = arguments.nodes, arguments.ranks
    with TemporaryDirectory() as folder, workers(Path(folder), nodes, arguments.device) as file:
        local = plan(MultiProcess.check({**asked, "ranks": [ranks * nodes]}))
        there = {**asked, "ranks": [ranks], "scheduler": str(file), "nodes": nodes, "node_counts": [nodes]}
        with Nodes(Cluster.check({**there, "same_host": True})).connect() as found:
            through = found.plan()
            for number in range(arguments.rounds):
                sides = [("here", local, start_here), ("dask", through, found.start)]
                turns = sides[::-1] if number % 2 else sides
                runs = {name: run_once(planned, start) for name, planned, start in turns}
                (one, one_s), (other, other_s) = runs["here"], runs["dask"]
                ratios.append(rate(other) / rate(one))
                longer.append(other_s - one_s)
                clocks += other.facts["nodes"][0]["clock_error_s"]
                print(f"round {number}: here {rate(one):,.0f}, through Dask {rate(other):,.0f} images/s", flush=True)
    print(f"result cluster_vs_local {statistics.median(ratios):.4f} ratio")
    print(f"result cluster_vs_local_spread {statistics.stdev(ratios) if len(ratios) > 1 else 0.0:.4f} ratio")
    print(f"result cluster_agreement_extra {(NODES_BARRIER_S - BARRIER_S) * 1e3:.0f} ms")
    print(f"result cluster_point_longer {statistics.median(longer) * 1e3:.0f} ms")
    print(f"result cluster_clock_error {statistics.median(clocks) * 1e3:.3f} ms")


if __name__ == "__main__":
    main()
