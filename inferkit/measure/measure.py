"""The conductor: a plan's points, one after another, each in processes of its own, each a Run."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from inferkit.errors import RankError
from inferkit.measure.alternation import between_ceilings, ceilings_alone
from inferkit.measure.interrupts import Interrupts
from inferkit.measure.peers import Peers
from inferkit.measure.recording import about, failed_run, run_of
from inferkit.measure.repetition import until_steady
from inferkit.measure.watch import Show, Start, run_point, start_here
from inferkit.plan.points import Plan, Point
from inferkit.plan.reuse import shown_again
from inferkit.ranks.launch import RankFailure
from inferkit.records.run import STOPPED, Failure, Run


def measure(plan: Plan, show: Show | None = None, start: Start = start_here) -> Iterator[Run]:
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
    start
        Starts ranks, on this machine or on others.

    Yields
    ------
    Run
        As soon as its point is measured.
    """
    if plan.failure is not None:
        yield Run.model_validate(about(plan.params) | {"measure": "plan", "verdict": "FAILED", "failure": plan.failure})
    with Interrupts() as patience:
        yield from _measured_points(plan, patience, show and _told(show, patience), start)


def _told(show: Show, patience: Interrupts) -> Show:
    """Let progress tell that the point under way is the last."""
    return lambda status: show(replace(status, stopping=patience.asked))


def _measured_points(plan: Plan, patience: Interrupts, show: Show | None, start: Start) -> Iterator[Run]:
    nearest: dict[str, Run] = {}
    left: list[Point] = []
    index = -1
    peers = Peers(plan.params)
    for point in plan.points:
        if point.fingerprint in plan.earlier:
            nearest[point.key] = shown_again(plan.earlier[point.fingerprint])
            yield nearest[point.key]
            continue
        if patience.asked:
            left.append(point)
            continue
        index += 1
        stopped, run = False, None
        try:
            again = partial(run_point, plan, index, show, start)
            outcome = until_steady(point, again)
            run = run_of(plan, point, outcome, ceilings_alone(point, outcome, nearest))
            run = between_ceilings(plan, point, outcome, nearest, again)
            if point.measure == point.job.work:  # what others measure as well
                run = run.model_copy(update={"peers": peers.beside(point.jobs, outcome, again)})
        except RankFailure as failure:
            run = failed_run(plan, point, Failure(kind=failure.kind, message=str(failure), detail=failure.detail))
        except RankError as error:
            run = failed_run(plan, point, Failure(kind=type(error).__name__, message=str(error)))
        except KeyboardInterrupt:
            stopped = True
            run = run or failed_run(plan, point, Failure(kind=STOPPED, message="stopped at once by the user"))
        nearest[point.key] = run
        yield run
        if stopped:
            raise KeyboardInterrupt
    if left:
        yield _stopped(plan, left)


def _stopped(plan: Plan, left: list[Point]) -> Run:
    message = f"stopped by the user: {len(left)} points were not measured; rerun: failed measures no others"
    failed = {"measure": "plan", "verdict": "FAILED", "failure": Failure(kind=STOPPED, message=message)}
    return Run.model_validate(about(plan.params) | failed)
