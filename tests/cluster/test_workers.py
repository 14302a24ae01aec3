"""Nodes are found, compared and planned for before anything runs; what is wrong is said with a node's name."""

import os
import signal
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("distributed", reason="pip install 'inferkit[cluster]'")

from inferkit.cluster import workers as workers_module
from inferkit.cluster.node import NodeRanks
from inferkit.cluster.planning import OWN
from inferkit.cluster.workers import Nodes
from inferkit.errors import InferkitError, ParameterError
from inferkit.measure.measure import measure
from inferkit.ranks.launch import RankFailure
from inferkit.records.figures import Json
from inferkit.records.job import CopyJob, DeviceOptions, reading_of
from inferkit.records.params import MultiProcess
from inferkit.records.place import Place
from inferkit.records.run import Run
from inferkit.records.windows import Window
from tests.cluster.conftest import PATIENCE_S, Started
from tests.conftest import write_dataset
from tests.processes import alive, wait_for

pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.xdist_group("cluster")]  # Dask's own warnings


def test_two_nodes_measure_as_one_and_compare_with_one(cluster: Started) -> None:
    with Nodes(cluster.asked(nodes=0, node_counts=[1, 2])).connect() as nodes:
        plan = nodes.plan()
        assert [(point.measure, point.axes["nodes"], len(point.jobs)) for point in plan.points] == [
            *(("read", 1, 1), ("copy", 1, 1), ("pipeline", 1, 1)),
            *(("read", 2, 2), ("copy", 2, 2), ("pipeline", 2, 2)),
        ]
        assert all(own.axes["nodes"] == point.axes["nodes"] for point in plan.points for own in point.ceilings.values())
        (run,) = measure(replace(plan, points=plan.points[3:4]), None, nodes.start)
    assert run.failure is None
    assert (run.notebook, run.measure, run.point["nodes"], run.scope) == ("03d", "read", 2, "server")
    assert run.measured is not None
    rates = [node["rate"] for node in run.facts["nodes"]]
    assert sum(rates) == pytest.approx(run.measured.images_per_s, rel=0.01)
    assert all(error > 0 for node in run.facts["nodes"] for error in node["clock_error_s"])
    assert Run.from_dict(run.to_dict()).facts["group"] == run.to_dict()["facts"]["group"]


def test_a_rank_that_is_lost_is_named_with_its_node_and_no_other_is_left(cluster: Started) -> None:
    base = CopyJob(window=Window(warmup_s=600.0), device=DeviceOptions(), nbytes=65536, host_memory="pageable")
    with Nodes(cluster.asked()).connect() as nodes:
        jobs = [base.changed(place=Place(rank=rank, ranks=2, host=node.name)) for rank, node in enumerate(nodes.nodes)]
        with nodes.start(jobs) as fleet:
            pids = [pid for rank in fleet.ranks if isinstance(rank, NodeRanks) for pid in rank.pids]
            os.kill(pids[1], signal.SIGKILL)
            with pytest.raises(
                RankFailure, match=r"^node \S+#2: rank 1: .* was killed by SIGKILL .*others were stopped"
            ):
                fleet.result(PATIENCE_S)
        wait_for(lambda: not any(map(alive, pids)), PATIENCE_S)


def test_every_image_is_read_by_one_rank_of_one_node(cluster: Started) -> None:
    with Nodes(cluster.asked(ranks=[2])).connect() as nodes:
        (read, *_) = nodes.plan().points
    places = [job.place for job in read.jobs if job.place]
    assert [(place.host.partition("#")[2], place.rank, place.ranks) for place in places] == [
        *(("", 0, 4), ("", 1, 4)),
        *(("2", 2, 4), ("2", 3, 4)),
    ]
    folders = {Path(own.folder).parent.name for job in read.jobs if (own := reading_of(job))}
    assert folders == {"node0", "node1"}  # each its own copy


def refused(cluster: Started, told: str, **changes: Any) -> None:
    with pytest.raises(InferkitError, match=told), Nodes(cluster.asked(**changes)) as nodes:
        nodes.connect().plan()


