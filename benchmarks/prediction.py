"""How true the prediction is: measured ÷ predicted over configurations that are bound by different things.

Each configuration goes through the same plan and conductor as notebook 03b. Reading is made the bottleneck by a cgroup
limit on the disk (version 1, blkio; needs root), which is exact and free of noise; without one those configurations are
left out, and that is said. ``--device cuda`` infers on a GPU.
"""

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from math import hypot
from pathlib import Path
from typing import Any, NamedTuple

from inferkit.dataset.photographs import make_photographs
from inferkit.dataset.synthetic import make_synthetic
from inferkit.linux.mounts import filesystem
from inferkit.linux.page_cache import evict_all
from inferkit.measure.measure import measure
from inferkit.plan.build import plan
from inferkit.ranks.forked import end_idle
from inferkit.records.params import MakeDataset, SingleProcess
from inferkit.records.run import UNSTEADY, Run

BLKIO = Path("/sys/fs/cgroup/blkio")
AIM = 0.03
ONE_EPOCH = {"warmup_s": 0.3, "duration_s": 0.6, "repeats": 3}
"""Short enough that mapped files, which stay in memory once they are read, are read for the first time."""


class Configuration(NamedTuple):
    """What binds it, as it was made; where its files lie; and the parameters that make it so."""

    name: str
    storage: str
    values: dict[str, Any]


def configurations(device: str) -> list[Configuration]:
    """Return configurations that are bound by CPUs, copies, the disk, decoding, the network, and mixtures."""
    network = {"engines": ["onnx"], "models": ["mobilenet_v3_large"]} if device == "cpu" else {"engines": ["tensorrt"]}
    heavy = {**network, "models": ["resnet18"]} if device == "cpu" else {**network, "precisions": ["float16"]}
    null: dict[str, Any] = {"engines": ["null"]}
    return [
        *(
            Configuration(f"copy_mapped_{n}", "memory", {**null, "readers": ["mapped"], "batch_sizes": [n]})
            for n in (16, 64, 256)
        ),
        *(Configuration(f"cpu_buffered_{n}_threads", "memory", {**null, "threads": [n]}) for n in (1, 2, 4)),
        *(
            Configuration(f"cpu_buffered_batch_{n}", "memory", {**null, "threads": [2], "batch_sizes": [n]})
            for n in (8, 128)
        ),
        *(Configuration(f"disk_{r}", "limited", {**null, "readers": [r], "threads": [2]}) for r in ("direct", "uring")),
        Configuration("disk_mapped", "limited", {**null, "readers": ["mapped"], **ONE_EPOCH}),
        Configuration("disk_buffered", "limited", {**null, "readers": ["buffered"], "evict": True, "threads": [2]}),
        *(
            Configuration(f"decode_{n}_threads", "photographs", {**null, "readers": ["jpeg"], "threads": [n]})
            for n in (1, 2, 4)
        ),
        *(Configuration(f"infer_{r}", "memory", {**heavy, "readers": [r]}) for r in ("mapped", "buffered", "memory")),
        *(Configuration(f"mixed_buffered_{n}", "memory", {**network, "batch_sizes": [n]}) for n in (8, 32)),
        Configuration("mixed_decode", "photographs", {**network, "readers": ["jpeg"], "threads": [2]}),
        Configuration("mixed_disk", "limited", {**network, "readers": ["direct"]}),
        Configuration("no_overlap", "memory", {**network, "readers": ["mapped"], "overlap": False}),
    ]


@contextmanager
def limited_disk(folder: Path, bytes_per_s: int) -> Iterator[bool]:
    """Let this process and what it starts read so much a second from a folder's disk; False where that cannot be."""
    system = filesystem(folder)
    group = BLKIO / f"inferkit-{os.getpid()}"
    if not os.access(BLKIO / "cgroup.procs", os.W_OK) or system.block_device is None:
        yield False
        return
    device = (Path("/sys/block") / system.block_device / "dev").read_text().strip()
    group.mkdir()
    try:
        (group / "blkio.throttle.read_bps_device").write_text(f"{device} {bytes_per_s}")
        (group / "cgroup.procs").write_text(str(os.getpid()))
        yield True
    finally:
        (BLKIO / "cgroup.procs").write_text(str(os.getpid()))
        end_idle()  # what forks ranks is in the group as well
        group.rmdir()


