"""What a pipeline should reach: the lowest of the ceilings that apply, and of what its stages share.

Stages on threads, streams or devices of their own run side by side, so the slowest sets the pace. Two kinds do not.
A reader's threads read and decode one after the other: the times of one image add up. (A device's decoder is measured
alone.) And all stages take their turns on the same CPUs, host memory and links. Hence ceilings that no stage has alone:

- ``feed``: reading, decoding and copying at the same time, measured without a network.
- ``device``: decoding and inferring at the same time, where one device does both, measured without reading.
- ``cpu``: the CPUs' time, divided by what one image takes of it, over all stages.
- ``memory``: the bandwidth of the host's memory, divided by what an image moves through it (see memory.py).
"""

from collections.abc import Collection, Iterator, Mapping
from math import hypot

from inferkit.records.consistent import FED, OVER, SERIAL
from inferkit.records.figures import Figure
from inferkit.records.run import DOING, NO_PREDICTION, STAGES, Run
from inferkit.units import duration, percent
from inferkit.validity.data_origin import Finding

FEED, DEVICE, CPU, MEMORY = "feed", "device", "cpu", "memory"
AT_ONCE = {FEED: (*FED, MEMORY), DEVICE: ("decode", "infer")}
"""What is done at once where that is measured."""
MODELLED = (CPU, MEMORY)
"""Ceilings that are computed from what stages take, not measured."""
SHARED_FROM = 0.9
"""Stages at once that reach less of the slowest of them are held back by what they share, not by that stage."""
IDLE = 0.5
"""A stage that is at work for less of the time does not limit a pipeline, though nothing else was measured to."""
UNEXPLAINED = 0.5
"""Under this share of its prediction, a pipeline is held back by something that no ceiling tells."""


def ceilings_of(runs: Mapping[str, Run], cores: float | None = None, memory: Figure | None = None) -> dict[str, Figure]:
    """Return the ceilings of a pipeline.

    Parameters
    ----------
    runs
        What measured its stages alone, by stage; ``feed`` measured reading and copying at once. One that is not VALID
        is no ceiling.
    cores
        CPUs that the pipeline's processes may use; None: they are no ceiling.
    memory
        What the host's memory lets through; None: it is no ceiling.
    """
    valid = {stage: run for stage, run in runs.items() if _is_ceiling(run)}
    ceilings: dict[str, Figure] = {}
    for stage, run in valid.items():
        if stage == "read" and "decode" in run.stages:
            ceilings |= {name: _at_work(run, name) for name in SERIAL}
        elif run.measured is not None:
            ceilings[stage] = run.measured
    cpu = None if cores is None or lacking(runs) else _cpu_ceiling(valid, cores)
    _, lowest = predict(ceilings, valid)
    if cpu is not None and lowest is not None and (cpu.images_per_s or 0.0) < (lowest.images_per_s or 0.0):
        ceilings[CPU] = cpu
    if memory is not None and ceilings:
        ceilings[MEMORY] = memory
    return ceilings


def _is_ceiling(run: Run) -> bool:
    return run.measured is not None and run.verdict == "VALID"


def lacking(runs: Mapping[str, Run]) -> list[str]:
    """Return the stages without which nothing can be predicted and which have no VALID figure.

    The lowest of the others could be too high. What ``feed`` does all at once need not be known stage by stage.
    """
    return [stage for stage in _not_fed(runs) if runs[stage].verdict != "VALID"]


def _not_fed(runs: Mapping[str, Run]) -> list[str]:
    """Return the stages that were measured, the feed, where there is one, in place of what it does."""
    return [stage for stage in runs if FEED not in runs or stage not in FED]


def unpredicted(runs: Mapping[str, Run]) -> str:
    """Say why nothing is predicted; empty where no ceiling is lacking."""
    stages = lacking(runs)
    if not stages:
        return ""
    names = " and ".join(DOING[stage] + ("" if stage in (FEED, DEVICE) else " alone") for stage in stages)
    noisy = all(runs[stage].noisy for stage in stages)
    verb = "was" if len(stages) == 1 else "were"
    return f"{NO_PREDICTION}{names} {f'{verb} too noisy' if noisy else 'had no VALID figure'}"


def _at_work(run: Run, stage: str) -> Figure:
    """Return a stage's speed with all of its workers at work, from the time that it took."""
    took = run.stages[stage]
    error = run.measured.half_width if run.measured else None
    return Figure(images_per_s=took.images_per_s, bytes_per_s=took.bytes_per_s, half_width=error)


