"""A point's windows, each in a process of its own, until the figure is steady: so its error is true of the next run.

Where memory comes to lie, and beside whom threads run, is settled when a process starts. That moves a figure by more
than anything inside one process can tell.
"""

from collections.abc import Callable, Sequence
from math import ceil, hypot, isclose
from statistics import fmean
from time import monotonic
from typing import NamedTuple

from inferkit.measure.reading_on import ReadSoFar
from inferkit.plan.points import Point
from inferkit.ranks.aggregate import common_stages
from inferkit.records.figures import Figure, Json, Repeat, Series, Stage
from inferkit.records.job import Job, reading_of, unverified
from inferkit.records.outcome import Outcome
from inferkit.stats import repeated
from inferkit.validity.data_origin import came_from_storage

Measure = Callable[[Sequence[Job], int], Outcome]
"""Measures a point's jobs, after so many processes that did the same."""


def until_steady(point: Point, measure: Measure, so_far: ReadSoFar | None = None) -> Outcome:
    """Measure a point in one process (or group of ranks) after another, until its figure is steady or the time is up.

    Parameters
    ----------
    so_far
        What was read before; each process reads on. Else all windows would tell of the first part of a data set alone.

    Returns
    -------
    outcome
        Of all processes together: see :func:`together`.
    """
    window, jobs, took_s = point.job.window, point.jobs, point.seconds / point.processes
    if point.processes > 1:
        jobs = tuple(job.changed(window=window.changed(repeats=1)) for job in jobs)
    measure = (so_far or ReadSoFar()).measuring(measure)
    outcomes = [measure(jobs, 0)]
    while len(outcomes) < point.processes or window.wants_another(
        _figure(outcomes).half_width, (len(outcomes) + 1) * took_s
    ):
        began = monotonic()
        outcomes.append(measure([_later(job, outcomes[0]) for job in jobs], len(outcomes)))
        took_s = monotonic() - began  # the first built what the others find
    return together(outcomes)


def _later(job: Job, first: Outcome) -> Job:
    """Return a job of a further process: it finds the files as cold as the first did, and need not verify again."""
    reading = reading_of(job)
    if reading is not None and not reading.held:
        cold = reading.cold or came_from_storage(first.facts)
        job = job.changed(reading=reading.changed(cold=cold))
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
        The first's warm-up, facts and batches, with the mean of all rates, the windows one behind another, and
        ``others``.
    """
    first, *others = outcomes
    if not others:
        return first
    parts = _parts(outcomes)
    return first.model_copy(
        update={
            "repeats": [window for part in parts for window in part.windows],
            "stages": {name: _mean_stage(own, len(outcomes)) for name, own in common_stages(outcomes).items()},
            "series": {name: _joined(name, outcomes, parts) for name in first.series},
            "facts": first.facts | _facts(outcomes),
            "measured": _figure(outcomes),
            "others": others,
        }
    )


def _figure(outcomes: Sequence[Outcome]) -> Figure:
    """Return the mean of the processes' figures; its error is the wider of their own and of what lies between them."""
    figures = [own.measured or Figure() for own in outcomes]
    images, nbytes = _mean([own.images_per_s for own in figures]), _mean([own.bytes_per_s for own in figures])
    rates = _rates(outcomes)
    halves = [own.half_width and own.half_width * rate for own, rate in zip(figures, rates, strict=True)]
    mean, half = repeated(rates, halves)
    inside = hypot(*(own or 0.0 for own in halves)) / len(halves)
    return Figure(
        images_per_s=images,
        bytes_per_s=nbytes,
        half_width=half / mean if half is not None and mean else None,
        block_s=figures[0].block_s if half is None or isclose(half, inside) else outcomes[0].repeats[-1].seconds,
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if len(known) == len(values) else None


class _Part(NamedTuple):
    """What is shown of a process: from a whole second of its own on, as if that were a second of all processes."""

    from_s: int
    at_s: int
    windows: list[Repeat]


def _parts(outcomes: Sequence[Outcome]) -> list[_Part]:
    """Put the processes one behind another; of those behind the first the warm-up is left out."""
    parts = [_Part(0, 0, outcomes[0].repeats)]
    for own in outcomes[1:]:
        windows = [repeat for repeat in own.repeats if not repeat.warmup]
        from_s, at_s = int(windows[0].start_s), ceil(parts[-1].windows[-1].start_s + parts[-1].windows[-1].seconds)
        moved = [own.model_copy(update={"start_s": own.start_s - from_s + at_s}) for own in windows]
        parts.append(_Part(from_s, at_s, moved))
    return parts


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


def _joined(name: str, outcomes: Sequence[Outcome], parts: Sequence[_Part]) -> Series:
    """Return a series of all processes, each where it is shown, in the longest of their steps.

    A process that was too short for a whole step is told by its figure.
    """
    known = [(own, part, own.series[name]) for own, part in zip(outcomes, parts, strict=True) if name in own.series]
    step_s = max(own.step_s for _, _, own in known)
    values: list[float | None] = []
    for outcome, part, own in known:
        values += [None] * (round(part.at_s / step_s) - len(values))
        rest = own.values[round(part.from_s / own.step_s) :] or [getattr(outcome.measured, name, None)]
        shown = own.model_copy(update={"values": rest}).thinned(max(1, ceil(len(rest) * own.step_s / step_s)))
        values += shown.values
    return known[0][2].model_copy(update={"step_s": step_s, "values": values})


def _facts(outcomes: Sequence[Outcome]) -> dict[str, Json]:
    """Return each process's rate, and where it wrote its batches; of ranks and nodes, what each reached in the mean."""
    lists = {"batch_log": [log for own in outcomes for log in own.facts.get("batch_log", ())]}
    for name in ("ranks", "nodes"):
        parts = [own.facts[name] for own in outcomes if name in own.facts]
        lists[name] = [{**own[0], "rate": fmean(each["rate"] for each in own)} for own in zip(*parts, strict=True)]
    return {"processes": _rates(outcomes)} | {name: told for name, told in lists.items() if told}


def _rates(outcomes: Sequence[Outcome]) -> list[float]:
    """Return what each process reached: images per second, bytes where there are no images."""
    figures = [own.measured or Figure() for own in outcomes]
    return [figure.images_per_s or figure.bytes_per_s or 0.0 for figure in figures]
