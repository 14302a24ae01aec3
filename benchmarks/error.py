"""How often the 95 % interval of a figure covers the long-run mean: 90 to 99 of 100 is what it should.

Simulated (the default, seconds): batches of a made-up clock run through the real timeline, quiet and disturbed, one
window in each of a fixed number of processes, and in processes that are added until the figure is steady. Each process
has a speed of its own, within 2 % of the mean by chance. The long-run mean is known.

Real (``--real N``): N repetitions each, in alternation, of a pipeline as notebook 03b measures it, in fresh processes
on one CPU, left alone and with a second process that takes that CPU by turns of chance length. The long-run mean is
that of all repetitions, so that a machine which somebody else disturbs for minutes shows as repetitions that lie apart:
use a quiet one.
"""

import argparse
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, repeat
from unittest.mock import patch

import numpy as np

from inferkit.measure.repetition import until_steady
from inferkit.pipeline.timeline import Timeline
from inferkit.plan.points import Point
from inferkit.ranks.launch import launch
from inferkit.records.figures import Figure
from inferkit.records.job import DeviceOptions, Job, PipelineJob, ReadJob, ReadOptions
from inferkit.records.outcome import Outcome
from inferkit.records.windows import Window

BATCH_S = 0.001
"""Of a batch while no other takes half of the CPU."""
FIXED = Window(warmup_s=0.1, duration_s=0.5, repeats=3, target=0.025, longest_s=0.0)
STEADY = FIXED.changed(longest_s=10.0)
REAL = Window(warmup_s=0.3, duration_s=0.5, repeats=3, target=0.025, longest_s=0.0)
APART = 0.02
"""Standard deviation of the processes' own speeds."""
TURN_S = 0.02
"""Turns of the disturbance last so long on average."""
DISTURBANCE = f"""
import random, time
while True:
    end = time.monotonic() + random.expovariate(1 / {TURN_S})
    while time.monotonic() < end:
        pass
    time.sleep(random.expovariate(1 / {TURN_S}))
"""

Gaps = Iterator[float]


def quiet(chance: np.random.Generator) -> Gaps:
    """Yield the time of each batch: 10 % of chance."""
    while True:
        yield from (BATCH_S * (1 + 0.1 * chance.normal(size=1000))).tolist()


def wandering(chance: np.random.Generator) -> Gaps:
    """Yield times of which each keeps 98 % of what the one before was off the mean."""
    off = 0.2 * chance.normal()
    while True:
        for push in (0.2 * (1 - 0.98**2) ** 0.5 * chance.normal(size=1000)).tolist():
            off = 0.98 * off + push
            yield max(0.1, 1 + off) * BATCH_S


def square_wave(turns_s: Iterator[float], *, slowed: bool) -> Gaps:
    """Yield times of batches that are worked on at half the speed in every other turn."""
    left = next(turns_s)
    while True:
        work, took = BATCH_S, 0.0
        while (needed := work * (2 if slowed else 1)) > left:
            work, took = work - left / (2 if slowed else 1), took + left
            left, slowed = next(turns_s), not slowed
        left -= needed
        yield took + needed


def by_chance(mean_s: float) -> Callable[[np.random.Generator], Gaps]:
    """Return a disturbance by turns of chance length."""
    return lambda chance: square_wave(
        (float(chance.exponential(mean_s)) for _ in repeat(0)), slowed=bool(chance.integers(2))
    )


def regular(turn_s: float) -> Callable[[np.random.Generator], Gaps]:
    """Return a disturbance by turns of one length, which begins anywhere in one."""
    return lambda chance: square_wave(
        chain([float(chance.uniform(0, turn_s))], repeat(turn_s)), slowed=bool(chance.integers(2))
    )


DISTURBED = 0.75 / BATCH_S
CASES: dict[str, tuple[Callable[[np.random.Generator], Gaps], float]] = {
    "quiet": (quiet, 1 / BATCH_S),
    "wandering": (wandering, 1 / BATCH_S),
    "square_20ms": (by_chance(0.02), DISTURBED),
    "square_100ms": (by_chance(0.1), DISTURBED),
    "square_regular_20ms": (regular(0.02), DISTURBED),
    "square_regular_100ms": (regular(0.1), DISTURBED),
}
"""Time per batch, and the long-run rate."""