def _cpu_ceiling(runs: Mapping[str, Run], cores: float) -> Figure | None:
    """Return the CPUs ÷ the CPU seconds of an image; None where a stage does not tell what it takes.

    The errors of the stages, each weighed by the CPU time that it takes, add up as those of independent figures do.
    """
    apart = _apart(runs)
    seconds = [cpu_s_per_image(run) for run in apart]
    total = sum(each or 0.0 for each in seconds)
    if None in seconds or not total:
        return None
    errors = [(each or 0.0) * _error(run) for each, run in zip(seconds, apart, strict=True)]
    return Figure(images_per_s=cores / total, half_width=hypot(*errors) / total)


def _apart(runs: Mapping[str, Run]) -> list[Run]:
    """Return what measured all stages, each once."""
    return [runs[stage] for stage in _not_fed(runs) if stage != DEVICE]


def _error(run: Run) -> float:
    return (run.measured and run.measured.half_width) or 0.0


def cpu_s_per_image(run: Run) -> float | None:
    """Return the CPU seconds that one image took of a run's processes; None where it does not tell."""
    if run.cores is None or run.measured is None or not run.measured.images_per_s:
        return None
    return run.cores / run.measured.images_per_s


def predict(ceilings: Mapping[str, Figure], alone: Collection[str] = ()) -> tuple[str | None, Figure | None]:
    """Return the bottleneck and the predicted throughput.

    The lowest ceiling counts; of equal ones the earlier stage. Where stages at once are lowest, the slowest of them is
    the bottleneck, unless they are so far below it that only sharing explains it: then it is ``feed`` or ``device``.

    Parameters
    ----------
    ceilings
        From :func:`ceilings_of`.
    alone
        The stages that were measured by themselves: the threads that read do the others too.
    """
    parts, paces = _paces(ceilings, alone)
    pace = min(paces, key=lambda stage: paces[stage], default=None)
    if pace is None:
        return None, None
    nbytes, error = _bytes_per_s(paces[pace], ceilings), ceilings[pace].half_width
    predicted = Figure(images_per_s=paces[pace], bytes_per_s=nbytes, half_width=error)
    at_once = [stage for stage in AT_ONCE.get(pace, ()) if stage in parts]
    slowest = min(at_once, key=lambda stage: parts[stage], default=pace)
    return (slowest if paces[pace] >= SHARED_FROM * parts.get(slowest, 0.0) else pace), predicted


def lowest(ceilings: Mapping[str, Figure], alone: Collection[str] = ()) -> str | None:
    """Return which ceiling is the lowest, whatever it is that limits; None where there is none."""
    paces = _paces(ceilings, alone)[1]
    return min(paces, key=lambda stage: paces[stage], default=None)


def _paces(ceilings: Mapping[str, Figure], alone: Collection[str]) -> tuple[dict[str, float], dict[str, float]]:
    """Return the rates of what is measured part by part, and of what sets the pace."""
    rates = {stage: figure.images_per_s for stage, figure in ceilings.items() if figure.images_per_s}
    stages = {stage: rates[stage] for stage in STAGES if stage in rates}
    if all(stage in rates for stage in SERIAL) and "decode" not in alone:
        slowest = min(SERIAL, key=lambda stage: rates[stage])
        together = 1 / sum(1 / rates[stage] for stage in SERIAL)
        stages = {slowest: together} | {stage: rate for stage, rate in stages.items() if stage not in SERIAL}
    paces = dict(stages)
    if FEED in rates:
        paces = {FEED: rates[FEED]} | {stage: rate for stage, rate in stages.items() if stage == "infer"}
    paces |= {shared: rates[shared] for shared in (DEVICE, *MODELLED) if shared in rates}
    return stages | ({MEMORY: rates[MEMORY]} if MEMORY in rates else {}), paces


def _bytes_per_s(images_per_s: float, ceilings: Mapping[str, Figure]) -> float | None:
    """Return a rate in bytes, by what an image has where a ceiling tells; a decoder's files are of other sizes."""
    for stage in (FEED, "copy", "infer", "read"):
        figure = ceilings.get(stage)
        if figure is not None and figure.images_per_s and figure.bytes_per_s:
            return images_per_s * figure.bytes_per_s / figure.images_per_s
    return None


