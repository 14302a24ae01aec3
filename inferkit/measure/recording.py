"""A Run of what ranks measured: held against its prediction, and judged."""

from collections.abc import Mapping
from types import MappingProxyType

from inferkit.linux.cgroups import cpu_quota, cpus
from inferkit.machine.facts import facts
from inferkit.measure.memory import memory_ceiling
from inferkit.measure.metrics import agreement, images_per_joule, link_of, measured_of
from inferkit.measure.prediction import MEMORY, binds, ceilings_of, held_against, predict, unpredicted
from inferkit.plan.points import Plan, Point
from inferkit.plan.reuse import FINGERPRINT
from inferkit.records.figures import Json, Series
from inferkit.records.groups import Parameters, Windows
from inferkit.records.job import device_of
from inferkit.records.outcome import Outcome
from inferkit.records.run import NETWORK, Failure, Run
from inferkit.records.wellformed import READS_NOTHING
from inferkit.validity.coverage import COVERED, covered
from inferkit.validity.verdict import Judgement, judge

MEASURED = ("images_per_s", "bytes_per_s")
MOST_BINS, ALONE_BINS, ALL_BINS, LEAST_BINS = 36, 12, 96, 5
"""Bins of a series in a record: of what was measured, of a pipeline and of a stage alone; of what the machine did under
a pipeline, all of it together, and each at the least. As fine as a chart can show, and so few that a notebook of a
hundred points stays small."""


def about(params: Parameters) -> dict[str, object]:
    """Return what every Run of a notebook says."""
    return {
        "notebook": params.notebook,
        "storage": params.storage,
        "profile": params.profile,
        "params": params.model_dump(mode="json"),
        "host": facts(),
    }


def _base(plan: Plan, point: Point) -> dict[str, object]:
    """Return what a point's Run says whatever became of it."""
    host = {"host": plan.host} if plan.host else {}
    return (
        about(plan.params)
        | host
        | {
            "measure": point.measure,
            "point": point.axes,
            "scope": _scope(point),
            "facts": _told(point),
        }
    )


def _told(point: Point) -> dict[str, Json]:
    """Return what is known of a point before it is measured: what it is, and of which content its network."""
    network = {NETWORK: point.network.file.source} if point.network and point.network.file.source else {}
    return {FINGERPRINT: point.fingerprint, **network}


def _scope(point: Point) -> str:
    """Tell what a point's figure covers."""
    device = device_of(point.job)
    if len(point.jobs) > 1 or (device is not None and len(device.numbers) > 1):
        return "server"
    return "gpu" if device is not None and device.kind == "cuda" else "rank"


def failed_run(plan: Plan, point: Point, failure: Failure) -> Run:
    """Make the Run of a point that has no figure."""
    return Run.model_validate(_base(plan, point) | {"verdict": "FAILED", "failure": failure})


def run_of(
    plan: Plan,
    point: Point,
    outcome: Outcome,
    alone: Mapping[str, Run],
    *,
    shared: bool = True,
    facts: Mapping[str, Json] = MappingProxyType({}),
) -> Run:
    """Make a Run of what a rank measured.

    Parameters
    ----------
    alone
        What measured the point's stages alone, by stage.
    shared
        Whether the CPUs and the memory that stages share are ceilings.
    facts
        Further ones.
    """
    assert isinstance(plan.params, Windows)
    measured = measured_of(point.job, outcome)
    found = judge(plan.params, point.job, outcome, measured)
    if measured is None:
        found.warnings.append(f"reader {point.axes['reader']} {READS_NOTHING}: see its time per batch")
    if without := unpredicted(alone):
        found.warnings.append(f"{without}: see its record")
    ceilings = (
        ceilings_of(alone, _cores(point), memory_ceiling(point.job, plan.memory)) if shared else ceilings_of(alone)
    )
    used = [*alone.values(), *([plan.memory] if plan.memory and MEMORY in ceilings else [])]
    bottleneck, predicted = (None, None) if without else predict(ceilings, alone)
    if bottleneck == MEMORY and plan.memory:
        found.warnings.append(f"the ceiling of memory was measured by notebook 02 at {plan.memory.started}")
    told = outcome.facts | _told(point) | agreement(point, found) | dict(facts)
    if (share := covered(outcome)) is not None:
        told["storage"] = {**told["storage"], COVERED: share}
    if link := link_of(point.job, told):
        ceilings, predicted = {"link": link}, link
    if per_joule := images_per_joule(measured, told):
        told["images_per_joule"] = per_joule
    run = Run.model_validate(
        _base(plan, point)
        | {
            "repeats": outcome.repeats,
            "stages": outcome.stages,
            "series": kept_series(outcome.series, point.measure),
            "facts": told,
            "measured": measured,
            "predicted": predicted,
            "bottleneck": bottleneck,
            "ceilings": ceilings,
            "ceilings_from": [run.id for run in used],
            "verdict": "VALID",
            "unverified": found.unverified,
        }
    )
    return _judged(run, found, alone)


def kept_series(series: Mapping[str, Series], measure: str) -> dict[str, Series]:
    """Return series with as many bins as a record has room for; the machine's of pipelines alone: only they are drawn.

    What the machine did under a stage alone is summarised among the facts.
    """
    if measure != "pipeline":
        return {name: each.thinned(ALONE_BINS) for name, each in series.items() if name in MEASURED}
    machine = min(MOST_BINS, max(LEAST_BINS, ALL_BINS // max(1, len(series))))
    return {name: each.thinned(MOST_BINS if name in MEASURED else machine) for name, each in series.items()}


def _judged(run: Run, found: Judgement, alone: Mapping[str, Run]) -> Run:
    """Add what speaks against a figure, what lies off its prediction included."""
    if "link" not in run.ceilings:
        for finding in held_against(run, alone):
            (found.reasons if finding.kind == "reason" else found.warnings).append(finding.text)
    return run.model_copy(
        update={
            "verdict": "INVALID" if found.reasons else "VALID",
            "reasons": found.reasons,
            "warnings": found.warnings,
            "bottleneck": run.bottleneck if binds(run) else None,
        }
    )


def _cores(point: Point) -> float:
    """Return the CPUs that a point's processes may use; a control group's quota, of this machine, may be a part."""
    places = [job.place for job in point.jobs if job.place]
    bound = {(place.host, cpu) for place in places for cpu in place.cpus}
    allowed = len(bound) or cpus()
    quota = None if any(place.host for place in places) else cpu_quota()
    return allowed if quota is None else min(allowed, quota)
