"""The conductor: a plan's points, one after another, each in a process of its own, each a Run."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from time import monotonic, sleep
from types import MappingProxyType

from inferkit.errors import RankError
from inferkit.linux.cgroups import cpus
from inferkit.machine.facts import facts
from inferkit.measure.interrupts import Interrupts
from inferkit.measure.metrics import agreement, images_per_joule, link_of, measured_of
from inferkit.measure.peers import Peers
from inferkit.measure.prediction import CPU, OVER, UNEXPLAINED, ceilings_of, held_against, is_ceiling, predict, rests_on
from inferkit.plan.points import Plan, Point, seconds_of
from inferkit.plan.reuse import FINGERPRINT, shown_again
from inferkit.ranks.group import Group
from inferkit.ranks.launch import Handle, RankFailure, launch
from inferkit.records.job import Job, Outcome, ReadJob, device_of
from inferkit.records.params import Parameters, Windows
from inferkit.records.run import Failure, Json, Run
from inferkit.records.wellformed import READS_NOTHING
from inferkit.validity.verdict import Judgement, judge

READY_S = 900.0
"""Longest time to build an engine and to register memory."""
STALL_S = 120.0
"""A rank that completes no batch for so long hangs."""
PERIOD_S = 0.1
STOPPED = "KeyboardInterrupt"
"""The kind of failure of what was not measured because the user stopped."""


@dataclass(frozen=True)
class Status:
    """How far a notebook is.

    Parameters
    ----------
    index, total
        The point that is measured, from 0, and how many there are to measure.
    point
        That point.
    fraction
        How much of it is done.
    images_per_s, bytes_per_s
        What it reaches at the moment.
    seconds_left
        For all points, at least.
    stopping
        Whether this point is the last because the user interrupted.
    note
        What a rank is preparing, such as a build of an engine.
    """

    index: int
    total: int
    point: Point
    fraction: float = 0.0
    images_per_s: float = 0.0
    bytes_per_s: float = 0.0
    seconds_left: float = 0.0
    stopping: bool = False
    note: str = ""


Show = Callable[[Status], None]


def measure(plan: Plan, show: Show | None = None) -> Iterator[Run]:
    """Measure a plan's points.

    A point that fails is a Run too, and the rest goes on. One that was measured before, and need not be again, is that
    earlier Run. A first Ctrl-C lets the point under way be finished, and a last Run tells what was not measured. A
    second one ends that point at once: its Run says so, and KeyboardInterrupt is raised after it.

    Parameters
    ----------
    plan
        What to measure.
    show
        Is told ten times a second how far it is.

    Yields
    ------
    Run
        As soon as its point is measured.
    """
    if plan.failure is not None:
        yield Run.model_validate(
            _about(plan.params) | {"measure": "plan", "verdict": "FAILED", "failure": plan.failure}
        )
    with Interrupts() as patience:
        yield from _measured_points(plan, patience, show and _told(show, patience))


def _told(show: Show, patience: Interrupts) -> Show:
    """Let progress tell that the point under way is the last."""
    return lambda status: show(replace(status, stopping=patience.asked))


def _measured_points(plan: Plan, patience: Interrupts, show: Show | None) -> Iterator[Run]:
    done: dict[str, Run] = {}
    left: list[Point] = []
    index = -1
    peers = Peers(plan.params)
    for point in plan.points:
        if point.fingerprint in plan.earlier:
            done[point.key] = shown_again(plan.earlier[point.fingerprint])
            yield done[point.key]
            continue
        if patience.asked:
            left.append(point)
            continue
        index += 1
        stopped = False
        try:
            outcome = _run(plan, index, show)
            again = partial(_run, plan, index, show)
            run = _with_prediction(plan, point, outcome, done, again)
            if isinstance(point.job, ReadJob):
                told = peers.beside(point.job, outcome, _one(again))
                run = run.model_copy(update={"peers": told})
        except RankFailure as failure:
            run = _failed(plan, point, Failure(kind=failure.kind, message=str(failure), detail=failure.detail))
        except RankError as error:
            run = _failed(plan, point, Failure(kind=type(error).__name__, message=str(error)))
        except KeyboardInterrupt:
            stopped = True
            run = _failed(plan, point, Failure(kind=STOPPED, message="stopped at once by the user"))
        done[point.key] = run
        yield run
        if stopped:
            raise KeyboardInterrupt
    if left:
        yield _stopped(plan, left)


def _stopped(plan: Plan, left: list[Point]) -> Run:
    message = f"stopped by the user: {len(left)} points were not measured; rerun: failed measures no others"
    about = {"measure": "plan", "verdict": "FAILED", "failure": Failure(kind=STOPPED, message=message)}
    return Run.model_validate(_about(plan.params) | about)


def _run(plan: Plan, index: int, show: Show | None, others: Sequence[Job] = ()) -> Outcome:
    """Measure one point in a rank, or ranks, of its own; or other jobs in the point's place."""
    jobs = others or plan.todo[index].jobs
    with Group(jobs) if jobs[0].place else launch(jobs[0]) as rank:
        _prepare(rank, plan, index, show)
        rank.start()
        _watch(rank, plan, index, show)
        return rank.result(timeout_s=STALL_S)


def _prepare(rank: Handle | Group, plan: Plan, index: int, show: Show | None) -> None:
    end = monotonic() + READY_S
    while not rank.ready() and monotonic() < end:
        _show(rank, plan, index, show)
        sleep(PERIOD_S / 5)
    if not rank.ready():
        rank.stop()
        message = f"rank {rank.pid} was not ready after {READY_S:.0f} s and was stopped: {rank.last_words()}"
        raise RankError(message)