def rests_on(ceilings: Mapping[str, Figure], alone: Collection[str]) -> str:
    """Return which of the points alone the prediction rests on, above all; empty where there is none."""
    pace = lowest(ceilings, alone)
    if pace is None or not alone:
        return ""
    if pace in MODELLED:  # on all of them, and the slowest takes most
        known = [stage for stage in alone if stage in ceilings]
        return min(known, key=lambda stage: ceilings[stage].images_per_s or float("inf"), default="")
    return "read" if pace in SERIAL and pace not in alone else pace


def held_against(run: Run, alone: Mapping[str, Run]) -> Iterator[Finding]:
    """Say what it means that a pipeline lies off its prediction; nothing where it does not.

    Parameters
    ----------
    alone
        What measured its stages alone, by stage.
    """
    reached = run.reached
    if reached is None:
        return
    if reached > OVER:
        kind = "warning" if run.profile == "demo" else "reason"  # its windows are too short to hold against a figure
        yield Finding(
            kind,
            f"faster than its own ceiling: {percent(reached)} of what {run.bottleneck} allows, measured twice; "
            "the machine changed meanwhile: run it again",
        )
    elif reached < UNEXPLAINED:
        yield Finding(
            "warning",
            f"only {percent(reached)} of the prediction: something holds it back that no ceiling tells, "
            f"so {run.bottleneck} is not called the bottleneck",
        )
    elif _idles(run):
        yield Finding("warning", _not_busy(run))
    elif reached < 1 / OVER and _surely_below(run) and (why := _why_below(run, alone)):
        yield Finding("warning", f"{percent(reached)} of the prediction: {why}")


def binds(run: Run) -> bool:
    """Tell whether the stage with the lowest ceiling is what limits: it explains the figure, and it is at work."""
    return (run.reached or 1.0) >= UNEXPLAINED and not _idles(run)


def _idles(run: Run) -> bool:
    busy = run.stages[run.bottleneck].busy if run.bottleneck in run.stages else None
    return busy is not None and busy < IDLE


def _not_busy(run: Run) -> str:
    """Say that a ceiling is that of handling batches, not of the stage in whose name it was measured."""
    kept = [repeat for repeat in run.repeats if not repeat.warmup]
    seconds, batches = sum(repeat.seconds for repeat in kept), sum(repeat.batches for repeat in kept)
    each = f" (one every {duration(seconds / batches)})" if batches else ""
    return (
        f"{run.bottleneck} was at work for only {percent(run.stages[run.bottleneck or ''].busy or 0.0)} of the time: "
        f"the handling of each batch{each} is what limits, so {run.bottleneck} is not called the bottleneck; "
        "take larger batches"
    )


def _surely_below(run: Run) -> bool:
    """Tell whether a figure and its prediction differ by more than their errors."""
    ours, ceiling = run.measured, run.predicted
    assert ours is not None
    assert ceiling is not None
    return (run.reached or 0.0) * (1 + (ours.half_width or 0.0)) < 1 - (ceiling.half_width or 0.0)


def _why_below(run: Run, alone: Mapping[str, Run]) -> str:
    """Say what the bottleneck did otherwise than alone: worked more slowly, or waited; empty where nobody knows."""
    stage = run.bottleneck or ""
    if stage == CPU:
        return _more_cpu(run, alone)
    own = alone.get(rests_on(run.ceilings, alone))
    here, there = run.stages.get(stage), own.stages.get(stage) if own else None
    if not here or not there or not here.images_per_s or not there.images_per_s or here.busy is None:
        return ""
    slower = 1 - here.images_per_s / there.images_per_s
    worked = f"{stage} was at work for {percent(here.busy)} of the time"
    if there.busy is not None:
        worked += f" (alone {percent(there.busy)})"
    return f"{worked}, and {percent(abs(slower))} {'slower' if slower > 0 else 'faster'} at it than alone"


def _more_cpu(run: Run, alone: Mapping[str, Run]) -> str:
    """Say how much more CPU time an image took than all stages alone; empty where nobody knows."""
    here, apart = cpu_s_per_image(run), [cpu_s_per_image(each) or 0.0 for each in _apart(alone)]
    if here is None or not all(apart):
        return ""
    more = here / sum(apart) - 1
    return (
        f"{run.cores:.2f} cores were at work, and an image took {duration(here)} of their time, {percent(abs(more))} "
        f"{'more' if more > 0 else 'less'} than its stages alone"
    )
