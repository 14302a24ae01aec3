"""What recorded machines tell, and what they do not."""

from pathlib import Path

import pytest

from inferkit.machine.topology import Core, PciDevice, allowed_cores, topology
from tests.machine import test_facts as test_host
from tests.machines import dgx, unpack, write


@pytest.mark.parametrize(
    ("name", "nodes", "sockets", "cores"),
    [
        ("one_node_arm", 1, 1, 20),
        ("two_nodes_xeon", 2, 2, 16),
        ("four_nodes_xeon", 4, 4, 40),
        ("eight_nodes_opteron", 8, 4, 32),
    ],
)
def test_recorded_machines(name: str, nodes: int, sockets: int, cores: int, tmp_path: Path) -> None:
    found = topology(unpack(name, tmp_path))
    assert found.nodes == tuple(range(nodes))
    assert len({core.socket for core in found.cores}) == sockets
    assert len(found.cores) == cores
    assert len({cpu for core in found.cores for cpu in core.cpus}) == cores
    assert {core.node for core in found.cores} == set(range(nodes))
    assert all(str(node) in str(found) for node in found.nodes)


def test_network_cards_and_disks_lie_where_the_bus_says(tmp_path: Path) -> None:
    found = {device.name: device for device in topology(unpack("two_nodes_xeon", tmp_path)).devices}
    assert found["eth0"] == PciDevice(
        kind="network", name="eth0", address="0000:02:00.0", node=0, bridges=("0000:00:01.1",)
    )
    assert (found["ib0"].node, found["ib0"].bridges) == (1, ("0000:80:02.2",))
    assert found["nvme0n1"].kind == "nvme"
    assert found["nvme0n1"].node is None  # the kernel says -1
    assert set(found) == {"eth0", "eth1", "ib0", "nvme0n1"}  # no bridges, tunnels, or the same card twice


def test_a_card_near_the_cpus_of_several_nodes_has_no_node(tmp_path: Path) -> None:
    """The firmware of this machine says node 2, while all CPUs are said to be local."""
    root = unpack("four_nodes_xeon", tmp_path)
    assert (root / "sys/devices/pci0000:40/0000:40:03.0/0000:43:00.0/numa_node").read_text() == "2"
    found = topology(root)
    assert {device.name: device.node for device in found.devices}["ib0"] is None
    assert found.unknown() == ["NUMA node of network eth0, eth1, eth2, eth3, ib0"]
    assert "node unknown: network eth0" in str(found)


def test_gpus_hyper_threads_and_switches(tmp_path: Path) -> None:
    found = topology(dgx(tmp_path))
    assert found.cores[0] == Core(cpus=(0, 32), node=0, socket=0)
    assert [found.gpus[gpu].node for gpu in range(8)] == [3, 3, 1, 1, 7, 7, 5, 5]
    assert found.gpus[4].bridges == ("0000:80:01.1", "0000:81:00.0")
    assert [found.socket_of(found.gpus[gpu].node) for gpu in (0, 7)] == [0, 1]
    assert found.unknown() == []


def test_a_virtual_machine_that_hides_its_gpus_reads_unknown(tmp_path: Path) -> None:
    found = topology(dgx(tmp_path, told=False))
    assert {device.node for device in found.devices} == {None}
    assert found.unknown() == ["NUMA node of gpu 0, 1, 2, 3, 4, 5, 6, 7"]
    assert str(found).splitlines()[-1].startswith("node unknown: gpu 0")


def test_one_node_is_no_reason_to_guess(tmp_path: Path) -> None:
    found = topology(test_host.unpack("vm.txt", tmp_path))
    assert found.nodes == (0,)
    assert found.gpus[0].node is None


def test_memory_without_cores_is_a_node(tmp_path: Path) -> None:
    found = topology(test_host.unpack("grace.txt", tmp_path))
    assert found.nodes == (0, 1)
    assert str(found).splitlines()[1] == "node 1, socket unknown: memory only"


def test_an_empty_root_tells_nothing(tmp_path: Path) -> None:
    found = topology(tmp_path)
    assert (found.cores, found.nodes, found.devices) == ((), (), ())
    assert found.unknown() == ["NUMA nodes: the kernel tells none"]
    assert allowed_cores(found, {3, 1}) == [Core(cpus=(1,)), Core(cpus=(3,))]


def test_cores_that_are_offline_do_not_count(tmp_path: Path) -> None:
    root = dgx(tmp_path, cores_per_node=1)
    write(root, "sys/devices/system/cpu/online", "0-6,8-14")
    assert {core.cpus[0] for core in topology(root).cores} == set(range(7))


def test_a_cpuset_takes_hyper_threads_and_cores_away(tmp_path: Path) -> None:
    found = allowed_cores(topology(dgx(tmp_path)), {0, 1, 33})
    assert [core.cpus for core in found] == [(0,), (1, 33)]


def test_this_machine() -> None:
    found = topology()
    assert found is topology()
    assert found.cores