def _watch(rank: Handle | Group, plan: Plan, index: int, show: Show | None) -> None:
    """Show progress until the rank has answered; stop it if it makes none."""
    seen, since = rank.progress, monotonic()
    while not rank.answered():
        if rank.progress is not seen:
            seen, since = rank.progress, monotonic()
        elif monotonic() - since > STALL_S + rank.job.window.warmup_s:
            rank.stop()
            message = f"no batch was completed for {STALL_S:.0f} s: storage, GPU or engine hangs; the rank was stopped"
            raise RankFailure(message, "RankError", rank.last_words())
        _show(rank, plan, index, show)
        sleep(PERIOD_S)


def _show(rank: Handle | Group, plan: Plan, index: int, show: Show | None) -> None:
    if show is None:
        return
    now = rank.progress
    fraction = now.fraction if now else 0.0
    todo = plan.todo
    left = (1 - fraction) * todo[index].job.window.seconds + seconds_of(todo[index + 1 :])
    show(
        Status(
            index=index,
            total=len(todo),
            point=todo[index],
            fraction=fraction,
            images_per_s=now.images_per_s if now else 0.0,
            bytes_per_s=now.bytes_per_s if now else 0.0,
            seconds_left=left,
            note=rank.note,
        )
    )


def _about(params: Parameters) -> dict[str, object]:
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
    facts = {FINGERPRINT: point.fingerprint}
    return _about(plan.params) | {
        "measure": point.measure,
        "point": point.axes,
        "scope": _scope(point),
        "facts": facts,
    }


def _scope(point: Point) -> str:
    """Tell what a point's figure covers."""
    device = device_of(point.job)
    if len(point.jobs) > 1 or (device is not None and len(device.numbers) > 1):
        return "server"
    return "gpu" if device is not None and device.kind == "cuda" else "rank"


def _failed(plan: Plan, point: Point, failure: Failure) -> Run:
    return Run.model_validate(_base(plan, point) | {"verdict": "FAILED", "failure": failure})


def _one(again: Callable[[Sequence[Job]], Outcome]) -> Callable[[Job], Outcome]:
    return lambda job: again((job,))


def _with_prediction(
    plan: Plan, point: Point, outcome: Outcome, done: Mapping[str, Run], again: Callable[[Sequence[Job]], Outcome]
) -> Run:
    """Make a Run of what was measured; faster than its own ceiling, that ceiling is measured once more beside it."""
    alone = {stage: done[ceiling.key] for stage, ceiling in point.ceilings.items()}
    run = _record(plan, point, outcome, alone)
    if (run.reached or 0.0) <= OVER:
        return run
    if run.bottleneck == CPU:  # what an image takes alone, it need not take beside others
        return _record(plan, point, outcome, alone, shared=False)
    stage = rests_on(run.bottleneck, run.ceilings)
    ceiling = point.ceilings[stage]
    before, now = alone[stage].measured, _record(plan, ceiling, again(ceiling.jobs), {})
    alone[stage] = now.model_copy(update={"id": alone[stage].id})  # the record that is shown; the other figure is told
    told = {"before": before and before.images_per_s, "beside": now.measured and now.measured.images_per_s}
    return _record(plan, point, outcome, alone, facts={"ceiling_again": {"stage": stage, **told}})


def _record(
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
        Whether the CPUs that stages share are a ceiling.
    facts
        Further ones.
    """
    assert isinstance(plan.params, Windows)
    measured = measured_of(point.job, outcome)
    found = judge(plan.params, point.job, outcome, measured)
    if measured is None:
        found.warnings.append(f"reader {point.axes['reader']} {READS_NOTHING}: see its time per batch")
    if lacking := [stage for stage, run in alone.items() if not is_ceiling(run)]:
        found.warnings.append(f"no ceiling of {', '.join(lacking)}: alone it was not VALID, so the prediction lacks it")
    ceilings = ceilings_of(alone, _cores(point) if shared else float("inf"))
    bottleneck, predicted = predict(ceilings)
    told = outcome.facts | {FINGERPRINT: point.fingerprint} | agreement(point, found) | dict(facts)
    if link := link_of(point.job, told):
        ceilings, predicted = {"link": link}, link
    if per_joule := images_per_joule(measured, told):
        told["images_per_joule"] = per_joule
    run = Run.model_validate(
        _base(plan, point)
        | {
            "repeats": outcome.repeats,
            "stages": outcome.stages,
            "series": outcome.series,
            "facts": told,
            "measured": measured,
            "predicted": predicted,
            "bottleneck": bottleneck,
            "ceilings": ceilings,
            "ceilings_from": [run.id for run in alone.values()],
            "verdict": "VALID",
            "unverified": found.unverified,
        }
    )
    return _judged(run, found)


def _judged(run: Run, found: Judgement) -> Run:
    """Add what speaks against a figure, what lies off its prediction included."""
    if "link" not in run.ceilings:
        for finding in held_against(run):
            (found.reasons if finding.kind == "reason" else found.warnings).append(finding.text)
    unexplained = run.bottleneck is not None and (run.reached or 1.0) < UNEXPLAINED
    return run.model_copy(
        update={
            "verdict": "INVALID" if found.reasons else "VALID",
            "reasons": found.reasons,
            "warnings": found.warnings,
            "bottleneck": None if unexplained else run.bottleneck,
        }
    )


def _cores(point: Point) -> float:
    """Return the CPUs that a point's processes may use."""
    bound = {cpu for job in point.jobs if job.place for cpu in job.place.cpus}
    return len(bound) or cpus()
