"""JPEG files decoded by the GPU: inferkit's reader nvjpeg beside a bare loop of nvImageCodec, and beside its ceilings.

Each side runs in a process of its own, in alternation, on the same files: the bare loop decodes bytes that lie in
memory, batch after batch, and resizes nothing; inferkit's points are those of notebook 03b. DALI and SPDL are measured
beside where they are installed, as their documentation recommends. Needs a GPU with a JPEG decoder in hardware.
"""

import argparse
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from inferkit.dataset.images import find_images
from inferkit.dataset.photographs import make_photographs
from inferkit.measure.measure import measure
from inferkit.plan.build import plan
from inferkit.records.params import SingleProcess

Figure = dict[str, float]
UNITS = {"_cores": "cores", "cores": "cores", "_reached": "ratio"}
DECODE = "decode_0_images_per_s"


def cores_of(work: Callable[[], int], seconds: float) -> Figure:
    """Call ``work``, which returns how many images it did, for some seconds; return its rate and the cores it took."""
    work()
    began, cpu, images = time.perf_counter(), cpu_s(), 0
    while time.perf_counter() - began < seconds:
        images += work()
    elapsed = time.perf_counter() - began
    return {"images_per_s": images / elapsed, "cores": (cpu_s() - cpu) / elapsed}


def cpu_s() -> float:
    """CPU seconds of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def bare(folder: Path, arguments: argparse.Namespace) -> Figure:
    """NVIDIA's own loop: a batch of files in memory, decoded by hardware, images used again."""
    from nvidia import nvimgcodec

    files = [(folder / name).read_bytes() for name in find_images(folder)]
    batches = [files[first : first + arguments.batch] for first in range(0, len(files), arguments.batch)]
    batches = [batch for batch in batches if len(batch) == arguments.batch]
    backends = [nvimgcodec.Backend(nvimgcodec.BackendKind.HW_GPU_ONLY)]
    decoder = nvimgcodec.Decoder(0, 1, backends)
    params = nvimgcodec.DecodeParams(color_spec=nvimgcodec.ColorSpec.SRGB)
    state: dict[str, Any] = {"turn": 0, "images": None}

    def work() -> int:
        batch = batches[state["turn"] % len(batches)]
        state["turn"] += 1
        streams = [nvimgcodec.CodeStream(data) for data in batch]
        state["images"] = decoder.decode(streams, images=state["images"], params=params)
        return len(batch)

    return cores_of(work, arguments.seconds)


def dali(folder: Path, arguments: argparse.Namespace) -> Figure:
    """DALI's pipeline: mixed decoding with the decoder in hardware, resizing and transposing on the GPU."""
    from nvidia import dali as library
    from nvidia.dali import fn, types

    @library.pipeline_def(batch_size=arguments.batch, num_threads=os.cpu_count(), device_id=0)  # type: ignore[untyped-decorator]
    def steps() -> Any:
        encoded, _ = fn.readers.file(files=[str(folder / name) for name in find_images(folder)], random_shuffle=False)
        images = fn.decoders.image(encoded, device="mixed", output_type=types.RGB, hw_decoder_load=1.0)
        images = fn.resize(images, size=[arguments.size, arguments.size])
        return fn.transpose(images, perm=[2, 0, 1])

    pipe = steps()
    pipe.build()

    def work() -> int:
        pipe.run()
        return int(arguments.batch)

    return cores_of(work, arguments.seconds)


def ours(folder: Path, arguments: argparse.Namespace) -> Figure:
    """Measure inferkit's points: read, decode, feed, infer and the pipeline."""
    given = {
        "images": str(folder.resolve()),
        "size": arguments.size,
        "device": "cuda",
        "gpus": [int(gpu) for gpu in arguments.gpus.split(",")],
        "gpu_counts": [int(count) for count in arguments.gpu_counts.split(",")] if arguments.gpu_counts else [],
        "engines": ["null", arguments.engine],
        "models": [arguments.model],
        "precisions": ["float16"],
        "batch_sizes": [arguments.batch],
        "readers": arguments.readers.split(","),
        "threads": [arguments.threads],
        "decoders": arguments.decoders,
        "warmup_s": 2.0,
        "duration_s": arguments.seconds,
        "repeats": 2,
    }
    figures: Figure = {}
    for run in measure(plan(SingleProcess.check(given))):
        axes = [run.point[axis] for axis in ("engine", "reader", "gpu") if axis in run.point]
        name = "_".join(map(str, [run.measure, *axes]))
        told = [run.failure.message] if run.failure else [*run.reasons, *run.warnings]
        print(*(f"{name}: {note}" for note in told), sep="\n", file=sys.stderr)
        print(name, run.facts.get("pixels"), run.facts.get("decoders"), file=sys.stderr)
        rate = run.measured.images_per_s if run.measured else None
        own = {"images_per_s": rate, "cores": run.cores, "reached": run.reached}
        figures |= {f"{name}_{key}": value for key, value in own.items() if value is not None}
    return figures