def test_workers_of_one_host_are_one_node_unless_it_is_asked_for(cluster: Started) -> None:
    refused(cluster, r"^1 of 2 nodes came .*2 workers share hosts: start one on each", same_host=False, wait_s=0.1)


def test_who_has_come_is_said_where_some_are_missing(cluster: Started) -> None:
    refused(
        cluster, r"^2 of 3 nodes came to .* within 0 s: tcp://\S+, tcp://\S+\. Look at the jobs", nodes=3, wait_s=0.1
    )


def test_a_node_that_cannot_see_the_data_is_named(cluster: Started) -> None:
    here = cluster.folder / "node0" / "here only"
    here.symlink_to(cluster.folder / "node0" / "tensors")
    refused(cluster, r"^node \S+: .*node1/here only holds no data set", data="here only")


def test_another_data_set_is_refused_by_name(cluster: Started) -> None:
    for node, files in ((0, (5, 3)), (1, (5, 4))):
        write_dataset(cluster.folder / f"node{node}" / "other", files)
    refused(cluster, r"^node \S+#2: the data set is", data="other", dtype="uint8", shape=[3, 5, 7])


def test_nodes_of_different_size_need_ranks(cluster: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    with Nodes(cluster.asked()).connect() as nodes:
        one, two = (node.answer(node.tell("plan", params_of(nodes))) for node in nodes.nodes)
        del two.points[1:]
        monkeypatch.setattr("inferkit.cluster.planning._each", lambda *_: [one, two])
        with pytest.raises(ParameterError, match=r"^only node \S+ would measure copy .*nodes differ in CPUs or GPUs"):
            nodes.plan()


def params_of(nodes: Nodes) -> Json:
    return MultiProcess.model_validate(nodes.params.model_dump(exclude=OWN))


def test_another_version_is_refused_by_name(cluster: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    made = workers_module.Nodes._node

    found: list[Any] = []

    def other(nodes: Nodes, address: str) -> Any:
        node = made(nodes, address)
        found.append(node)
        if len(found) == 2:
            host = node.about.host
            packages = {**host.packages, "numpy": "0.1"}
            node.about = replace(node.about, host=host.model_copy(update={"packages": packages}))
        return node

    monkeypatch.setattr(workers_module.Nodes, "_node", other)
    refused(cluster, r"^node \S+#2: the version of numpy is \S+, but \S+ on node \S+: install the same")


def test_no_scheduler_is_said_at_once(tmp_path: Path, cluster: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers_module, "CONNECT_S", 0.5)
    refused(cluster, r"^scheduler is empty", scheduler="")
    nothing = str(tmp_path / "nothing.json")
    refused(cluster, r"^scheduler: .*nothing\.json is no file, or empty, after 0 s", scheduler=nothing, wait_s=0.1)
    refused(cluster, r"^scheduler tcp://127\.0\.0\.1:9 cannot be reached", scheduler="tcp://127.0.0.1:9")


def test_a_scheduler_s_file_is_waited_for(cluster: Started, tmp_path: Path) -> None:
    late = tmp_path / "late.json"
    late.touch()  # Dask opens it, and writes then
    threading.Timer(0.5, late.write_text, [cluster.file.read_text()]).start()
    with Nodes(cluster.asked(scheduler=str(late), nodes=1)).connect() as nodes:
        assert len(nodes.nodes) == 1


@pytest.mark.slow
def test_a_local_cluster_serves_as_well(cluster: Started) -> None:
    from distributed import LocalCluster

    options: dict[str, Any] = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None}
    data = str(cluster.folder / "node0" / "tensors")
    with LocalCluster(processes=False, **options) as local:
        asked = cluster.asked(scheduler=local.scheduler_address, nodes=1, data=data, wait_s=PATIENCE_S)
        with Nodes(asked).connect() as nodes:
            plan = nodes.plan()
            (run,) = measure(replace(plan, points=plan.points[:1]), None, nodes.start)
    assert (run.measure, run.failure) == ("read", None)
