"""The conductor: a plan's points, one after another, each in processes of its own, each a Run."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from inferkit.errors import NoDeviceError, RankError
from inferkit.measure.alternation import between_ceilings, ceilings_alone
from inferkit.measure.interrupts import Interrupts
from inferkit.measure.lost_gpus import LostGpus
from inferkit.measure.peers import Peers
from inferkit.measure.reading_on import ReadSoFar
from inferkit.measure.recording import about, failed_run, run_of
from inferkit.measure.repetition import until_steady
from inferkit.measure.watch import Show, Start, run_point, start_here
from inferkit.plan.points import Plan, Point
from inferkit.plan.reuse import shown_again
from inferkit.ranks.launch import RankFailure
from inferkit.records.groups import Reading
from inferkit.records.run import STOPPED, Failure, Run


def measure(plan: Plan, show: Show | None = None, start: Start = start_here) -> Iterator[Run]:
    """Measure a plan's points.

    A point that fails is a Run too, and the rest goes on, but for what needs a GPU that cannot be opened any more: of
    that a last Run tells. One that was measured before, and need not be again, is that
    earlier Run. A first Ctrl-C lets the point under way be finished, and a last Run tells what was not measured. A
    second one ends that point at once: its Run says so, and KeyboardInterrupt is raised after it.

    Parameters
    ----------
    plan
        What to measure.
    show
        Is told ten times a second how far it is.
    start
        Starts ranks, on this machine or on others.

    Yields
    ------
    Run
        As soon as its point is measured.
    """
    if plan.failure is not None:
        yield _unmeasured(plan, plan.failure)
    with Interrupts() as patience:
        yield from _measured_points(plan, patience, show and _told(show, patience), start)


def _told(show: Show, patience: Interrupts) -> Show:
    """Let progress tell that the point under way is the last."""
    return lambda status: show(replace(status, stopping=patience.asked))


def _measured_points(plan: Plan, patience: Interrupts, show: Show | None, start: Start) -> Iterator[Run]:
    nearest: dict[str, Run] = {}
    left: list[Point] = []
    index = -1
    peers, gpus = Peers(plan.params), LostGpus()
    of_storage = isinstance(plan.params, Reading) and plan.params.source == "storage"
    so_far = ReadSoFar()
    for point in plan.points:
        if point.fingerprint in plan.earlier:
            nearest[point.key] = shown_again(plan.earlier[point.fingerprint])
            yield nearest[point.key]
            continue
        if patience.asked:
            left.append(point)
            continue
        index += 1
        if gpus.needed_by(point):
            continue
        stopped, run = False, None
        try:
            again = partial(run_point, plan, index, show, start)
            so_far = so_far if of_storage else ReadSoFar()
            outcome = until_steady(point, again, so_far)
            run = run_of(plan, point, outcome, ceilings_alone(point, outcome, nearest))
            run = between_ceilings(plan, point, outcome, nearest, so_far.measuring(again))
            if point.measure == point.job.work:  # what others measure as well
                run = run.model_copy(update={"peers": peers.beside(point.jobs, outcome, again)})
        except RankError as error:
            run = failed_run(plan, point, _told_by(error))
        except KeyboardInterrupt:
            stopped = True
            run = run or failed_run(plan, point, Failure(kind=STOPPED, message="stopped at once by the user"))
        gpus.note(point, run.failure)
        nearest[point.key] = run
        yield run
        if stopped:
            raise KeyboardInterrupt
    yield from _not_tried(plan, gpus, left)


def _told_by(error: RankError) -> Failure:
    if isinstance(error, RankFailure):
        return Failure(kind=error.kind, message=str(error), detail=error.detail)
    return Failure(kind=type(error).__name__, message=str(error))


def _not_tried(plan: Plan, gpus: LostGpus, left: list[Point]) -> Iterator[Run]:
    """Yield a Run for each reason for which points were not even tried."""
    if told := gpus.told():
        yield _unmeasured(plan, Failure(kind=NoDeviceError.__name__, message=told))
    if left:
        message = f"stopped by the user: {len(left)} points were not measured; rerun: failed measures no others"
        yield _unmeasured(plan, Failure(kind=STOPPED, message=message))


def _unmeasured(plan: Plan, failure: Failure) -> Run:
    return Run.model_validate(about(plan.params) | {"measure": "plan", "verdict": "FAILED", "failure": failure})