def spdl(folder: Path, arguments: argparse.Namespace) -> Figure:
    """SPDL's pipeline: every core decodes and resizes a part of a batch (its own example), nothing goes to a GPU."""
    from spdl import io
    from spdl.pipeline import PipelineBuilder

    paths = [str(folder / name) for name in find_images(folder)]
    part, cores = 32, len(os.sched_getaffinity(0))

    def decode(these: list[str]) -> Any:
        return io.load_image_batch(these, width=arguments.size, height=arguments.size, pix_fmt="rgb24")

    stages = PipelineBuilder().add_source(itertools.cycle(paths)).aggregate(part).pipe(decode, concurrency=cores)
    pipeline = stages.add_sink(8).build(num_threads=cores)
    with pipeline.auto_stop():
        batches = pipeline.get_iterator()

        def work() -> int:
            next(batches)
            return part

        return cores_of(work, arguments.seconds)


SIDES: dict[str, Callable[[Path, argparse.Namespace], Figure]] = {
    "bare": bare,
    "ours": ours,
    "dali": dali,
    "spdl": spdl,
}

PEERS = {"bare": ("nvidia", "nvidia.nvimgcodec"), "dali": ("nvidia", "nvidia.dali"), "spdl": ("spdl", "spdl.io")}
"""The modules that a peer needs, which are no part of inferkit: nvidia-nvimgcodec-cu13, nvidia-dali-cuda130, spdl."""


def main() -> None:
    """Parse the command line, make photographs, measure in alternation, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--images", type=Path, default=Path("/dev/shm/inferkit-photographs"), help="JPEG files")
    parser.add_argument("--count", type=int, default=2048, help="photographs to make where there are none")
    parser.add_argument("--size", type=int, default=224, help="height and width of the result")
    parser.add_argument("--batch", type=int, default=256, help="images per batch")
    parser.add_argument("--model", default="resnet50", help="a network of the zoo")
    parser.add_argument("--engine", default="tensorrt", help="what infers")
    parser.add_argument("--readers", default="nvjpeg", help="readers")
    parser.add_argument("--gpus", default="0", help="GPUs of one process")
    parser.add_argument("--gpu-counts", default="", help="numbers of them to compare")
    parser.add_argument("--threads", type=int, default=2, help="reader threads per GPU")
    parser.add_argument("--decoders", type=int, default=1, help="batches decoded side by side on a GPU")
    parser.add_argument("--seconds", type=float, default=5.0, help="seconds of each window")
    parser.add_argument("--rounds", type=int, default=2, help="alternating rounds")
    parser.add_argument("--side", choices=SIDES, help="measure one side only, in this process")
    arguments = parser.parse_args()
    if arguments.side:
        print(json.dumps(SIDES[arguments.side](arguments.images, arguments)))
        return
    if not arguments.images.exists():
        make_photographs(arguments.images, count=arguments.count)
    missing = {side for side, modules in PEERS.items() if not all(map(find_spec, modules))}
    there = [side for side in SIDES if side not in missing]
    rounds: dict[str, list[Figure]] = {side: [] for side in there}
    for _ in range(arguments.rounds):
        for side in there:
            done = subprocess.run(
                [sys.executable, __file__, "--side", side, *sys.argv[1:]],
                check=False,
                stdout=subprocess.PIPE,
                text=True,
            )
            if done.returncode == 0:
                rounds[side].append(json.loads(done.stdout.splitlines()[-1]))
    show(rounds)


def show(rounds: dict[str, list[Figure]]) -> None:
    """Print each figure's median over the rounds, and ours beside the bare loop's in the same round."""
    for side, own in rounds.items():
        for name in own[0] if own else ():
            values = [each[name] for each in own if name in each]
            unit = next((unit for end, unit in UNITS.items() if name.endswith(end)), "images/s")
            print(f"result jpeg_{side}_{name} {statistics.median(values):.6g} {unit}")
    pairs = zip(rounds["ours"], rounds["bare"], strict=False)
    ratios = [mine[DECODE] / theirs["images_per_s"] for mine, theirs in pairs if DECODE in mine]
    if ratios:
        print(f"result jpeg_decode_vs_bare {statistics.median(ratios):.3f} ratio")


if __name__ == "__main__":
    main()
