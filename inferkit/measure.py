"""The conductor: a plan's points, one after another, each in a process of its own, each a Run."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from time import monotonic, sleep

from inferkit.errors import RankError
from inferkit.host import cpus, facts
from inferkit.params import Parameters, Windows
from inferkit.pipeline.job import Job, Outcome
from inferkit.pipeline.judge import judge
from inferkit.pipeline.launch import Handle, RankFailure, launch
from inferkit.plan import Plan, Point
from inferkit.readers import READERS
from inferkit.run import STAGES, Failure, Figure, Run, figure_of

READY_S = 900.0
"""Longest time to build an engine and to register memory."""
STALL_S = 120.0
"""A rank that completes no batch for so long hangs."""
PERIOD_S = 0.1
CLOSE_TO_CEILING = 0.95


@dataclass(frozen=True)
class Status:
    """How far a notebook is.

    Parameters
    ----------
    index, total
        The point that is measured, from 0, and how many there are.
    point
        That point.
    fraction
        How much of it is done.
    images_per_s, bytes_per_s
        What it reaches at the moment.
    seconds_left
        For all points, at least.
    """

    index: int
    total: int
    point: Point
    fraction: float = 0.0
    images_per_s: float = 0.0
    bytes_per_s: float = 0.0
    seconds_left: float = 0.0


Show = Callable[[Status], None]


def measure(plan: Plan, show: Show | None = None) -> Iterator[Run]:
    """Measure a plan's points.

    A point that fails is a Run too, and the rest goes on. Ctrl-C ends the point under way: its Run says so, and
    KeyboardInterrupt is raised after it.

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
    done: dict[str, Run] = {}
    for index, point in enumerate(plan.points):
        stopped = False
        try:
            outcome = _run(plan, index, show)
            run = _record(plan, point, outcome, done)
        except RankFailure as failure:
            run = _failed(plan, point, Failure(kind=failure.kind, message=str(failure), detail=failure.detail))
        except RankError as error:
            run = _failed(plan, point, Failure(kind=type(error).__name__, message=str(error)))
        except KeyboardInterrupt:
            stopped = True
            run = _failed(plan, point, Failure(kind="KeyboardInterrupt", message="stopped by the user"))
        done[point.key] = run
        yield run
        if stopped:
            raise KeyboardInterrupt


def _run(plan: Plan, index: int, show: Show | None) -> Outcome:
    """Measure one point in a rank of its own."""
    with launch(plan.points[index].job) as rank:
        _prepare(rank, plan, index, show)
        rank.start()
        _watch(rank, plan, index, show)
        return rank.result(timeout_s=STALL_S)


def _prepare(rank: Handle, plan: Plan, index: int, show: Show | None) -> None:
    end = monotonic() + READY_S
    while not rank.ready() and monotonic() < end:
        _show(rank, plan, index, show)
        sleep(PERIOD_S / 5)
    if not rank.ready():
        rank.stop()
        msg = f"rank {rank.pid} was not ready after {READY_S:.0f} s and was stopped: {rank.last_words()}"
        raise RankError(msg)


def _watch(rank: Handle, plan: Plan, index: int, show: Show | None) -> None:
    """Show progress until the rank has answered; stop it if it makes none."""
    seen, since = rank.progress, monotonic()
    while not rank.answered():
        if rank.progress is not seen:
            seen, since = rank.progress, monotonic()
        elif monotonic() - since > STALL_S + rank.job.window.warmup_s:
            rank.stop()
            msg = f"no batch was completed for {STALL_S:.0f} s: storage, GPU or engine hangs; the rank was stopped"
            raise RankFailure(msg, "RankError", rank.last_words())
        _show(rank, plan, index, show)
        sleep(PERIOD_S)


def _show(rank: Handle, plan: Plan, index: int, show: Show | None) -> None:
    if show is None:
        return
    now = rank.progress
    fraction = now.fraction if now else 0.0
    left = sum(point.job.window.seconds for point in plan.points[index:]) - fraction * rank.job.window.seconds
    show(
        Status(
            index=index,
            total=len(plan.points),
            point=plan.points[index],
            fraction=fraction,
            images_per_s=now.images_per_s if now else 0.0,
            bytes_per_s=now.bytes_per_s if now else 0.0,
            seconds_left=left,
        )
    )


