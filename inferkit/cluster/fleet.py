"""The ranks of several nodes as one measurement: a group whose members are nodes."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from time import monotonic_ns

from inferkit.cluster.node import POLL_S, Node, NodeRanks
from inferkit.cluster.total import Share, combine_nodes
from inferkit.ranks.group import Group, Member
from inferkit.records.figures import Json
from inferkit.records.job import Job
from inferkit.records.outcome import Outcome

AT_ONCE = 64
"""Nodes that are spoken to at once."""
NODES_BARRIER_S = 3 * POLL_S
"""From the last node's ready to the agreed start, so that every node has heard of it; a slow network gets more."""


class Fleet(Group):
    """Ranks on several nodes that measure at the same time; to be used as a group on one machine is.

    Parameters
    ----------
    nodes
        By name.
    jobs
        One for each rank, whose place tells its host; those of a host lie together.

    Raises
    ------
    RankError
        If a node cannot be reached, or cannot start a rank.
    """

    ranks: list[Member]

    def __init__(self, nodes: dict[str, Node], jobs: Sequence[Job]) -> None:
        self._nodes = nodes
        self._members: list[NodeRanks] = []
        super().__init__(jobs)

    def _launched(self) -> Iterator[Member]:
        own = [(self._nodes[host], list(jobs)) for host, jobs in groupby(self.jobs, key=_host)]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            made = [pool.submit(NodeRanks, node, jobs) for node, jobs in own]
        self._members += [future.result() for future in made if not future.exception()]
        yield from self._members
        for future in made:
            future.result()  # raises what a node could not do

    def start(self, at_ns: int | None = None, beside: Sequence[int] = ()) -> None:
        """Agree with every node on the instant, by our clock, at which all clocks start."""
        way_ns = max(member.before.error_ns for member in self._members)
        heard_ns = int(NODES_BARRIER_S * 1e9) + 4 * way_ns  # a question under way comes back first, then this goes out
        self._start_ns = at_ns or monotonic_ns() + heard_ns
        for member in self._members:
            same = [own for own in self._members if own.node.about.boot == member.node.about.boot]
            member.start(self._start_ns, [pid for own in same for pid in own.pids])

    def _look_for_hangs(self) -> None:
        """Leave it to the nodes, which look after their ranks; one that says nothing is lost."""

    def _named(self, index: int) -> str:
        return str(self._members[index].node)

    def _combined(self, outcomes: Sequence[Outcome], more: dict[str, Json]) -> Outcome:
        shares = [
            Share(member.node.name, member.node.about.boot, outcome, member.before, member.after or member.before)
            for member, outcome in zip(self._members, outcomes, strict=True)
        ]
        return combine_nodes(shares, self.jobs[0].window, more)


def _host(job: Job) -> str:
    return job.place.host if job.place else ""
