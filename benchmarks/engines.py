"""What execution contexts and CUDA graphs do to the ceiling of inference, and to the CPU that it takes.

Images lie on the GPU; each point is a process of its own. Needs a GPU.
"""

import argparse
from itertools import product

from inferkit.machine.facts import facts
from inferkit.models.cache import model_path
from inferkit.ranks.launch import RankFailure, launch
from inferkit.records.figures import figure_of
from inferkit.records.job import DeviceOptions, Images, InferJob, InferOptions
from inferkit.records.windows import Window


def measure(job: InferJob) -> tuple[float, float]:
    """Return images per second and CPU cores used."""
    with launch(job) as rank:
        while not rank.ready():
            rank.wait(0.05)
        rank.start()
        outcome = rank.result(timeout_s=300)
    kept = [repeat for repeat in outcome.repeats if not repeat.warmup]
    figure = figure_of(outcome.repeats)
    assert figure is not None
    assert figure.images_per_s is not None
    return figure.images_per_s, sum(r.cpu_s or 0.0 for r in kept) / sum(r.seconds for r in kept)


def main() -> None:
    """Measure the grid and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default="resnet50,alexnet_owt")
    parser.add_argument("--precision", default="float16")
    parser.add_argument("--batch-sizes", default="32,64,128,256,512,1024")
    parser.add_argument("--contexts", default="1,2")
    parser.add_argument("--graphs", default="0,1", help="CUDA graph off, on")
    parser.add_argument("--seconds", type=float, default=2.0)
    arguments = parser.parse_args()
    if not facts().gpus:
        print("no GPU here: nothing to measure")
        return
    window = Window(warmup_s=1.0, duration_s=arguments.seconds / 2, repeats=2)
    print(f"{'model':12} {'batch':>6} {'contexts':>8} {'graph':>6} {'images/s':>10} {'cores':>6}")
    lines = []
    given = (arguments.batch_sizes, arguments.contexts, arguments.graphs)
    numbers = [[int(text) for text in texts.split(",")] for texts in given]
    axes = product(arguments.models.split(","), *numbers)
    for name, batch, contexts, graph in axes:
        model = model_path(name, precision=arguments.precision)
        job = InferJob(
            window=window,
            device=DeviceOptions(kind="cuda"),
            images=Images(dtype="uint8", shape=model.input_shape, batch_size=batch),
            inference=InferOptions(engine="tensorrt", model=str(model.path), contexts=contexts, cuda_graph=bool(graph)),
        )
        try:
            rate, cores = measure(job)
        except RankFailure as failure:
            print(f"{name:12} {batch:6} {contexts:8} {graph:6} failed: {failure}")
            continue
        print(f"{name:12} {batch:6} {contexts:8} {graph:6} {rate:10,.0f} {cores:6.2f}", flush=True)
        lines.append(f"result engine_{name}_{batch}_contexts{contexts}_graph{graph} {rate:.6g} images/s")
        lines.append(f"result engine_{name}_{batch}_contexts{contexts}_graph{graph}_cores {cores:.4f} cores")
    print("\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