def _about(params: Parameters) -> dict[str, object]:
    """Return what every Run of a notebook says."""
    return {
        "stage": params.stage,
        "storage": params.storage,
        "profile": params.profile,
        "params": params.model_dump(mode="json"),
        "host": facts(),
    }


def _base(plan: Plan, point: Point) -> dict[str, object]:
    """Return what a point's Run says whatever became of it."""
    scope = "gpu" if point.job.device == "cuda" else "rank"
    return _about(plan.params) | {"measure": point.measure, "point": point.axes, "scope": scope}


def _failed(plan: Plan, point: Point, failure: Failure) -> Run:
    return Run.model_validate(_base(plan, point) | {"verdict": "FAILED", "failure": failure})


def _record(plan: Plan, point: Point, outcome: Outcome, done: Mapping[str, Run]) -> Run:
    """Make a Run of what a rank measured."""
    assert isinstance(plan.params, Windows)
    measured = _measured(point.job, outcome)
    found = judge(plan.params, point.job, outcome, measured)
    if measured is None:
        found.warnings.append(
            f"reader {point.job.reader} reads nothing, so there is no bandwidth: see its time per batch"
        )
    runs = {stage: done[ceiling.key] for stage, ceiling in point.ceilings.items()}
    ceilings = {stage: run.measured for stage, run in runs.items() if run.measured is not None}
    lacking = sorted(set(runs) - set(ceilings))
    if lacking:
        found.warnings.append(
            f"no ceiling of {', '.join(lacking)}: measuring it alone failed, so the prediction lacks it"
        )
    binding, predicted = predict(ceilings)
    run = Run.model_validate(
        _base(plan, point)
        | {
            "repeats": outcome.repeats,
            "stages": outcome.stages,
            "series": outcome.series,
            "facts": outcome.facts,
            "measured": measured,
            "predicted": predicted,
            "binding": binding,
            "ceilings": ceilings,
            "ceilings_from": [run.id for run in runs.values()],
            "verdict": "INVALID" if found.reasons else "VALID",
            "reasons": found.reasons,
            "unverified": found.unverified,
            "warnings": found.warnings,
        }
    )
    return run.model_copy(update={"warnings": [*run.warnings, *_beside_ceiling(run, point.job)]})


def _measured(job: Job, outcome: Outcome) -> Figure | None:
    """Return the throughput: of bare copies without the gaps between them; None where nothing was really read."""
    figure = figure_of(outcome.repeats)
    if job.work == "read" and not READERS[job.reader].has_ceiling:
        return None
    if job.work == "copy" and figure is not None and "copy" in outcome.stages:
        return Figure(bytes_per_s=outcome.stages["copy"].bytes_per_s, cov=figure.cov)
    return figure


def predict(ceilings: Mapping[str, Figure]) -> tuple[str | None, Figure | None]:
    """Return the binding stage and its throughput: the lowest ceiling, the earlier stage where two are equal."""
    known = {stage: ceilings[stage] for stage in STAGES if stage in ceilings and ceilings[stage].images_per_s}
    if not known:
        return None, None
    binding = min(known, key=lambda stage: known[stage].images_per_s or 0.0)
    return binding, Figure(images_per_s=known[binding].images_per_s, bytes_per_s=known[binding].bytes_per_s)


def _beside_ceiling(run: Run, job: Job) -> list[str]:
    """Say why a pipeline may lie off its prediction."""
    reached = run.reached
    if reached is None:
        return []
    if reached > 1 / CLOSE_TO_CEILING:
        return [
            f"faster than the {run.binding} ceiling ({reached:.2f} of it): a cache answered, or the machine is unsteady"
        ]
    if reached < CLOSE_TO_CEILING and job.device == "cpu":
        return [f"all stages share this machine's {cpus()} CPUs, so that together they stay below their ceilings"]
    return []
