from collections.abc import Callable

import pytest

from inferkit.errors import ParameterError
from inferkit.machine.topology import Core, Topology
from inferkit.plan.copies import copy_points
from inferkit.plan.devices import chosen_gpus
from inferkit.plan.points import Point
from inferkit.records.host import Gpu, Host
from inferkit.records.job import CopyJob, DeviceOptions
from inferkit.records.params import HostToDevice

Machine = Callable[[int, int], None]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Pretend to be a machine with so many GPUs and NUMA nodes, of two hyper-threaded cores each."""

    def pretend(gpus: int, nodes: int) -> None:
        host = Host(gpus=[Gpu(index=index, name="GPU") for index in range(gpus)])
        cores = [Core(cpus=(2 * k, 2 * k + 1), node=k // 2) for k in range(2 * nodes)]
        monkeypatch.setattr("inferkit.plan.devices.facts", lambda: host)
        told = Topology(cores=tuple(cores), nodes=tuple(range(nodes)))
        monkeypatch.setattr("inferkit.plan.copies.topology", lambda: told)
        monkeypatch.setattr("inferkit.plan.copies.affinity", lambda: range(4 * nodes))
        monkeypatch.setattr("inferkit.plan.copies.memory_nodes", lambda: set(range(nodes)))
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    return pretend


def copied(point: Point) -> CopyJob:
    (job,) = point.jobs
    assert isinstance(job, CopyJob)
    return job


def by_node(points: list[Point]) -> list[Point]:
    return [point for point in points if "node" in point.axes]


def test_each_gpu_alone_and_all_at_once(machine: Machine) -> None:
    machine(2, 1)
    points, remarks = copy_points(HostToDevice(device="cuda", memories=["pinned", "mapped"], transfer_bytes=[1, 2]))
    assert remarks == ()
    assert [point.axes["gpu"] for point in points] == [0] * 4 + [1] * 4 + ["0+1"] * 4
    assert copied(points[-1]).device == DeviceOptions(kind="cuda", numbers=(0, 1))
    assert [copied(point).nbytes for point in points] == [1, 2] * 6
    assert all(copied(point).place is None for point in points)
    assert not by_node(points)


def test_each_gpu_with_each_node_in_a_process_bound_there(machine: Machine) -> None:
    machine(2, 4)
    params = HostToDevice(device="cuda", gpus=[1], directions=["in", "both"], transfer_bytes=[5, 9, 7])
    points = by_node(copy_points(params)[0])
    assert [(point.axes["direction"], point.axes["node"]) for point in points] == [
        (way, node) for way in ("in", "both") for node in range(4)
    ]
    for point in points:
        job, node = copied(point), point.axes["node"]
        assert (point.axes["gpu"], point.axes["memory"], point.axes["transfer_bytes"]) == (1, "pinned", 9)
        assert job.place is not None
        assert (job.place.gpus, job.place.node) == ((1,), node)
        assert job.place.cpus == tuple(range(4 * int(node), 4 * int(node) + 4))
        assert (job.nbytes, job.host_memory, job.direction) == (9, "pinned", point.axes["direction"])
        assert job.device.numbers == (0,)  # the rank sees no other
    assert len({point.key for point in points}) == 8


def test_nodes_without_usable_cores_or_memory_are_left_out_and_named(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(1, 4)
    monkeypatch.setattr("inferkit.plan.copies.affinity", lambda: range(12))  # no core of node 3
    monkeypatch.setattr("inferkit.plan.copies.memory_nodes", lambda: {0, 2, 3})
    points, remarks = copy_points(HostToDevice(device="cuda"))
    assert [point.axes["node"] for point in by_node(points)] == [0, 2]
    assert len(remarks) == 1
    assert remarks[0].startswith("NUMA node 1, 3: no copies from there")


def test_gpus_are_those_that_cuda_shows_unless_named(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine(4, 1)
    assert chosen_gpus("cuda", []) == [0, 1, 2, 3]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,0")
    assert chosen_gpus("cuda", []) == [2, 0]
    assert chosen_gpus("cuda", [1]) == [1]
    for hidden in ("GPU-260e6ed9", "", "-1", "9"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
        with pytest.raises(ParameterError, match=r"CUDA_VISIBLE_DEVICES is .*[Nn]ame those to use in gpus"):
            chosen_gpus("cuda", [])


def test_copies_within_the_host_have_no_gpu_to_be_near(machine: Machine) -> None:
    machine(0, 4)
    assert not by_node(copy_points(HostToDevice(device="cpu"))[0])


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"memories": ["pinned"]}, "device cpu has no pinned memory"),
        ({"directions": ["both"]}, "no memory of its own to copy back from"),
        ({"device": "cuda"}, "no NVIDIA GPU"),
    ],
)
def test_what_the_device_lacks_is_refused(machine: Machine, values: dict[str, object], told: str) -> None:
    machine(0, 1)
    with pytest.raises(ParameterError, match=told):
        copy_points(HostToDevice.check(values))