def process(gaps: Gaps, window: Window, speed: float) -> Outcome:
    """Measure batches of one image that take such times, by a made-up clock, in a process of some speed."""
    now = 0
    with patch("inferkit.pipeline.timeline.monotonic_ns", lambda: now):
        timeline = Timeline(window, ("infer",), lambda progress: None)
        for gap in gaps:
            before, now = now, now + int(gap / speed * 1e9)
            if timeline.add(1, 1, before, now):
                break
    return Outcome(repeats=timeline.repeats, stages={}, measured=timeline.figure())


def simulated(
    gaps: Callable[[np.random.Generator], Gaps], window: Window, chance: np.random.Generator
) -> Figure | None:
    """Measure in one process after another."""
    job = ReadJob(window=window, reading=ReadOptions())

    def measured(jobs: Sequence[Job], nth: int) -> Outcome:
        return process(gaps(chance), jobs[0].window, 1 + APART * chance.normal())

    return until_steady(Point("read", {}, (job,)), measured).measured


def show(name: str, figures: list[Figure | None], mean: float) -> None:
    """Print how many of the intervals cover the mean, and how wide they are."""
    told = [(f.images_per_s, f.half_width) for f in figures if f and f.images_per_s and f.half_width is not None]
    covered = [abs(rate - mean) <= half * rate for rate, half in told]
    print(f"result error_{name}_coverage {100 * sum(covered) / len(figures):.1f} %")
    print(f"result error_{name}_half_width {100 * float(np.mean([half for _, half in told])):.3f} %")
    print(
        f"result error_{name}_scatter {100 * 1.96 * float(np.std([rate for rate, _ in told])) / mean:.3f} %", flush=True
    )


def simulate(repetitions: int) -> None:
    """Simulate all cases."""
    for name, (gaps, mean) in CASES.items():
        for kind, window in (("fixed", FIXED), ("steady", STEADY)):
            chance = np.random.default_rng(1)
            figures = [simulated(gaps, window, chance) for _ in range(repetitions)]
            show(f"simulated_{name}_{kind}", figures, mean)


@contextmanager
def disturbance(*, wanted: bool) -> Iterator[None]:
    """Run another process on this one's CPU for a while, if it is wanted."""
    if not wanted:
        yield
        return
    with subprocess.Popen([sys.executable, "-c", DISTURBANCE]) as other:
        try:
            yield
        finally:
            other.kill()


def measure(window: Window) -> Figure | None:
    """Measure a pipeline of images that lie in memory, without inference."""
    reading = ReadOptions(reader="memory", dtype="uint8", shape=(3, 64, 64), batch_size=32)
    job = PipelineJob(window=window, device=DeviceOptions(), reading=reading)
    return until_steady(Point("pipeline", {}, (job,)), in_a_process).measured


def in_a_process(jobs: Sequence[Job], nth: int) -> Outcome:
    """Measure in a process that is started for it."""
    with launch(jobs[0]) as rank:
        rank.wait(60)
        rank.start()
        return rank.result(60)


def repeat_real(repetitions: int) -> None:
    """Measure quietly and disturbed in alternation, all on one CPU."""
    os.sched_setaffinity(0, {random.choice(sorted(os.sched_getaffinity(0)))})
    found: dict[bool, list[Figure | None]] = {False: [], True: []}
    for _ in range(repetitions):
        for disturbed, figures in found.items():
            with disturbance(wanted=disturbed):
                figures.append(measure(REAL))
    for disturbed, figures in found.items():
        rates = [figure.images_per_s for figure in figures if figure and figure.images_per_s]
        show(f"real_{'disturbed' if disturbed else 'quiet'}", figures, float(np.mean(rates)))


def main() -> None:
    """Simulate, or measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=200, help="of each simulated case")
    parser.add_argument("--real", type=int, default=0, metavar="N", help="measure N times (40 or more), in real time")
    options = parser.parse_args()
    if options.real:
        repeat_real(options.real)
    else:
        simulate(options.repetitions)


if __name__ == "__main__":
    main()
