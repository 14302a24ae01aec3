"""The nodes' own plans as one: the same points everywhere, each with the ranks of all its nodes."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import xxhash

from inferkit.cluster.agent import NodePlan
from inferkit.cluster.node import Lost, Node
from inferkit.errors import InferkitError, ParameterError
from inferkit.plan.points import Plan, Point
from inferkit.plan.reuse import taken_over
from inferkit.records.job import Job
from inferkit.records.params import Cluster, MultiProcess

PLAN_S = 1800.0
"""Longest time to plan: networks may have to be built and quantised."""
OWN = set(Cluster.model_fields) - set(MultiProcess.model_fields)
"""Parameters that are none of a node's."""


def compare(nodes: Sequence[Node], params: Cluster) -> None:
    """Refuse nodes that would not measure with the same program.

    Raises
    ------
    ParameterError
        Naming a node, what it has, and what the first has.
    """
    packages = [node.about.host.packages for node in nodes]
    for name in sorted({name for own in packages for name in own}):
        _same(nodes, f"the version of {name}", [own.get(name, "none") for own in packages], "install the same")
    _same(nodes, "inferkit's own code", [node.about.code for node in nodes], "install the same on every node")
    boots: dict[str, str] = {}
    for node in nodes:
        if node.about.boot in boots and not params.same_host:
            message = (
                f"nodes {boots[node.about.boot]} and {node.name} are one machine (containers?): start workers on "
                "different ones, or set same_host: true"
            )
            raise ParameterError(message)
        boots[node.about.boot] = node.name


def _same(nodes: Sequence[Node], what: str, found: Sequence[object], fix: str) -> None:
    for node, own in zip(nodes, found, strict=True):
        if own != found[0]:
            message = f"{node}: {what} is {own}, but {found[0]} on {nodes[0]}: {fix}"
            raise ParameterError(message)


def node_counts(params: Cluster, there: int) -> list[int]:
    """Return the numbers of nodes to compare: those that are asked for, else 1, 2, 4 … and all there are."""
    if params.nodes:
        return [params.nodes]
    powers = [1 << k for k in range(there.bit_length()) if 1 << k < there]
    return list(dict.fromkeys(params.node_counts or [*powers, there]))


def plan_of(params: Cluster, nodes: Sequence[Node], counts: Sequence[int]) -> Plan:
    """Let each node plan, compare the plans, and put them together.

    Raises
    ------
    InferkitError
        What a node cannot do, or where nodes do not agree, by name.
    """
    plans = _each(nodes, MultiProcess.model_validate(params.model_dump(exclude=OWN) | {"rerun": "always"}))
    _same(nodes, "the data set", [plan.data for plan in plans], "copy it there, or mount it on every node")
    _same(nodes, "the network", [sorted(plan.models.items()) for plan in plans], "remove the cache of networks there")
    _same_points(nodes, plans)
    points = [point for count in counts for point in _on(nodes[:count], plans[:count])]
    first, host = plans[0], nodes[0].about.host
    remarks = tuple(
        dict.fromkeys(f"{node}: {text}" for node, plan in zip(nodes, plans, strict=True) for text in plan.remarks)
    )
    return taken_over(
        Plan(params, points, first.dataset, placements=first.placements, remarks=remarks, host=host), params
    )


def _each(nodes: Sequence[Node], params: MultiProcess) -> list[NodePlan]:
    """Return the nodes' plans, which they make at the same time."""
    started = [node.tell("plan", params) for node in nodes]
    plans = []
    for node, future in zip(nodes, started, strict=True):
        try:
            plans.append(node.answer(future, PLAN_S))
        except Lost:
            raise
        except InferkitError as error:
            message = f"{node}: {error}"
            raise type(error)(message) from error
    return plans


def _same_points(nodes: Sequence[Node], plans: Sequence[NodePlan]) -> None:
    keys = [[point.key for point in plan.points] for plan in plans]
    for node, own in zip(nodes, keys, strict=True):
        odd = [key for key in own if key not in keys[0]] or [key for key in keys[0] if key not in own]
        if odd:
            whose = node if odd[0] in own else nodes[0]
            message = f"only {whose} would measure {odd[0]}: nodes differ in CPUs or GPUs; set ranks and gpu_counts"
            raise ParameterError(message)


def _on(nodes: Sequence[Node], plans: Sequence[NodePlan]) -> list[Point]:
    """Return the points of some nodes; ceilings are those of the same nodes."""
    by_key = [{point.key: point for point in plan.points} for plan in plans]
    made: dict[str, Point] = {}

    def put_together(key: str) -> Point:
        if key not in made:
            own = [points[key] for points in by_key]
            made[key] = _point(nodes, own, put_together)
        return made[key]

    return [put_together(point.key) for point in plans[0].points]


def _point(nodes: Sequence[Node], own: Sequence[Point], put_together: Callable[[str], Point]) -> Point:
    jobs = _ranked([(node.name, point.jobs) for node, point in zip(nodes, own, strict=True)])
    ceilings = {stage: put_together(ceiling.key) for stage, ceiling in own[0].ceilings.items()}
    mark = xxhash.xxh3_128_hexdigest(" ".join(point.fingerprint for point in own).encode())
    return replace(own[0], axes={"nodes": len(nodes), **own[0].axes}, jobs=jobs, ceilings=ceilings, fingerprint=mark)


def _ranked(jobs: Sequence[tuple[str, tuple[Job, ...]]]) -> tuple[Job, ...]:
    """Give the ranks of all nodes their numbers: each reads its own share, and every image has one reader."""
    flat = [(host, job) for host, own in jobs for job in own]
    ranked = []
    for rank, (host, job) in enumerate(flat):
        assert job.place is not None
        ranked.append(job.changed(place=job.place.model_copy(update={"rank": rank, "ranks": len(flat), "host": host})))
    return tuple(ranked)
