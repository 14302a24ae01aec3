"""How near reading, copying and inferring at the same time come to the slowest of them alone.

Each point is measured in a process of its own, through the same plan and conductor as the notebooks: the ceilings of
reading, copying and inferring, then the pipeline. Without a GPU: ``--device cpu --engine onnx``.
"""

import argparse
from pathlib import Path

from inferkit.dataset.synthetic import make_synthetic
from inferkit.machine.facts import facts
from inferkit.measure.measure import measure
from inferkit.plan.build import plan
from inferkit.records.params import MakeDataset, SingleProcess
from inferkit.records.run import Run

COLUMNS = ("model", "reader", "batch", "measure", "images/s", "predicted", "ratio", "bottleneck", "cores", "copy GB/s")


def copy_gb_per_s(run: Run) -> float | None:
    """Bandwidth of the copies while they run, in 1e9 bytes per second."""
    stage = run.stages.get("copy")
    return stage.bytes_per_s / 1e9 if stage is not None and stage.bytes_per_s else None


def row(run: Run) -> list[str]:
    """Return a run as a row of the table."""
    measured = run.measured.images_per_s if run.measured else None
    predicted = run.predicted.images_per_s if run.predicted else None
    numbers = [
        f"{measured:,.0f}" if measured else "-",
        f"{predicted:,.0f}" if predicted else "",
        f"{run.reached:.3f}" if run.reached else "",
        run.bottleneck or "",
        *(f"{number:.2f}" if number is not None else "" for number in (run.cores, copy_gb_per_s(run))),
    ]
    names = [str(run.point.get(axis, "")) for axis in ("model", "reader", "batch_size")]
    return [*names, run.measure, *numbers]


def results(run: Run, turn: int) -> list[str]:
    """Return the result lines of a run."""
    axes = (run.point.get(axis) for axis in ("engine", "model", "reader", "batch_size"))
    name = "_".join(["pipeline", *(str(axis) for axis in axes if axis), f"round{turn}", run.measure])
    figures = {
        "images_per_s images/s": run.measured.images_per_s if run.measured else None,
        "reached ratio": run.reached,
        "cores cores": run.cores,
        "copy_bandwidth GB/s": copy_gb_per_s(run),
    }
    return [
        f"result {name}_{figure} {number:.6g} {unit}"
        for (figure, unit), number in ((key.split(), value) for key, value in figures.items())
        if number is not None
    ]


def show(runs: list[Run]) -> None:
    """Print runs as a table, and below it, once each, why some failed and what is to be known of others."""
    rows = [list(COLUMNS), *map(row, runs)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for cells in rows:
        print("  ".join(map(str.rjust, cells, widths)))
    notes: dict[str, list[str]] = {}
    for run, cells in zip(runs, rows[1:], strict=True):
        engine = [f"engine: {run.facts['engine']}"] if run.measure == "infer" and "engine" in run.facts else []
        for note in [run.failure.message] if run.failure else [*run.reasons, *run.warnings, *engine]:
            notes.setdefault(note, []).append(" ".join(filter(None, cells[:4])))
    for note, where in notes.items():
        print(f"  {note} ({', '.join(where)})")


def parameters(arguments: argparse.Namespace) -> SingleProcess:
    """Return what the notebook of this work would be given."""
    return SingleProcess.check(
        {
            "data": str(arguments.data.resolve()),
            "device": arguments.device,
            "gpus": [int(gpu) for gpu in arguments.gpus.split(",")] if arguments.device == "cuda" else [],
            "contexts": arguments.contexts,
            "cuda_graph": arguments.cuda_graph,
            "engines": arguments.engine.split(","),
            "models": arguments.models.split(","),
            "precisions": [arguments.precision],
            "batch_sizes": [int(size) for size in arguments.batch_sizes.split(",")],
            "readers": arguments.readers.split(","),
            "threads": [arguments.threads],
            "slots": arguments.slots,
            "warmup_s": arguments.warmup,
            "duration_s": arguments.seconds,
            "repeats": arguments.repeats,
        }
    )


def main() -> None:
    """Parse the command line, make the images, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("/dev/shm/inferkit-bench"), help="data set; made if missing")
    parser.add_argument("--images", type=int, default=8192, help="random images to make")
    gpu = bool(facts().gpus)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda" if gpu else "cpu", help="where to infer")
    parser.add_argument("--gpus", default="0", help="which GPUs, fed by one process")
    parser.add_argument("--contexts", type=int, default=2, help="batches that a GPU infers side by side")
    parser.add_argument(
        "--cuda-graph", action=argparse.BooleanOptionalAction, default=True, help="launch a batch as one graph"
    )
    parser.add_argument("--engine", default="tensorrt" if gpu else "onnx", help="tensorrt, onnx, null, or several")
    parser.add_argument("--models", default="resnet50,alexnet_owt" if gpu else "resnet18", help="names of the zoo")
    parser.add_argument("--precision", default="float16" if gpu else "float32", help="float16 or float32")
    parser.add_argument("--batch-sizes", default="256" if gpu else "16", help="images per batch")
    parser.add_argument("--readers", default="buffered,mapped,memory", help="readers")
    parser.add_argument("--threads", type=int, default=8, help="reader threads")
    parser.add_argument("--slots", type=int, default=3, help="batches on the device at a time")
    parser.add_argument("--warmup", type=float, default=2.0, help="seconds before each measurement")
    parser.add_argument("--seconds", type=float, default=5.0, help="seconds of each window")
    parser.add_argument("--repeats", type=int, default=2, help="windows of each measurement")
    parser.add_argument("--rounds", type=int, default=2, help="how often to measure everything")
    arguments = parser.parse_args()
    if not arguments.data.exists():
        make_synthetic(MakeDataset(data=str(arguments.data.absolute()), limit=arguments.images, images_per_file=1000))
    planned = plan(parameters(arguments))
    print(planned, flush=True)
    lines = []
    for turn in range(1, arguments.rounds + 1):
        runs = list(measure(planned))
        print(f"\nround {turn} on {', '.join(gpu.name for gpu in runs[0].host.gpus) or runs[0].host.cpu}")
        show(runs)
        lines += [line for run in runs for line in results(run, turn)]
    print("\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
