"""Where nodes come from: the workers of a Dask scheduler, whoever started them; one for each host."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from importlib import import_module
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Self

from inferkit.closing import Closing
from inferkit.cluster.agent import Agent
from inferkit.cluster.fleet import AT_ONCE, Fleet
from inferkit.cluster.node import START_S, Node, awaited
from inferkit.cluster.planning import compare, node_counts, plan_of
from inferkit.errors import InferkitError, ParameterError, RankError
from inferkit.plan.points import Plan
from inferkit.records.job import Job
from inferkit.records.params import Cluster
from inferkit.records.project import resolve
from inferkit.records.run import Failure

CONNECT_S = 10.0
PERIOD_S = 0.2


class Nodes(Closing):
    """The nodes that a notebook's parameters ask for.

    Parameters
    ----------
    params
        Which scheduler, how many nodes, and how long to wait for them.
    """

    def __init__(self, params: Cluster) -> None:
        self.params = params
        self.nodes: list[Node] = []
        self._client: Any = None
        self._agents: list[Any] = []

    def connect(self) -> Self:
        """Find the nodes, wait for those that are missing, and compare what they have.

        Raises
        ------
        ParameterError
            If the scheduler cannot be reached, too few nodes come, or they do not have the same inferkit.
        RankError
            If a node is lost meanwhile.
        """
        with ExitStack() as stack:
            stack.callback(self.close)
            self._client = _client(self.params.scheduler, self.params.wait_s)
            with ThreadPoolExecutor(AT_ONCE) as pool:
                self.nodes = _named(list(pool.map(self._node, self._wait())))
            compare(self.nodes, self.params)
            stack.pop_all()
        return self

    def prepare(self) -> Plan:
        """Connect and plan; what cannot be done is kept as the plan's failure, and becomes a record."""
        try:
            return self.connect().plan()
        except InferkitError as error:
            return Plan(self.params, [], failure=Failure(kind=type(error).__name__, message=str(error)))

    def _wait(self) -> list[str]:
        """Return the address of a worker for each node, once there are enough."""
        params = self.params
        wanted = max([params.nodes, *params.node_counts], default=0)
        end = monotonic() + params.wait_s
        while True:
            workers = sorted(self._client.nthreads())
            nodes = workers if params.same_host else _one_a_host(workers)
            if len(nodes) >= max(1, wanted):
                return nodes[:wanted] if wanted else nodes
            if monotonic() > end:
                raise ParameterError(_lacking(params, wanted or 1, workers, nodes))
            sleep(PERIOD_S)

    def _node(self, address: str) -> Node:
        there: dict[str, Any] = {"workers": [address], "allow_other_workers": False, "pure": False}
        try:
            # First, for a worker that is sent what it cannot import ends without a word.
            found = self._client.submit(import_module, Agent.__module__, **there)
            awaited(self._client, address, found, START_S)
            agent = self._client.submit(Agent, actor=True, **there)
            self._agents.append(agent)
            with self._client.as_current():  # else the actor does not find its way
                return Node(self._client, address, awaited(self._client, address, agent, START_S))
        except ImportError as error:
            message = f"worker {address}: this inferkit is not installed there ({error}): install it on every node"
            raise ParameterError(message) from error
        except (TimeoutError, OSError) as error:
            message = f"worker {address} is lost: {error or 'it did not answer'}"
            raise RankError(message) from error

    def plan(self) -> Plan:
        """Plan on every node, and put the plans together: one point for each number of nodes.

        Raises
        ------
        InferkitError
            If a node cannot do it, or nodes do not agree on what is measured; it is named.
        """
        return plan_of(self.params, self.nodes, node_counts(self.params, len(self.nodes)))

    def start(self, jobs: Sequence[Job]) -> Fleet:
        """Start the ranks of a point on their nodes."""
        return Fleet({node.name: node for node in self.nodes}, jobs)

    def close(self) -> None:
        """Leave the scheduler; its workers stay as they are, and whose they are."""
        self._agents.clear()
        self.nodes.clear()
        if self._client is None:
            return
        with suppress(OSError, TimeoutError):  # it may be gone
            self._client.close(timeout=CONNECT_S)


def check_scheduler(scheduler: str) -> None:
    """Refuse a scheduler that cannot be reached; one whose file is not there yet may come while the run waits for it.

    Raises
    ------
    ParameterError
        As :meth:`Nodes.connect`, or if the file's folder is missing.
    """
    path = resolve(scheduler) if scheduler and "://" not in scheduler else None
    if path is not None and not _written(path):
        if not path.parent.is_dir():
            message = (
                f"scheduler: there is no folder {path.parent}: write Dask's address (tcp://host:8786), or its file"
            )
            raise ParameterError(message)
        return
    with suppress(OSError, TimeoutError):  # it may be gone again
        _client(scheduler, 0).close(timeout=CONNECT_S)


def _client(scheduler: str, wait_s: float) -> Any:
    if not scheduler:
        message = "scheduler is empty: name Dask's (tcp://host:8786), or the file that `dask scheduler` wrote"
        raise ParameterError(message)
    try:
        from distributed import Client  # only who measures on several machines needs it
    except ImportError as error:
        message = f"scheduler: Dask is not installed ({error}): pip install 'inferkit[cluster]'"
        raise ParameterError(message) from error
    is_file = "://" not in scheduler
    place = {"scheduler_file": str(_file(scheduler, wait_s))} if is_file else {"address": scheduler}
    try:
        connect: Any = Client  # it has no types
        return connect(**place, timeout=CONNECT_S, set_as_default=False, name="inferkit")
    except (OSError, TimeoutError, ValueError) as error:
        message = f"scheduler {scheduler} cannot be reached ({error}): is `dask scheduler` running?"
        raise ParameterError(message) from error


def _file(scheduler: str, wait_s: float) -> Path:
    """Return the scheduler's file, once it is there: in a job, the scheduler may start later than the run."""
    path, end = resolve(scheduler), monotonic() + wait_s
    while not _written(path):
        if monotonic() > end:
            message = (
                f"scheduler: {path} is no file, or empty, after {wait_s:.0f} s: start `dask scheduler --scheduler-file "
                f"{path}`, or write its address (tcp://host:8786)"
            )
            raise ParameterError(message)
        sleep(PERIOD_S)
    return path


def _written(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _one_a_host(workers: Sequence[str]) -> list[str]:
    """Return the first worker of each host."""
    from distributed.comm.addressing import get_address_host

    first: dict[str, str] = {}
    for address in workers:
        first.setdefault(get_address_host(address), address)
    return list(first.values())


def _named(nodes: Sequence[Node]) -> list[Node]:
    """Give nodes that call themselves the same a number each, and put them in order."""
    ordered = sorted(nodes, key=lambda node: (node.about.hostname, node.address))
    count: Counter[str] = Counter()
    for node in ordered:
        count[node.name] += 1
        if count[node.about.hostname] > 1:
            node.name = f"{node.about.hostname}#{count[node.about.hostname]}"
    return ordered


def _lacking(params: Cluster, wanted: int, workers: Sequence[str], nodes: Sequence[str]) -> str:
    come = ", ".join(nodes) or "none"
    message = f"{len(nodes)} of {wanted} nodes came to {params.scheduler} within {params.wait_s:.0f} s: {come}"
    if len(workers) > len(nodes):
        return f"{message}. {len(workers)} workers share hosts: start one on each host, or set same_host: true"
    return f"{message}. Look at the jobs that start `dask worker`, ask for fewer nodes, or set wait_s"
