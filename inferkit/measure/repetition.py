"""A point's windows, each in a process of its own, until the figure is steady: so its error is true of the next run.

Where memory comes to lie, and beside whom threads run, is settled when a process starts. That moves a figure by more
than anything inside one process can tell.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate
from math import ceil
from statistics import fmean
from time import monotonic

from inferkit.plan.points import Point
from inferkit.ranks.aggregate import common_stages
from inferkit.records.figures import Figure, Json, Repeat, Series, Stage
from inferkit.records.job import Job, Outcome, reading_of, unverified
from inferkit.stats import repeated
from inferkit.validity.data_origin import came_from_storage

Measure = Callable[[Sequence[Job], int], Outcome]
"""Measures a point's jobs, after so many processes that did the same."""


def until_steady(point: Point, measure: Measure) -> Outcome:
    """Measure a point in one process (or group of ranks) after another, until its figure is steady or the time is up.

    Returns
    -------
    outcome
        Of all processes together: see :func:`together`.
    """
    window, jobs, took_s = point.job.window, point.jobs, point.seconds / point.processes
    if point.processes > 1:
        jobs = tuple(job.changed(window=window.changed(repeats=1)) for job in jobs)
    outcomes = [measure(jobs, 0)]
    later = [_later(job, outcomes[0]) for job in jobs]
    while len(outcomes) < point.processes or window.wants_another(
        _figure(outcomes).half_width, (len(outcomes) + 1) * took_s
    ):
        began = monotonic()
        outcomes.append(measure(later, len(outcomes)))
        took_s = monotonic() - began  # the first built what the others find
    return together(outcomes)


def _later(job: Job, first: Outcome) -> Job:
    """Return a job of a further process: it finds the files as cold as the first did, and need not verify again."""
    reading = reading_of(job)
    if reading is not None and came_from_storage(first.facts):
        job = job.changed(reading=reading.changed(cold=True))
    return unverified(job)


def together(outcomes: Sequence[Outcome]) -> Outcome:
    """Put what processes measured, one after another, together.

    Parameters
    ----------
    outcomes
        Of each process, or group of ranks.

    Returns
    -------
    outcome
        The first's facts and batches, with the mean of all rates, all windows one behind another, and ``others``.
    """
    first, *others = outcomes
    if not others:
        return first
    begins_s = _begins(outcomes)
    return first.model_copy(
        update={
            "repeats": _repeats(outcomes),
            "stages": {name: _mean_stage(own, len(outcomes)) for name, own in common_stages(outcomes).items()},
            "series": {name: _joined([own.series.get(name) for own in outcomes], begins_s) for name in first.series},
            "facts": first.facts | _facts(outcomes),
            "measured": _figure(outcomes),
            "others": others,
        }
    )


def _figure(outcomes: Sequence[Outcome]) -> Figure:
    """Return the mean of the processes' figures; its error is the wider of their own and of what lies between them."""
    figures = [own.measured or Figure() for own in outcomes]
    images, nbytes = _mean([own.images_per_s for own in figures]), _mean([own.bytes_per_s for own in figures])
    rates = [own.images_per_s or own.bytes_per_s or 0.0 for own in figures]
    halves = [own.half_width and own.half_width * rate for own, rate in zip(figures, rates, strict=True)]
    mean, half = repeated(rates, halves)
    return Figure(
        images_per_s=images,
        bytes_per_s=nbytes,
        half_width=half / mean if half is not None and mean else None,
        block_s=figures[0].block_s,
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if len(known) == len(values) else None


def _begins(outcomes: Sequence[Outcome]) -> list[float]:
    """Return when each process begins, in whole seconds, if they follow one another."""
    lengths = [ceil(own.repeats[-1].start_s + own.repeats[-1].seconds) for own in outcomes]
    return [float(begin) for begin in accumulate(lengths[:-1], initial=0)]


def _repeats(outcomes: Sequence[Outcome]) -> list[Repeat]:
    """Return all windows, those of each process where it begins."""
    return [
        repeat.model_copy(update={"start_s": repeat.start_s + begin_s})
        for own, begin_s in zip(outcomes, _begins(outcomes), strict=True)
        for repeat in own.repeats
    ]


def _mean_stage(added: Stage, count: int) -> Stage:
    """Return what a stage did in the mean of processes, from what it did in all of them added up."""
    images, nbytes = added.images_per_s, added.bytes_per_s
    return added.model_copy(
        update={
            "images_per_s": images and images / count,
            "bytes_per_s": nbytes and nbytes / count,
            "workers": added.workers // count,
        }
    )


def _joined(parts: Sequence[Series | None], begins_s: Sequence[float]) -> Series:
    """Return a series of all processes, each where it begins, in the longest of their steps."""
    known = [(part, begin_s) for part, begin_s in zip(parts, begins_s, strict=True) if part is not None]
    step_s = max(part.step_s for part, _ in known)
    values: list[float | None] = []
    for part, begin_s in known:
        values += [None] * (round(begin_s / step_s) - len(values))
        values += part.thinned(max(1, ceil(len(part.values) * part.step_s / step_s))).values
    return known[0][0].model_copy(update={"step_s": step_s, "values": values})


def _facts(outcomes: Sequence[Outcome]) -> dict[str, Json]:
    """Return each process's figure, and where it wrote down its batches; of ranks, what each reached in the mean."""
    told = [_told(own) for own in outcomes]
    ranks = [own.facts["ranks"] for own in outcomes if "ranks" in own.facts]
    means = [{**own[0], "rate": fmean(each["rate"] for each in own)} for own in zip(*ranks, strict=True)]
    return {"processes": told} | ({"ranks": means} if means else {})


def _told(outcome: Outcome) -> dict[str, Json]:
    log = {"batch_log": outcome.facts["batch_log"]} if "batch_log" in outcome.facts else {}
    figure = outcome.measured or Figure()
    return figure.model_dump(include={"images_per_s", "bytes_per_s", "half_width"}, exclude_none=True) | log
