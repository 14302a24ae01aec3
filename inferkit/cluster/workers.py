"""Where nodes come from: the workers of a Dask scheduler, whoever started them; one for each host."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Self

from inferkit.closing import Closing
from inferkit.cluster.agent import Agent
from inferkit.cluster.fleet import Fleet
from inferkit.cluster.node import Node
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
            self._client = _client(self.params.scheduler)
            self.nodes = [self._node(name, address) for name, address in self._wait().items()]
            compare(self.nodes, self.params)
            stack.pop_all()
        return self

    def prepare(self) -> Plan:
        """Connect and plan; what cannot be done is kept as the plan's failure, and becomes a record."""
        try:
            return self.connect().plan()
        except InferkitError as error:
            return Plan(self.params, [], failure=Failure(kind=type(error).__name__, message=str(error)))

    def _wait(self) -> dict[str, str]:
        """Return a worker's address for each node, by name, once there are enough."""
        params = self.params
        wanted = max([params.nodes, *params.node_counts], default=0) or 1
        end = monotonic() + params.wait_s
        while True:
            hosts = self._hosts()
            named = dict(_named(hosts, apart=not params.same_host))
            enough = len(named) >= wanted
            if enough and (params.nodes or params.node_counts):
                return dict(list(named.items())[:wanted])
            if enough:
                return named
            if monotonic() > end:
                raise ParameterError(_lacking(params, wanted, hosts, named))
            sleep(PERIOD_S)

    def _hosts(self) -> dict[str, str]:
        """Return the host of each worker by its address; one that is about to end tells none."""
        told = self._client.run(socket.gethostname, on_error="return")
        return {address: name for address, name in sorted(told.items()) if isinstance(name, str)}

    def _node(self, name: str, address: str) -> Node:
        future = self._client.submit(Agent, actor=True, workers=[address], allow_other_workers=False, pure=False)
        self._agents.append(future)
        try:
            with self._client.as_current():  # else the actor does not find its way
                agent = future.result(timeout=CONNECT_S)
            node = Node(self._client, address, agent)
        except ImportError as error:
            message = f"node {name}: this inferkit is not installed there ({error}): install it on every node"
            raise ParameterError(message) from error
        except (TimeoutError, OSError) as error:
            message = f"node {name} is lost (worker {address}): {error or 'it did not answer'}"
            raise RankError(message) from error
        node.name = name
        return node

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


def _client(scheduler: str) -> Any:
    if not scheduler:
        message = "scheduler is empty: name Dask's (tcp://host:8786), or the file that `dask scheduler` wrote"
        raise ParameterError(message)
    try:
        from distributed import Client  # only who measures on several machines needs it
    except ImportError as error:
        message = f"scheduler: Dask is not installed ({error}): pip install 'inferkit[cluster]'"
        raise ParameterError(message) from error
    is_file = "://" not in scheduler
    place = {"scheduler_file": str(_file(scheduler))} if is_file else {"address": scheduler}
    try:
        connect: Any = Client  # it has no types
        return connect(**place, timeout=CONNECT_S, set_as_default=False, name="inferkit")
    except (OSError, TimeoutError, ValueError) as error:
        message = f"scheduler {scheduler} cannot be reached ({error}): is `dask scheduler` running?"
        raise ParameterError(message) from error


def _file(scheduler: str) -> Path:
    path = resolve(scheduler)
    if not path.is_file():
        message = (
            f"scheduler: {path} is no file: start `dask scheduler --scheduler-file {path}`, or write its address "
            "(tcp://host:8786)"
        )
        raise ParameterError(message)
    return path


def _named(hosts: dict[str, str], *, apart: bool) -> Iterator[tuple[str, str]]:
    """Yield a name and a worker's address for each node: a host, or with ``same_host`` each worker of one."""
    count: dict[str, int] = {}
    for address, host in sorted(hosts.items(), key=lambda item: (item[1], item[0])):
        count[host] = count.get(host, 0) + 1
        if count[host] == 1:
            yield host, address
        elif not apart:
            yield f"{host}#{count[host]}", address


def _lacking(params: Cluster, wanted: int, hosts: dict[str, str], named: dict[str, str]) -> str:
    come = ", ".join(named) or "none"
    message = f"{len(named)} of {wanted} nodes came to {params.scheduler} within {params.wait_s:.0f} s: {come}"
    if len(hosts) > len(named):
        return f"{message}. {len(hosts)} workers share hosts: start one on each host, or set same_host: true"
    return f"{message}. Look at the jobs that start `dask worker`, ask for fewer nodes, or set wait_s"
