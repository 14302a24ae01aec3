"""The plan of ranks on machines of 1 to 8 nodes."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferkit.errors import ParameterError
from inferkit.linux.procfs import cpu_list
from inferkit.machine.placement import place_ranks, spread
from inferkit.machine.placement_overrides import overridden
from inferkit.machine.topology import Core, PciDevice, Topology, topology
from inferkit.records.place import Place, Placement, cpu_ranges
from tests.machines import dgx, unpack


def cpus_of(machine: Topology) -> set[int]:
    return {cpu for core in machine.cores for cpu in core.cpus}


@pytest.fixture
def server(tmp_path: Path) -> Topology:
    return topology(dgx(tmp_path))


def test_gpus_of_other_sockets_then_other_switches_come_first(server: Topology) -> None:
    order = spread(server, range(8))
    assert order[:4] == [0, 4, 2, 6]  # the recipe's rule: 0,2 and 4,6 before doubling up
    assert sorted(order) == list(range(8))
    assert {server.socket_of(server.gpus[gpu].node) for gpu in order[:2]} == {0, 1}


def test_each_rank_gets_its_gpus_node_and_cores(server: Topology) -> None:
    plan = place_ranks(server, 4, gpus=spread(server, range(8))[:4], cpus=cpus_of(server))
    assert [(place.gpus, place.node) for place in plan.places] == [((2,), 1), ((0,), 3), ((6,), 5), ((4,), 7)]
    assert plan.places[0].cpus == (4, 5, 6, 7, 36, 37, 38, 39)  # physical cores first
    assert plan.remarks == ()


def test_two_ranks_share_a_socket_s_gpus_each(server: Topology) -> None:
    plan = place_ranks(server, 2, gpus=range(8), cpus=cpus_of(server))
    assert [place.gpus for place in plan.places] == [(2, 3, 0, 1), (6, 7, 4, 5)]
    assert [place.node for place in plan.places] == [None, None]  # two nodes each: memory is not bound to one
    assert not set(plan.places[0].cpus) & set(plan.places[1].cpus)


def test_several_ranks_on_one_gpu_share_its_node(server: Topology) -> None:
    plan = place_ranks(server, 4, gpus=[5], cpus=cpus_of(server))
    assert [place.gpus for place in plan.places] == [(5,)] * 4
    assert [place.cpus for place in plan.places] == [(28, 60), (29, 61), (30, 62), (31, 63)]
    assert {place.node for place in plan.places} == {7}


def test_more_ranks_than_cores_take_hyper_threads_then_share(server: Topology) -> None:
    eight = place_ranks(server, 8, gpus=[5], cpus=cpus_of(server))
    assert [place.cpus for place in eight.places] == [(28,), (29,), (30,), (31,), (60,), (61,), (62,), (63,)]
    nine = place_ranks(server, 9, gpus=[5], cpus=cpus_of(server))
    assert {place.cpus for place in nine.places} == {(28, 29, 30, 31, 60, 61, 62, 63)}
    assert "9 ranks share the 8 CPUs of node 7" in nine.remarks[0]


def test_unknown_nodes_are_said_and_cores_shared_out(tmp_path: Path) -> None:
    machine = topology(dgx(tmp_path, told=False))
    plan = place_ranks(machine, 2, gpus=[0, 1], cpus=cpus_of(machine))
    assert "GPU 0: its node is unknown" in plan.remarks[0]
    assert "! GPU 0" in str(plan)
    assert [len(place.cpus) for place in plan.places] == [32, 32]
    assert not set(plan.places[0].cpus) & set(plan.places[1].cpus)


@pytest.mark.parametrize("name", ["one_node_arm", "two_nodes_xeon", "four_nodes_xeon", "eight_nodes_opteron"])
@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 7, 8])
def test_cores_of_recorded_machines_are_shared_out_evenly_and_once(name: str, ranks: int, tmp_path: Path) -> None:
    machine = topology(unpack(name, tmp_path))
    plan = place_ranks(machine, ranks, cpus=cpus_of(machine))
    given_out = [cpu for place in plan.places for cpu in place.cpus]
    assert len(given_out) == len(set(given_out)) == len(cpus_of(machine)) or ranks in (3, 7)
    assert len(given_out) == len(set(given_out))
    for place in plan.places:
        nodes = {core.node for core in machine.cores if set(core.cpus) & set(place.cpus)}
        assert place.cpus
        assert (place.node is None) == (len(nodes) > 1)
        assert place.node is None or nodes == {place.node}


@given(
    ranks=st.integers(1, 20),
    nodes=st.integers(1, 5),
    cores=st.integers(1, 6),
    threads=st.integers(1, 2),
    gpu_nodes=st.lists(st.one_of(st.none(), st.integers(0, 4)), max_size=6),
    limit=st.integers(0, 3),
)
def test_no_core_is_given_twice_unless_there_are_too_few(
    ranks: int, nodes: int, cores: int, threads: int, gpu_nodes: list[int | None], limit: int
) -> None:
    machine = Topology(
        cores=tuple(
            Core(cpus=tuple(c + t * nodes * cores for t in range(threads)), node=c // cores, socket=0)
            for c in range(nodes * cores)
        ),
        nodes=tuple(range(nodes)),
        devices=tuple(PciDevice(kind="gpu", name=str(i), node=node) for i, node in enumerate(gpu_nodes)),
    )
    plan = place_ranks(machine, ranks, gpus=range(len(gpu_nodes)), cpus=cpus_of(machine), cores=limit)
    assert [place.rank for place in plan.places] == list(range(ranks))
    assert all(place.cpus and set(place.cpus) <= cpus_of(machine) for place in plan.places)
    given_out = [cpu for place in plan.places for cpu in place.cpus]
    shared = any("share the" in remark for remark in plan.remarks)
    assert len(given_out) == len(set(given_out)) or shared
    if gpu_nodes:
        assert {gpu for place in plan.places for gpu in place.gpus} == set(range(len(gpu_nodes)))
    if limit and not shared:
        assert all(len(place.cpus) <= limit * threads for place in plan.places)


def test_the_table_says_what_each_rank_gets(server: Topology) -> None:
    lines = str(place_ranks(server, 2, gpus=[0, 4], cpus=cpus_of(server))).splitlines()
    assert lines[0].split("  ")[0] == "rank"
    assert lines[1].split() == ["0", "0", "12-15,44-47", "3", "–"]
    assert str(Place(rank=1, gpus=(1,), cpus=(8, 9, 11), node=1)) == "rank 1 (GPU 1, CPUs 8-9,11, node 1)"


@pytest.fixture
def plan(server: Topology) -> Placement:
    return place_ranks(server, 2, gpus=[0, 4], cpus=cpus_of(server))


def change(plan: Placement, server: Topology, *lines: str) -> Placement:
    return overridden(plan, lines, server, cpus_of(server))


def test_a_line_overrides_one_rank_of_one_plan(plan: Placement, server: Topology) -> None:
    changed = change(
        plan, server, "ranks=2 rank=1 gpus=6 cpus=20-23 node=5 data=/dev/shm/mine", "ranks=4 rank=0 node=9"
    )
    assert changed.places[0] == plan.places[0]
    assert changed.places[1] == Place(rank=1, ranks=2, gpus=(6,), cpus=(20, 21, 22, 23), node=5, folder="/dev/shm/mine")
    assert change(plan, server, "rank=0 node=").places[0].node is None
    assert change(plan, server, "rank=0 cpus=").places[0].cpus == ()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("rank=0 cpu=3", "'cpu' is no key"),
        ("cpus=3", "names no rank"),
        ("", "names no rank"),
        ("rank=0 cpus=a-b", "0-3,8"),
        *[(f"rank={rank} cpus=3", "no number") for rank in ("one", "-1", "²", "1.5", "1_0", "9" * 5000, "0-1")],
        *[(f"rank=0 node={node}", "no number") for node in ("x", "-1", "0-1", "²", "9" * 9)],
        *[(f"rank=0 ranks={ranks} node=1", "no number") for ranks in ("x", "1,2")],
        *[(f"rank=0 cpus={cpus}", "each once") for cpus in ("3-1", "1-2-3", "1,,2", "1,1", "1-3,2", "-1", ",", "²")],
        *[(f"rank=0 gpus={gpus}", "each once") for gpus in ("0,0", "GPU-1", "1;2")],
        ("rank=0 cpus=99999999999", "99999999999 is no number from 0 to 8191"),
        *[(f"rank=0 {word}", "has no value") for word in ("cpus", "node", "gpus=", "data=", "ranks=")],
        ("rank= cpus=3", "rank has no value"),
        ("rank=0 rank=1 cpus=3", "rank stands there twice"),
        ("rank=0 cpus=1 cpus=2", "cpus stands there twice"),
        ("rank=0", "it sets nothing"),
        ("rank=0 ranks=2", "it sets nothing"),
        ("rank=0 =3", "'' is no key"),
        *[(f"rank=0 data={url}", "data is a URL") for url in ("http://a/b", "s3://bucket/x", "file:///tmp")],
        ("rank=0 cpus=900", "cpus 900 is not to be had here, 0-63 is"),
        ("rank=0 gpus=8", "gpus 8 is not to be had here, 0-7 is"),
        ("rank=0 node=8", "node 8 is not to be had here"),
        ("rank=0 cpus=28", "gives CPU 28 to ranks 0 and 1"),
    ],
)
def test_a_line_that_makes_no_sense_is_refused(line: str, told: str, plan: Placement, server: Topology) -> None:
    with pytest.raises(ParameterError) as caught:
        change(plan, server, line)
    assert told in str(caught.value)


@given(st.sets(st.integers(0, 300)))
def test_ranges_are_what_the_kernel_writes(cpus: set[int]) -> None:
    assert cpu_list(cpu_ranges(cpus)) == sorted(cpus)
