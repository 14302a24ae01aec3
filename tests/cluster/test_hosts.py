"""Scheduler, workers and the run on machines of their own: data folders and links are theirs alone, and may be lost."""

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from time import sleep
from typing import Any

import pytest

pytest.importorskip("distributed", reason="pip install 'inferkit[cluster]'")

from inferkit.dataset.synthetic import make_synthetic
from inferkit.records.notebooks import read_notebook
from inferkit.records.params import MakeDataset
from inferkit.records.run import Run
from tests.cluster.conftest import PATIENCE_S, TINY
from tests.cluster.hosts import APART_S, Host, Network, missing
from tests.processes import alive, ranks_below, wait_for

WHY = missing()
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.skipif(bool(WHY), reason=WHY)]

MYSET = {"data": "tensors", "ranks": [1], "engines": ["null"], **TINY}
STAGED = "/dev/shm/inferkit-staged"
SMALL_SHM = "64k"


class Cluster:
    """A head, where scheduler and run are, and two nodes with a worker and a data set each, all of one folder."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        network = Network(folder, stack)
        self.file = folder / "scheduler.json"
        self.head = network.host("head")
        self.nodes = [network.host("one"), network.host("two", SMALL_SHM)]
        self.head.start("dask", "scheduler", "--scheduler-file", str(self.file), "--no-show")
        for node in self.nodes:
            make_synthetic(MakeDataset(data=str(node.folder / "tensors"), limit=200, shape=[3, 16, 16]))
        self.workers = [self._worker(node) for node in self.nodes]

    def _worker(self, node: Host) -> "subprocess.Popen[bytes]":
        options = ("--nthreads", "1", "--no-dashboard", "--local-directory", str(node.folder))
        return node.start("dask", "worker", "--scheduler-file", str(self.file), *options)

    def run(self, **changes: Any) -> "subprocess.Popen[bytes]":
        """Start a run on the head."""
        values = MYSET | {"scheduler": str(self.file), "wait_s": PATIENCE_S} | changes
        (self.head.folder / "myset.yaml").write_text(json.dumps(values))  # which is YAML
        return self.head.start("inferkit", "run", "myset.yaml", "--only", "03d")

    def ended(self, run: "subprocess.Popen[bytes]") -> tuple[list[Run], str]:
        """Wait for a run, and return its records and its words."""
        run.wait(4 * PATIENCE_S)
        newest = max(self.head.folder.rglob("03d_cluster.ipynb"), key=lambda path: path.stat().st_mtime)
        return read_notebook(newest), self.head.log("inferkit", "run").read_text()

    def ranks(self) -> list[int]:
        return [pid for worker in self.workers for pid in ranks_below(worker.pid)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Give machines that are as they were after each test."""
    with ExitStack() as stack:
        yield Cluster(tmp_path_factory.mktemp("hosts"), stack)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Cluster]:
    """Give machines whose links a test may cut."""
    with ExitStack() as stack:
        yield Cluster(tmp_path, stack)


def test_hosts_measure_each_from_its_own_folder_by_clocks_that_are_days_apart(cluster: Cluster) -> None:
    runs, words = cluster.ended(cluster.run(node_counts=[1, 2]))
    assert [(run.measure, run.point["nodes"]) for run in runs] == [
        *(("read", 1), ("copy", 1), ("pipeline", 1)),
        *(("read", 2), ("copy", 2), ("pipeline", 2)),
    ], words
    assert all(run.failure is None for run in runs), words
    one, two = runs[-1].facts["nodes"]
    assert (one["name"], two["name"]) == ("one", "two")
    assert [round(node["clock_offset_s"][0] / APART_S) for node in (one, two)] == [1, 2]
    assert not any("share memory" in text for run in runs for text in run.warnings)


def test_each_host_reads_the_copy_that_was_staged_on_it(cluster: Cluster) -> None:
    one, two = cluster.nodes
    assert one.run("inferkit", "dataset", "stage", "tensors").returncode == 0
    runs, words = cluster.ended(cluster.run(data=STAGED, nodes=1))
    assert runs[0].facts["ranks"][0]["folder"].startswith(STAGED), words
    refused = two.run("inferkit", "dataset", "stage", "tensors")
    assert refused.returncode == 2
    assert "the file system has" in refused.stderr
    (plan,), words = cluster.ended(cluster.run(data=STAGED, nodes=2))
    assert plan.failure is not None
    assert plan.failure.message.startswith(f"node two: data: {STAGED} holds no data set"), words


def measuring(cluster: Cluster, **changes: Any) -> tuple["subprocess.Popen[bytes]", list[int]]:
    """Start a run that measures for minutes, and return it and its ranks."""
    run = cluster.run(nodes=2, duration_s=300.0, **changes)
    wait_for(lambda: len(cluster.ranks()) == 2, PATIENCE_S)
    wait_for(lambda: "images/s" in cluster.head.log("inferkit", "run").read_text(), PATIENCE_S)
    return run, cluster.ranks()


def test_ctrl_c_ends_the_ranks_of_all_nodes_and_workers_stay(cluster: Cluster) -> None:
    run, ranks = measuring(cluster)
    for _ in range(2):  # the first would let the point be finished
        run.send_signal(signal.SIGINT)
        sleep(1)
    (stopped,), words = cluster.ended(run)
    assert (run.returncode, stopped.verdict) == (1, "FAILED"), words
    assert stopped.failure is not None
    assert stopped.failure.message == "stopped at once by the user"
    assert not any(map(alive, ranks))
    assert all(worker.poll() is None for worker in cluster.workers)


def test_a_link_that_is_lost_in_the_window_is_said_and_both_sides_end_their_ranks(own: Cluster) -> None:
    run, ranks = measuring(own)
    own.nodes[1].plug("down")
    runs, words = own.ended(run)
    wait_for(lambda: not any(map(alive, ranks)), PATIENCE_S)
    assert [run.verdict for run in runs] == ["FAILED"] * 3, words
    told = [run.failure.message for run in runs if run.failure]
    assert re.match(r"node two: is lost \(worker tcp\S+\): it does not answer; the others were stopped", told[0]), words
    assert all(re.match(r"node two is lost \(worker tcp\S+\): it does not answer", message) for message in told[1:])


def test_a_head_that_is_cut_off_says_so_and_no_node_goes_on(own: Cluster) -> None:
    run, ranks = measuring(own)
    own.head.plug("down")
    wait_for(lambda: not any(map(alive, ranks)), PATIENCE_S)  # by themselves: nobody reaches them
    runs, words = own.ended(run)
    assert [run.verdict for run in runs] == ["FAILED"] * 3, words
    assert all(run.failure and "is lost" in run.failure.message for run in runs)