def pipeline_of(configuration: Configuration, arguments: argparse.Namespace, folders: dict[str, str]) -> Run | None:
    """Measure a configuration with its ceilings, and return the pipeline; None where it did not run."""
    values: dict[str, Any] = {
        "batch_sizes": [32],
        "device": arguments.device,
        "warmup_s": arguments.warmup,
        "duration_s": arguments.seconds,
        "repeats": arguments.repeats,
        "verify_batches": 1,
        "source": "storage" if configuration.storage == "limited" else "memory",
        **configuration.values,
    }
    jpeg = configuration.storage == "photographs"
    values |= {"images": folders["photographs"], "data": ""} if jpeg else {"data": folders[configuration.storage]}
    runs = list(measure(plan(SingleProcess.check(values))))
    return next((run for run in reversed(runs) if run.measure == "pipeline"), None)


class Off(NamedTuple):
    """How far a configuration lies off its prediction, and whether its errors or a stated reason explain that."""

    share: float
    explained: bool


def told(name: str, run: Run | None) -> Off | None:
    """Print a configuration's line, and return how far it lies off its prediction."""
    if run is None or run.measured is None or run.predicted is None or run.reached is None:
        print(
            f"{name:26} did not run: {run.failure.message if run and run.failure else 'nothing was measured'}",
            flush=True,
        )
        return None
    ours, ceiling = run.measured.images_per_s or 0.0, run.predicted.images_per_s or 0.0
    error = hypot(run.measured.half_width or 0.0, run.predicted.half_width or 0.0)
    said = run.reasons + run.warnings
    explained = abs(run.reached - 1) <= error or any("of the prediction" in each or UNSTEADY in each for each in said)
    print(
        f"{name:26} {ours:12,.0f} {ceiling:12,.0f} {run.reached:7.3f} ± {error:.3f}  {run.bottleneck or '–':8} "
        f"{'; '.join(said)}",
        flush=True,
    )
    return Off(abs(run.reached - 1), explained)


def main() -> None:
    """Measure every configuration, and print the table and how many lie within the aim."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--disk", type=Path, default=Path("data/prediction"), help="folder on a disk")
    parser.add_argument("--memory", type=Path, default=Path("/dev/shm/inferkit-prediction"), help="folder in memory")
    parser.add_argument("--limit", type=int, default=100_000_000, help="bytes a second that the disk may give")
    parser.add_argument("--warmup", type=float, default=2.0, help="seconds before each measurement")
    parser.add_argument("--seconds", type=float, default=5.0, help="seconds of each window")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--only", default="", help="configurations whose names begin with one of these, separated by commas"
    )
    arguments = parser.parse_args()
    folders = {"memory": str(arguments.memory.absolute()), "limited": str(arguments.disk.absolute() / "tensors")}
    folders["photographs"] = str(arguments.memory.absolute() / "photographs")
    for name in ("memory", "limited"):
        make_synthetic(MakeDataset(data=folders[name], limit=2000, shape=[3, 224, 224]))
    make_photographs(Path(folders["photographs"]), count=400)
    print(f"{'configuration':26} {'images/s':>12} {'predicted':>12} {'reached':>15}  {'limit':8} reasons and warnings")
    off = []
    for configuration in configurations(arguments.device):
        if not configuration.name.startswith(tuple(arguments.only.split(","))):
            continue
        if configuration.storage != "limited":
            off.append(told(configuration.name, pipeline_of(configuration, arguments, folders)))
            continue
        with limited_disk(Path(folders["limited"]), arguments.limit) as possible:
            if possible:
                evict_all(Path(folders["limited"]).glob("*.tensors"))
                off.append(told(configuration.name, pipeline_of(configuration, arguments, folders)))
            else:
                print(f"{configuration.name:26} left out: no blkio cgroup of version 1 that may be written, or no disk")
    known = [each for each in off if each is not None]
    within = sum(each.share <= AIM for each in known)
    explained = sum(each.share <= AIM or each.explained for each in known)
    print(f"result prediction_configurations {len(known)} configurations")
    print(f"result prediction_within_3_percent {within / max(1, len(known)):.3f} ratio")
    print(f"result prediction_within_or_explained {explained / max(1, len(known)):.3f} ratio")
    print(f"result prediction_worst {max((each.share for each in known), default=0.0):.3f} ratio")


if __name__ == "__main__":
    main()
