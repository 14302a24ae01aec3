"""One point's ranks: started, watched, and stopped where they hang."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import monotonic, sleep

from inferkit.errors import RankError
from inferkit.machine.watchdog import Hunger, Watchdog, signs
from inferkit.plan.points import Plan, Point, seconds_of
from inferkit.ranks.group import Group
from inferkit.ranks.launch import Handle, RankFailure, launch
from inferkit.records.job import Job
from inferkit.records.outcome import Latest, Outcome

READY_S = 900.0
"""Longest time to build an engine and to register memory."""
STALL_S = 120.0
"""A rank that completes no batch for so long hangs."""
PERIOD_S = 0.1
AGAIN = "measuring once more what it is held against"

Again = Callable[[Sequence[Job]], Outcome]
"""Measures jobs in a point's place."""


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
        What it reached in the window so far.
    latest
        What it does at the moment.
    seconds_left
        For all points, at least.
    stopping
        Whether this point is the last because the user interrupted.
    note
        What a rank is preparing, such as a build of an engine; or that a point that is done waits for something that
        is measured again for its sake, which moves neither ``fraction`` nor ``seconds_left``.
    """

    index: int
    total: int
    point: Point
    fraction: float = 0.0
    images_per_s: float = 0.0
    bytes_per_s: float = 0.0
    latest: Latest = field(default_factory=Latest)
    seconds_left: float = 0.0
    stopping: bool = False
    note: str = ""


Show = Callable[[Status], None]
Start = Callable[[Sequence[Job]], Handle | Group]
"""Starts what does a point's jobs."""


def start_here(jobs: Sequence[Job]) -> Handle | Group:
    """Start ranks on this machine: one that is not bound, or several that have their places."""
    return Group(jobs) if jobs[0].place else launch(jobs[0])


def run_point(
    plan: Plan, index: int, show: Show | None, start: Start, jobs: Sequence[Job], nth: int | None = None
) -> Outcome:
    """Measure jobs of a point in a rank, or ranks, of their own.

    Parameters
    ----------
    index
        The point among those that are measured.
    nth
        How many processes have measured the point before, one after another; None: the jobs are for its sake alone.
    """
    with start(jobs) as rank:
        tell = partial(_tell_again, rank) if nth is None else partial(_tell, rank, nth)
        tell = partial(tell, plan, index, show or _nobody)
        _prepare(rank, tell)
        rank.start()
        _watch(rank, tell)
        return rank.result(timeout_s=STALL_S)


def _nobody(status: Status) -> None:
    """Nobody looks."""


def _prepare(rank: Handle | Group, tell: Callable[[], None]) -> None:
    end = monotonic() + READY_S
    while not rank.ready() and monotonic() < end:
        tell()
        sleep(PERIOD_S / 5)
    if not rank.ready():
        rank.stop()
        message = f"rank {rank.pid} was not ready after {READY_S:.0f} s and was stopped: {rank.last_words()}"
        raise RankError(message)


def _watch(rank: Handle | Group, tell: Callable[[], None]) -> None:
    """Show progress until the rank has answered; stop it if it makes none."""
    seen, told = rank.progress, 0
    dog = Watchdog(Hunger(partial(signs, rank.pid)))
    while not rank.answered():
        if rank.progress is not seen:
            seen, told = rank.progress, told + 1
        if dog.seconds(str(told)) > STALL_S + rank.job.window.warmup_s:
            why, where = dog.starved() or "storage, GPU or engine hangs", rank.at()
            rank.stop()
            message = f"no batch was completed for {STALL_S:.0f} s: {why}{where}; the rank was stopped{rank.left()}"
            raise RankFailure(message, "RankError", rank.last_words())
        tell()
        sleep(PERIOD_S)


def _tell_again(rank: Handle | Group, plan: Plan, index: int, show: Show) -> None:
    """Tell what a point's neighbours do, while the point itself is done."""
    now, todo = rank.progress, plan.todo
    latest, left = now.latest if now else Latest(), seconds_of(todo[index + 1 :])
    show(Status(index, len(todo), todo[index], fraction=1.0, latest=latest, seconds_left=left, note=AGAIN))


def _tell(rank: Handle | Group, nth: int, plan: Plan, index: int, show: Show) -> None:
    now, todo = rank.progress, plan.todo
    fraction = min(1.0, (nth + (now.fraction if now else 0.0)) / todo[index].processes)  # those added change nothing
    left = (1 - fraction) * seconds_of(todo[index : index + 1]) + seconds_of(todo[index + 1 :])
    show(
        Status(
            index=index,
            total=len(todo),
            point=todo[index],
            fraction=fraction,
            images_per_s=now.images_per_s if now else 0.0,
            bytes_per_s=now.bytes_per_s if now else 0.0,
            latest=now.latest if now else Latest(),
            seconds_left=left,
            note=rank.note,
        )
    )
