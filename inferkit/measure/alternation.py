"""A pipeline stands between two measurements of the ceiling that it is held against: drift cannot pass for a result."""

from collections.abc import Callable, MutableMapping, Sequence
from math import hypot

from inferkit.errors import RankError
from inferkit.measure.prediction import MODELLED, OVER, rests_on
from inferkit.measure.recording import run_of
from inferkit.plan.points import Plan, Point
from inferkit.records.figures import Figure, Stage
from inferkit.records.job import Job, Outcome, short
from inferkit.records.run import UNSTEADY, Run
from inferkit.units import percent, rate

MOVED = 0.03
"""A ceiling that moved by more than this and by more than its own errors is told of."""

Again = Callable[[Sequence[Job]], Outcome]
"""Measures jobs in a point's place."""


def between_ceilings(
    plan: Plan, point: Point, outcome: Outcome, nearest: MutableMapping[str, Run], again: Again
) -> Run:
    """Make a Run of what was measured, and measure the ceiling that its prediction rests on once more after it.

    That ceiling is the mean of its figures before and after. Only where the pipeline is faster than that, the figure
    right beside it is taken alone.

    Parameters
    ----------
    nearest
        The last Run of each ceiling, by its point's key; the one that is measured here takes its place.
    """
    alone = {stage: nearest[ceiling.key] for stage, ceiling in point.ceilings.items()}
    run = run_of(plan, point, outcome, alone)
    stage = rests_on(run.bottleneck, run.ceilings, alone)
    if not stage:
        return run
    before = alone[stage]
    try:
        after = _after(plan, point.ceilings[stage], before, again)
    except RankError as error:
        return _warned(run, f"its ceiling of {stage} could not be measured again after it: {error}")
    nearest[point.ceilings[stage].key] = after
    facts = {"ceiling_again": {"stage": stage, "before": _pace(before), "after": _pace(after)}}
    run = run_of(plan, point, outcome, alone | {stage: _middle(before, after)}, facts=facts)
    if _over(run):
        run = run_of(plan, point, outcome, alone | {stage: after}, facts=facts)
    if _over(run) and run.bottleneck in MODELLED:  # what an image takes alone, it need not take beside others
        run = run_of(plan, point, outcome, alone | {stage: after}, facts=facts, shared=False)
    return _warned(run, *_moved(stage, before, after))


def _after(plan: Plan, ceiling: Point, before: Run, again: Again) -> Run:
    """Measure a ceiling in one more window, under the id of the record that is shown; where disturbed, it is that."""
    after = run_of(plan, ceiling, again([short(job) for job in ceiling.jobs]), {})
    if after.measured is None or any(not reason.startswith(UNSTEADY) for reason in after.reasons):
        return before
    return after.model_copy(update={"id": before.id, "verdict": before.verdict, "reasons": before.reasons})


def _middle(before: Run, after: Run) -> Run:
    """Return what lies between two Runs of one ceiling; its error spans both."""
    assert before.measured is not None
    assert after.measured is not None
    first, second = before.measured, after.measured
    stages = {name: _between(own, after.stages.get(name, own)) for name, own in before.stages.items()}
    images, nbytes = _mean(first.images_per_s, second.images_per_s), _mean(first.bytes_per_s, second.bytes_per_s)
    apart = abs(_pace(before) - _pace(after)) / (_pace(before) + _pace(after) or 1.0)
    error = max(hypot(first.half_width or 0.0, second.half_width or 0.0) / 2, apart)
    figure = Figure(images_per_s=images, bytes_per_s=nbytes, half_width=error)
    repeats = [*before.repeats, *after.repeats]
    return before.model_copy(update={"measured": figure, "stages": stages, "repeats": repeats})


def _between(one: Stage, other: Stage) -> Stage:
    images, nbytes = _mean(one.images_per_s, other.images_per_s), _mean(one.bytes_per_s, other.bytes_per_s)
    return one.model_copy(update={"images_per_s": images, "bytes_per_s": nbytes})


def _mean(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else (one + other) / 2


def _pace(run: Run) -> float:
    return (run.measured and run.measured.images_per_s) or 0.0


def _moved(stage: str, before: Run, after: Run) -> list[str]:
    """Say that a ceiling moved by more than errors explain."""
    paces, middle = (_pace(before), _pace(after)), _pace(_middle(before, after))
    errors = [run.measured.half_width or 0.0 for run in (before, after) if run.measured]
    change = abs(paces[1] - paces[0])
    if change <= max(MOVED * middle, sum(pace * error for pace, error in zip(paces, errors, strict=True))):
        return []
    told = f"{rate(paces[0])} before and {rate(paces[1])} after it"
    return [f"the machine changed meanwhile: {stage} alone was {told}, {percent(change / middle)} apart"]


def _warned(run: Run, *texts: str) -> Run:
    return run.model_copy(update={"warnings": [*run.warnings, *texts]})


def _over(run: Run) -> bool:
    return (run.reached or 0.0) > OVER
