"""Copies to the GPU beside a bare loop of event-timed copies: 512 MiB pinned, 16 copies a sample. Needs a GPU.

Both sides run in processes of their own, in alternation, with the same bytes and the same kind of memory. With several
GPUs all copy at once as well: ours in one process, the bare loops in a process each.
"""

import argparse
import statistics
import subprocess
import sys

from inferkit.machine.facts import facts
from inferkit.ranks.launch import launch
from inferkit.records.job import CopyJob, DeviceOptions
from inferkit.records.windows import Window

BARE = """
import sys
import pycuda.driver as drv
drv.init(); context = drv.Device(int(sys.argv[1])).retain_primary_context(); context.push()
nbytes = int(sys.argv[2])
host = drv.pagelocked_empty(nbytes, "uint8"); host[:] = 7
memory = drv.mem_alloc(nbytes); stream = drv.Stream(1)
seconds = []
for sample in range(10):
    start, end = drv.Event(), drv.Event()
    start.record(stream)
    for _ in range(16):
        drv.memcpy_htod_async(memory, host, stream)
    end.record(stream); end.synchronize()
    seconds.append(start.time_till(end) / 1e3)
print(16 * nbytes * len(seconds[2:]) / sum(seconds[2:]))  # the mean, as ours is
memory.free(); host.base.free(); del stream, start, end; context.pop()
"""


def bare(gpus: tuple[int, ...], nbytes: int) -> float:
    """Return the bandwidth of bare loops that run at the same time, in bytes per second."""
    commands = [[sys.executable, "-c", BARE, str(gpu), str(nbytes)] for gpu in gpus]
    loops = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
    told = [loop.communicate()[0] for loop in loops]
    for loop in loops:
        if loop.returncode:  # it has said why
            raise subprocess.CalledProcessError(loop.returncode, loop.args)
    return sum(float(text.split()[-1]) for text in told)


def ours(gpus: tuple[int, ...], nbytes: int, memory: str, direction: str) -> float:
    """Return the bandwidth of stage 02, in bytes per second over all GPUs."""
    window = Window(warmup_s=0.3, duration_s=0.7, repeats=3)
    device = DeviceOptions(kind="cuda", numbers=gpus)
    job = CopyJob(window=window, device=device, nbytes=nbytes, host_memory=memory, direction=direction)
    with launch(job) as rank:
        while not rank.ready():
            rank.wait(0.05)
        rank.start()
        stage = rank.result(timeout_s=120).stages["copy"]
    return stage.bytes_per_s or 0.0


def main() -> None:
    """Alternate, and print ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gpus", default="0")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mib", type=int, default=512)
    arguments = parser.parse_args()
    if not facts().gpus:
        print("no GPU here: nothing to measure")
        return
    gpus = tuple(map(int, arguments.gpus.split(",")))
    nbytes = arguments.mib * 2**20
    lines = []
    for gpu in gpus:
        pairs = [(ours((gpu,), nbytes, "pinned", "in"), bare((gpu,), nbytes)) for _ in range(arguments.rounds)]
        for own, peer in pairs:
            print(f"GPU {gpu} pinned {own / 1e9:6.2f} GB/s, bare loop {peer / 1e9:6.2f} GB/s, ratio {own / peer:.4f}")
        lines.append(f"result h2d_gpu{gpu}_vs_bare {statistics.median(o / p for o, p in pairs):.4f} ratio")
        for memory, direction in (("mapped", "in"), ("pageable", "in"), ("pinned", "out"), ("pinned", "both")):
            figure = ours((gpu,), nbytes, memory, direction)
            lines.append(f"result h2d_gpu{gpu}_{memory}_{direction} {figure / 1e9:.3f} GB/s")
    if len(gpus) > 1:
        alone = [ours((gpu,), nbytes, "pinned", "in") for gpu in gpus]
        for turn in range(arguments.rounds):
            together, bare_together = ours(gpus, nbytes, "pinned", "in"), bare(gpus, nbytes)
            lines += [
                f"result h2d_together_round{turn} {together / 1e9:.3f} GB/s",
                f"result h2d_together_vs_alone_round{turn} {together / sum(alone):.4f} ratio",
                f"result h2d_together_vs_bare_round{turn} {together / bare_together:.4f} ratio",
            ]
    print("\n".join(lines))


if __name__ == "__main__":
    main()
