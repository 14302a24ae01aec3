"""A pipeline stands between two measurements of the ceiling that it is held against: drift cannot pass for a result."""

from collections.abc import Mapping, MutableMapping
from math import hypot

from inferkit.errors import RankError
from inferkit.measure.prediction import MODELLED, lowest, rests_on
from inferkit.measure.recording import run_of
from inferkit.measure.watch import Again
from inferkit.plan.points import Plan, Point
from inferkit.records.consistent import OVER
from inferkit.records.figures import Figure, Stage
from inferkit.records.job import short
from inferkit.records.outcome import Outcome
from inferkit.records.run import UNSTEADY, Run
from inferkit.units import percent, rate
from inferkit.validity.data_origin import came_from_storage

MOVED = 0.03
"""A ceiling that moved by more than this and by more than its own errors is told of."""


def ceilings_alone(point: Point, outcome: Outcome, nearest: Mapping[str, Run]) -> dict[str, Run]:
    """Return what measured a point's stages alone, by stage, as far as that applies to what was measured.

    Reading files that are cold is a ceiling of what read them from the storage as well: both did, by their counts.
    """
    alone = {stage: nearest[ceiling.key] for stage, ceiling in point.ceilings.items()}
    return {
        stage: run
        for stage, run in alone.items()
        if not point.ceilings[stage].cold or (came_from_storage(run.facts) and came_from_storage(outcome.facts))
    }


def between_ceilings(
    plan: Plan, point: Point, outcome: Outcome, nearest: MutableMapping[str, Run], again: Again
) -> Run:
    """Make a Run of what was measured, and measure the ceilings that its prediction rests on once more after it.

    Such a ceiling is the mean of its figures before and after. Only where the pipeline is faster than that, the higher
    of the two is taken alone: it may have been measured in the state of the machine in which the pipeline ran.

    Parameters
    ----------
    nearest
        The last Run of each ceiling, by its point's key; those that are measured here take their places.
    """
    alone, shared = ceilings_alone(point, outcome, nearest), True
    told: dict[str, dict[str, float | None]] = {}
    remarks: list[str] = []
    while True:
        run = run_of(plan, point, outcome, alone, shared=shared, facts={"ceilings_again": told} if told else {})
        if _over(run) and shared and lowest(run.ceilings, alone) in MODELLED:
            shared = False  # what an image takes alone, it need not take beside others
            continue
        stage = rests_on(run.ceilings, alone) if run.predicted else ""  # nothing where a ceiling is lacking
        if not stage or stage in told or point.ceilings[stage].cold:  # what was cold is so no more
            return run.model_copy(update={"warnings": [*run.warnings, *remarks]})
        before = alone[stage]
        after = _after(plan, point.ceilings[stage], before, again)
        told[stage] = {"before": _pace(before), "after": None if isinstance(after, str) else _pace(after)}
        if isinstance(after, str):
            remarks.append(f"its ceiling of {stage} could not be measured again after it: {after}")
            continue
        nearest[point.ceilings[stage].key] = after
        remarks += _moved(stage, before, after)
        for ceiling in (_middle(before, after), max(before, after, key=_pace)):
            alone = alone | {stage: ceiling}
            if not _over(run_of(plan, point, outcome, alone)):
                break


def _after(plan: Plan, ceiling: Point, before: Run, again: Again) -> Run | str:
    """Measure a ceiling in one more window, under the id of the record that is shown; or say why it is none."""
    try:
        after = run_of(plan, ceiling, again([short(job) for job in ceiling.jobs]), {})
    except RankError as error:
        return str(error)
    disturbed = [reason for reason in after.reasons if not reason.startswith(UNSTEADY)]
    if after.measured is None or disturbed:
        return "; ".join(disturbed) or "it has no figure"
    return after.model_copy(update={"id": before.id, "verdict": before.verdict, "reasons": before.reasons})


def _middle(before: Run, after: Run) -> Run:
    """Return what lies between two Runs of one ceiling; its error spans both."""
    assert before.measured is not None
    assert after.measured is not None
    first, second = before.measured, after.measured
    stages = {name: _between(own, after.stages.get(name, own)) for name, own in before.stages.items()}
    images, nbytes = _mean(first.images_per_s, second.images_per_s), _mean(first.bytes_per_s, second.bytes_per_s)
    apart = abs(_pace(before) - _pace(after)) / (_pace(before) + _pace(after) or 1.0)
    known = [figure.half_width for figure in (first, second) if figure.half_width is not None]
    own = hypot(*known) / 2 if len(known) == 2 else max(known, default=None)  # one that is unknown may be as wide
    figure = Figure(images_per_s=images, bytes_per_s=nbytes, half_width=None if own is None else max(own, apart))
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


def _over(run: Run) -> bool:
    return (run.reached or 0.0) > OVER
