"""Several ranks as one measurement: started together, watched together, and one figure of all."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from time import monotonic, monotonic_ns, sleep
from typing import Protocol

from inferkit.closing import Closing
from inferkit.machine.watchdog import Hunger, Watchdog, signs, state
from inferkit.ranks.combine import combine
from inferkit.ranks.launch import RankFailure, launch
from inferkit.records.figures import Json
from inferkit.records.job import Job
from inferkit.records.outcome import Latest, Outcome, RankProgress
from inferkit.records.place import Place

BARRIER_S = 0.1
"""From the last rank's ready to the agreed start, so that every rank has heard of it."""
FIRST_BATCH_S = 60.0
HANG_S = 5.0
HANG_GAPS = 10.0
"""A rank hangs that completes nothing for so long, or for so many times the longest pause that was seen before."""


class Member(Protocol):
    """What a group holds of each of its own: the handle of a rank, or of a node and all its ranks."""

    progress: RankProgress | None
    note: str

    @property
    def pid(self) -> int:
        """The process id of a rank."""

    @property
    def lacking(self) -> Sequence[str]:
        """What could not be bound, and why."""

    def ready(self) -> bool:
        """Tell whether everything is prepared, or has failed already."""

    def start(self, at_ns: int, beside: Sequence[int]) -> None:
        """Agree on the instant at which the clock starts, and who measures together."""

    def passed(self) -> bool:
        """Tell whether the agreed end has passed."""

    def finish(self) -> None:
        """Tell that the load need not be kept up any longer."""

    def answered(self) -> bool:
        """Tell whether :meth:`result` would return or raise at once."""

    def result(self, timeout_s: float | None = None) -> Outcome:
        """Wait for the outcome."""

    def at(self) -> str:
        """Say which file one is at that does not go on; empty where that cannot be told."""

    def left(self) -> str:
        """Say what was stopped and cannot be ended; empty if nothing."""

    def last_words(self) -> str:
        """Return the end of what was written to standard error."""

    def stop(self) -> None:
        """End it at once."""

    def close(self) -> None:
        """Leave nothing behind."""


