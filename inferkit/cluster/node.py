"""A node as the notebook sees it: an agent behind a scheduler, and what became of the point that it measures."""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Any

from inferkit.cluster.agent import LEASE_S, About, Report
from inferkit.cluster.clocks import Offset, offset_of
from inferkit.errors import InferkitError, RankError
from inferkit.ranks.launch import RankFailure
from inferkit.records.job import Job
from inferkit.records.outcome import Outcome, RankProgress

POLL_S = 0.2
ANSWER_S = LEASE_S
"""A node that answers nothing for so long is lost."""
START_S = 120.0
"""Longest time in which a node imports what it needs, looks at its hardware, and starts ranks."""


class Lost(RankError):
    """A node cannot be reached, or does not answer."""


def awaited(client: Any, address: str, future: Any, timeout_s: float) -> Any:
    """Return what a worker answers; wait for longer than usual only while the scheduler knows it.

    Raises
    ------
    TimeoutError
        If it does not answer.
    """
    end = monotonic() + timeout_s
    while True:
        try:
            return future.result(timeout=min(timeout_s, ANSWER_S))
        except TimeoutError:
            if monotonic() > end or address not in client.nthreads():
                raise


class Node:
    """One machine of a cluster.

    Parameters
    ----------
    client
        Dask's, which is connected to the scheduler.
    address
        Of the worker.
    agent
        Dask's actor there.
    """

    def __init__(self, client: Any, address: str, agent: Any) -> None:
        self.address = address
        self._client, self._agent = client, agent
        self._gone = ""
        self.name = address
        self.about: About = self.answer(self.tell("about"), START_S)
        self.name = self.about.hostname

    def ask(self, method: str, *arguments: Any) -> Any:
        """Let the agent do something, and return what it answers; raises as :meth:`answer`."""
        return self.answer(self.tell(method, *arguments))

    def answer(self, future: Any, timeout_s: float = ANSWER_S) -> Any:
        """Wait for what the agent answers; for longer than usual only while the scheduler knows the worker.

        Raises
        ------
        InferkitError
            What the agent raised.
        Lost
            If the node cannot be reached, or does not answer.
        """
        with self._reaching():
            return awaited(self._client, self.address, future, timeout_s)

    def tell(self, method: str, *arguments: Any) -> Any:
        """Let the agent do something, and return Dask's future of the answer at once."""
        with self._reaching():
            return getattr(self._agent, method)(*arguments)

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        """Tell what Dask says where the worker died, was started anew or hangs, or the scheduler did.

        Who was lost once is not waited for again: a run may have many points to come.
        """
        if self._gone:
            raise Lost(self._gone)
        try:
            yield
        except TimeoutError as error:
            self._gone = self._lost("it does not answer")
            raise Lost(self._gone) from error
        except (OSError, RuntimeError, KeyError) as error:
            self._gone = self._lost(str(error) or type(error).__name__)
            raise Lost(self._gone) from error

    def _lost(self, why: str) -> str:
        if self._client.status != "running":
            return f"{self} is out of reach: the scheduler {self._client.scheduler.address} is gone"
        return f"{self} is lost (worker {self.address}): {why}"

    def clock(self) -> Offset:
        """Compare its clock with ours."""
        return offset_of(lambda: int(self.ask("clock")))

    def __str__(self) -> str:
        """Name it."""
        return f"node {self.name}"


class NodeRanks:
    """The ranks of one node that measure a point: a member of a group, as the handle of a rank is.

    A thread asks for news five times a second, which also tells the node that its ranks are still wanted.

    Parameters
    ----------
    node, jobs
        Where, and what each rank there is told to do.
    """

    def __init__(self, node: Node, jobs: Sequence[Job]) -> None:
        self.node, self.jobs = node, list(jobs)
        self.before = node.clock()
        self.after: Offset | None = None
        self.progress: RankProgress | None = None
        self.note = ""
        self.lacking: tuple[str, ...] = ()
        self._ready = self._passed = self._told = False
        self._outcome: Outcome | None = None
        self._failure: InferkitError | None = None
        self._stopping: Any = None
        self._orders: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        words = [job.model_dump_json() for job in self.jobs]
        self.pids: list[int] = node.answer(node.tell("prepare", words), START_S)
        self._thread = threading.Thread(target=self._attend, name=f"{node}", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        """The process id, over there, of the first rank."""
        return self.pids[0]

    def _attend(self) -> None:
        """Carry orders out and news back, in order, until the ranks have answered."""
        try:
            while self._outcome is None:
                with suppress(queue.Empty):
                    order = self._orders.get(timeout=POLL_S)
                    if order is None:
                        return
                    order()
                self._hear(self.node.ask("look"))
            self.after = self.node.clock()
        except InferkitError as error:
            self._failure = error
        finally:
            self._ready = self._told = True

    def _hear(self, report: Report) -> None:
        self._ready, self.note, self.lacking = report.ready, report.note, report.lacking
        if report.progress != self.progress:
            self.progress = report.progress
        self._passed, self._outcome = report.passed, report.outcome

    def ready(self) -> bool:
        """Tell whether every rank has prepared everything, or the node has failed."""
        return self._ready

    def start(self, at_ns: int, beside: Sequence[int]) -> None:
        """Agree on the instant, by our clock, at which the node's clocks start."""
        self._orders.put(lambda: self.node.ask("start", at_ns + self.before.offset_ns, list(beside)))

    def passed(self) -> bool:
        """Tell whether all of the node's ranks have passed the agreed end."""
        return self._passed

    def finish(self) -> None:
        """Tell that the load need not be kept up any longer."""
        self._orders.put(lambda: self.node.ask("finish"))

    def answered(self) -> bool:
        """Tell whether :meth:`result` would return or raise at once."""
        return self._told

    def result(self, timeout_s: float | None = None) -> Outcome:
        """Wait for what the node's ranks measured together.

        Raises
        ------
        RankFailure
            If one failed, or the node is lost.
        """
        end = None if timeout_s is None else monotonic() + timeout_s
        while not self._told and (end is None or monotonic() < end):
            self._thread.join(POLL_S)
        if self._outcome is not None and self._failure is None:
            return self._outcome
        failure = self._failure or RankError(f"it did not finish within {timeout_s:.0f} s")
        why = str(failure).removeprefix(f"{self.node} ")  # whoever hears it names the node
        raise RankFailure(why, getattr(failure, "kind", type(failure).__name__), _detail(failure))

    def at(self) -> str:
        """Say nothing: the node's own group tells which file a rank of its own is at."""
        return ""

    def left(self) -> str:
        """Say nothing: the node's own group tells what cannot be ended there."""
        return ""

    def last_words(self) -> str:
        """Return the end of what each rank wrote to its standard error."""
        with suppress(InferkitError):
            return str(self.node.ask("last_words"))
        return ""

    def stop(self) -> None:
        """End the node's ranks at once; a node that cannot be reached ends them itself."""
        self._orders.put(None)
        with suppress(Lost):
            self._stopping = self.node.tell("close")

    def close(self) -> None:
        """Wait until nothing is left of the ranks."""
        self._thread.join(ANSWER_S)
        if self._stopping is not None and not isinstance(self._failure, Lost):
            with suppress(Lost):
                self.node.answer(self._stopping)


def _detail(failure: InferkitError) -> str:
    return str(getattr(failure, "detail", ""))