class Group(Closing):
    """Ranks that measure at the same time; to be used as one :class:`~inferkit.ranks.launch.Handle` is.

    If one fails, hangs or dies, the others are stopped at once. Nothing is left of any afterwards.

    Parameters
    ----------
    jobs
        One for each rank, with its place.
    led
        Whether others measure beside it: then whoever leads them all says when the window is over.

    Raises
    ------
    RankFailure
        If a rank cannot be started.
    """

    def __init__(self, jobs: Sequence[Job], *, led: bool = False) -> None:
        self.job = jobs[0]
        self.jobs = list(jobs)
        self.ranks: list[Member] = []
        self._led = led
        self._failure: RankFailure | None = None
        self._outcomes: dict[int, Outcome] = {}
        self._ready_s: dict[int, float] = {}
        self._start_ns = 0
        self._finished = False
        self._began = monotonic()
        with ExitStack() as stack:
            stack.callback(self.close)
            self.ranks.extend(self._launched())
            stack.pop_all()
        self._pace = [_Pace(rank.pid) for rank in self.ranks]

    def _launched(self) -> Iterator[Member]:
        return map(launch, self.jobs)

    @property
    def pid(self) -> int:
        """The process id of the first rank that is not ready, else of the first."""
        return next((rank.pid for rank in self.ranks if not rank.ready()), self.ranks[0].pid)

    @property
    def note(self) -> str:
        """What the ranks are preparing."""
        return " · ".join(dict.fromkeys(rank.note for rank in self.ranks if rank.note))

    @property
    def progress(self) -> RankProgress | None:
        """How far the slowest rank is, and what all reach; None until every rank has told."""
        told = [rank.progress for rank in self.ranks]
        known = [progress for progress in told if progress is not None]
        if len(known) < len(told):
            return None
        return RankProgress(
            fraction=min(progress.fraction for progress in known),
            images_per_s=sum(progress.images_per_s for progress in known),
            bytes_per_s=sum(progress.bytes_per_s for progress in known),
            latest=together([progress.latest for progress in known]),
        )

    def ready(self) -> bool:
        """Tell whether every rank has prepared everything, or one has failed already."""
        for index, rank in enumerate(self.ranks):
            if rank.ready():
                self._ready_s.setdefault(index, monotonic() - self._began)
        self._look()
        return self._failure is not None or len(self._ready_s) == len(self.ranks)

    @property
    def pids(self) -> list[int]:
        """The process ids of all ranks."""
        return [rank.pid for rank in self.ranks]

    def start(self, at_ns: int | None = None, beside: Sequence[int] = ()) -> None:
        """Agree with every rank on the instant at which the clocks start.

        Parameters
        ----------
        at_ns
            On ``CLOCK_MONOTONIC``; None: soon.
        beside
            Processes on this machine that measure together with these ranks; none: they alone.
        """
        self._start_ns = at_ns or monotonic_ns() + int(BARRIER_S * 1e9)
        for rank, pace in zip(self.ranks, self._pace, strict=True):
            rank.start(self._start_ns, beside or self.pids)
            pace.begin()

    def answered(self) -> bool:
        """Tell whether :meth:`result` would return or raise at once; looks after the ranks."""
        self._look()
        return self._failure is not None or len(self._outcomes) == len(self.ranks)

    def _look(self) -> None:
        """Take what ranks answered; release them when all have passed the end; stop all when one is lost."""
        for index, rank in enumerate(self.ranks):
            if self._failure is None and index not in self._outcomes and rank.answered():
                try:
                    self._outcomes[index] = rank.result(0)
                except RankFailure as failure:
                    self._fail(index, str(failure), failure.kind, failure.detail)
        if self._start_ns and self._failure is None and not self._finished:
            self._keep_time()

    def _keep_time(self) -> None:
        if not self.passed():
            self._look_for_hangs()
        elif not self._led:
            self.finish()

    def passed(self) -> bool:
        """Tell whether all ranks have passed the agreed end."""
        return all(rank.passed() for rank in self.ranks)

    def _look_for_hangs(self) -> None:
        longest = max(pace.longest_s for pace in self._pace)
        for index, (rank, pace) in enumerate(zip(self.ranks, self._pace, strict=True)):
            silent_s = pace.note(rank.progress)
            if silent_s > (max(HANG_S, HANG_GAPS * longest) if rank.progress else FIRST_BATCH_S):
                why = f"it completed no batch for {silent_s:.0f} s: {pace.starved() or state(rank.pid)}{rank.at()}"
                self._fail(index, why, "RankError", rank.last_words())
                return

    def finish(self) -> None:
        """Tell all ranks that they need not keep their load up any longer."""
        self._finished = True
        for rank in self.ranks:
            rank.finish()

    def _fail(self, index: int, why: str, kind: str, detail: str) -> None:
        others = "; the others were stopped" if len(self.ranks) > 1 else ""
        self.stop()
        self._failure = RankFailure(f"{self._named(index)}: {why}{others}{self.left()}", kind, detail)

    def _named(self, index: int) -> str:
        return str(self.jobs[index].place or Place(rank=index))

    def stop(self) -> None:
        """End all ranks at once."""
        for rank in self.ranks:
            rank.stop()

    def at(self) -> str:
        """Say which file a rank is at that does not go on; see :meth:`inferkit.ranks.launch.Handle.at`."""
        return next((where for rank in self.ranks if (where := rank.at())), "")

    def left(self) -> str:
        """Say which ranks, all of which were stopped, cannot be ended."""
        return "".join(rank.left() for rank in self.ranks)

    def last_words(self) -> str:
        """Return the end of what each rank wrote to its standard error."""
        told = ((index, rank.last_words()) for index, rank in enumerate(self.ranks))
        return "\n".join(f"rank {index}: {words}" for index, words in told if words)

    def result(self, timeout_s: float | None = None) -> Outcome:
        """Wait for all ranks, and return one outcome of all.

        Raises
        ------
        RankFailure
            If a rank failed, died, hung or was stopped, or if they took longer than ``timeout_s``.
        """
        end = None if timeout_s is None else monotonic() + timeout_s
        while not self.answered():
            sleep(0.02)
            if end is not None and monotonic() > end:
                late = next(index for index in range(len(self.ranks)) if index not in self._outcomes)
                self._fail(late, f"it did not finish within {timeout_s:.0f} s", "RankError", self.last_words())
        if self._failure is not None:
            raise self._failure
        barrier = [self._ready_s[index] for index in range(len(self.ranks))]
        outcomes = [self._outcomes[index] for index in range(len(self.ranks))]
        found = self._combined(outcomes, {"ready_s": barrier, "barrier_s": max(barrier)})
        lacking = [text for rank in self.ranks for text in rank.lacking]
        return found.model_copy(update={"unverified": [*found.unverified, *lacking]})

    def _combined(self, outcomes: Sequence[Outcome], more: dict[str, Json]) -> Outcome:
        return combine(self.jobs, outcomes, more)

    def close(self) -> None:
        """Leave nothing behind."""
        self.stop()
        for rank in self.ranks:
            rank.close()


def together(ranks: Sequence[Latest]) -> Latest:
    """Return what several ranks do at the moment: the sum; and of the machine, what the last of them saw."""
    batches: Counter[str] = Counter()
    for rank in ranks:
        batches.update(rank.batches)
    return Latest(
        images_per_s=sum(rank.images_per_s for rank in ranks),
        bytes_per_s=sum(rank.bytes_per_s for rank in ranks),
        batches=dict(batches),
        machine={name: value for rank in ranks for name, value in rank.machine.items()},
    )


class _Pace:
    """How long a rank has told nothing, and how long it did at most before; waiting for a CPU does not count."""

    def __init__(self, pid: int) -> None:
        self.longest_s = 0.0
        self._pid = pid
        self._seen: RankProgress | None = None
        self._told = 0
        self.begin()

    def begin(self) -> None:
        self._silent_s = 0.0
        self._watchdog = Watchdog(Hunger(partial(signs, self._pid)))
        self.starved = self._watchdog.starved

    def note(self, progress: RankProgress | None) -> float:
        if progress is not self._seen:
            self._seen = progress
            self._told += 1
            self.longest_s = max(self.longest_s, self._silent_s)
        self._silent_s = self._watchdog.seconds(str(self._told))
        return self._silent_s
