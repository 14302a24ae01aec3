"""Whatever becomes of a node, of the scheduler or of the notebook: it is said, and no rank is left."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("distributed", reason="pip install 'inferkit[cluster]'")

from inferkit.cluster.fleet import Fleet
from inferkit.cluster.node import NodeRanks
from inferkit.cluster.workers import Nodes
from inferkit.errors import ParameterError, RankError
from inferkit.measure.measure import measure
from inferkit.ranks.launch import RankFailure
from inferkit.records.job import CopyJob, DeviceOptions, Job
from inferkit.records.place import Place
from inferkit.records.project import PACKAGE
from inferkit.records.windows import Window
from tests.cluster.conftest import PATIENCE_S, Started
from tests.cluster.slow_link import slow_link
from tests.processes import alive, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]  # Dask's own

LONG = Window(warmup_s=600.0)
SHORT = Window(warmup_s=0.05, duration_s=0.1, repeats=1)


@pytest.fixture
def single(tmp_path: Path) -> Iterator[Started]:
    """Give a scheduler and one worker, beside which a test starts another."""
    with ExitStack() as stack:
        started = Started(tmp_path, stack)
        started.worker()
        yield started


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Started]:
    """Give a scheduler and two workers that a test may kill."""
    with ExitStack() as stack:
        started = Started(tmp_path, stack)
        started.worker()
        started.worker()
        yield started


def copying(nodes: Nodes, window: Window = LONG) -> list[Job]:
    base = CopyJob(window=window, device=DeviceOptions(), nbytes=65536, host_memory="pageable")
    places = [Place(rank=rank, ranks=2, host=node.name) for rank, node in enumerate(nodes.nodes)]
    return [base.changed(place=place) for place in places]


def members(fleet: Fleet) -> list[NodeRanks]:
    return [rank for rank in fleet.ranks if isinstance(rank, NodeRanks)]


def fails(fleet: Fleet, told: str) -> None:
    with pytest.raises(RankFailure, match=told):
        fleet.result(PATIENCE_S)
    fleet.close()
    pids = [pid for member in members(fleet) for pid in member.pids]
    wait_for(lambda: not any(map(alive, pids)), PATIENCE_S)


def worker_of(started: Started, fleet: Fleet, index: int) -> int:
    """Return the worker's process whose rank a node's is."""
    (pid,) = members(fleet)[index].pids
    parent = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    assert parent in [worker.pid for worker in started.workers]
    return parent


def measuring(fleet: Fleet) -> None:
    wait_for(fleet.ready, PATIENCE_S)
    fleet.start()
    wait_for(lambda: fleet.progress is not None, PATIENCE_S)


def kill_worker(started: Started, fleet: Fleet) -> None:
    os.kill(worker_of(started, fleet, 1), signal.SIGKILL)


def stop_worker(started: Started, fleet: Fleet) -> None:
    os.kill(worker_of(started, fleet, 1), signal.SIGSTOP)


def kill_rank(started: Started, fleet: Fleet) -> None:
    os.kill(members(fleet)[1].pid, signal.SIGKILL)


def test_a_worker_lost_before_the_start_is_named(own: Started) -> None:
    with Nodes(own.asked()).connect() as nodes, nodes.start(copying(nodes)) as fleet:
        kill_worker(own, fleet)
        wait_for(fleet.ready, PATIENCE_S)
        fails(fleet, r"^node \S+#2: is lost \(worker tcp://\S+\): .*; the others were stopped")


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (kill_rank, r"^node \S+#2: rank 1: .* was killed by SIGKILL"),
        (kill_worker, r"^node \S+#2: is lost"),
    ],
)
def test_what_is_lost_in_the_window_is_named(own: Started, fault: Callable[[Started, Fleet], None], told: str) -> None:
    with Nodes(own.asked()).connect() as nodes, nodes.start(copying(nodes)) as fleet:
        measuring(fleet)
        fault(own, fleet)
        fails(fleet, told)


def test_a_worker_that_hangs_is_lost(own: Started) -> None:
    with Nodes(own.asked()).connect() as nodes, nodes.start(copying(nodes)) as fleet:
        measuring(fleet)
        stop_worker(own, fleet)
        with pytest.raises(RankFailure, match=r"^node \S+#2: is lost .*it does not answer"):
            fleet.result(PATIENCE_S)
        pids = members(fleet)[1].pids
        for worker in own.workers:
            os.kill(worker.pid, signal.SIGCONT)
        wait_for(lambda: not any(map(alive, pids)), PATIENCE_S)


def test_a_worker_lost_between_two_points_is_named(own: Started) -> None:
    with Nodes(own.asked()).connect() as nodes:
        with nodes.start(copying(nodes, SHORT)) as fleet:
            measuring(fleet)
            worker = worker_of(own, fleet, 0)
            fleet.result(PATIENCE_S)
        os.kill(worker, signal.SIGKILL)
        with pytest.raises(RankError, match=r"^node \S+ is lost"):
            nodes.start(copying(nodes)).close()


def test_without_a_scheduler_every_node_ends_its_ranks_itself(own: Started) -> None:
    with Nodes(own.asked()).connect() as nodes, nodes.start(copying(nodes)) as fleet:
        measuring(fleet)
        own.scheduler.kill()
        fails(fleet, r"^node \S+: is (?:out of reach: the scheduler tcp://\S+ is gone|lost)")


def test_a_scheduler_lost_before_the_start_is_said(own: Started) -> None:
    with Nodes(own.asked()).connect() as nodes:
        own.scheduler.kill()
        own.scheduler.wait()
        with pytest.raises(RankError, match=r"^node \S+ is (?:out of reach: the scheduler tcp://\S+ is gone|lost)"):
            nodes.start(copying(nodes)).close()


def test_a_scheduler_lost_after_the_windows_takes_nothing_from_what_was_measured(own: Started) -> None:
    with Nodes(own.asked()).connect() as nodes, nodes.start(copying(nodes, SHORT)) as fleet:
        measuring(fleet)
        assert fleet.result(PATIENCE_S).measured is not None
        pids = [pid for member in members(fleet) for pid in member.pids]
        own.scheduler.kill()
    wait_for(lambda: not any(map(alive, pids)), PATIENCE_S)


def numpy_of_old(folder: Path) -> None:
    told = folder / "numpy-0.1.dist-info" / "METADATA"
    told.parent.mkdir()
    told.write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 0.1\n")


def inferkit_altered(folder: Path) -> None:
    shutil.copytree(PACKAGE, folder / "inferkit", ignore=shutil.ignore_patterns("__pycache__"))
    with (folder / "inferkit" / "stats.py").open("a") as file:
        file.write("# altered\n")


def inferkit_broken(folder: Path) -> None:
    (folder / "inferkit.py").write_text("raise ModuleNotFoundError('No module named inferkit')\n")


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (numpy_of_old, r"the version of numpy is \S+, but \S+ on node \S+: install the same"),
        (inferkit_altered, r"inferkit's own code is \w+, but \w+ on node \S+: install the same on every node"),
        (inferkit_broken, r"^worker tcp://\S+: this inferkit is not installed there \(No module named inferkit\)"),
    ],
)
def test_what_is_installed_otherwise_is_named(single: Started, fault: Callable[[Path], None], told: str) -> None:
    (first := single.folder / "first").mkdir()
    fault(first)
    single.worker(first=str(first))
    with pytest.raises(ParameterError, match=told), Nodes(single.asked()) as nodes:
        nodes.connect()


def test_a_clock_that_jumps_while_it_measures_makes_the_figure_invalid(single: Started) -> None:
    """A machine that is stopped or moved meanwhile: what its clock says after the windows is 3 s ahead."""
    (single.folder / "jump.py").write_text(
        "from time import monotonic_ns\n"
        "from inferkit.cluster import agent, clocks\n"
        "asked = iter(range(10**9))\n"
        "agent.monotonic_ns = lambda: monotonic_ns() + 3 * 10**9 * (next(asked) >= clocks.ROUNDS)\n"
    )
    single.worker("--preload", str(single.folder / "jump.py"))
    with Nodes(single.asked()).connect() as nodes:
        plan = nodes.plan()
        (run,) = measure(replace(plan, points=plan.points[:1]), None, nodes.start)
    assert run.verdict == "INVALID"
    assert any(re.match(r"the clock of node \S+#2 moved by 3\.0\d s against ours", text) for text in run.reasons)


def test_a_slow_link_delays_no_start_and_costs_overlap(own: Started) -> None:
    host, port = json.loads(own.file.read_text())["address"].removeprefix("tcp://").split(":")
    with slow_link(host, port, 0.3) as address:
        asked = own.asked(scheduler=f"tcp://{address}", duration_s=1.0)
        with Nodes(asked).connect() as nodes:
            plan = nodes.plan()
            (run,) = measure(replace(plan, points=plan.points[:1]), None, nodes.start)
    assert run.failure is None
    assert all(error >= 0.3 for node in run.facts["nodes"] for error in node["clock_error_s"])
    assert all(node["began_s"] < 0.3 for node in run.facts["nodes"])  # all heard of the start in time
    assert any(re.match(r"the clock of node \S+ is known to \S+ \S+ only", text) for text in run.warnings)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_no_rank_outlives_the_notebook(own: Started, how: signal.Signals) -> None:
    code = (
        "import sys, time; from inferkit.cluster.workers import Nodes\n"
        "from inferkit.records.params import Cluster\n"
        "from tests.cluster.test_faults import copying, measuring\n"
        "nodes = Nodes(Cluster.model_validate_json(sys.argv[1])).connect()\n"
        "with nodes, nodes.start(copying(nodes)) as fleet:\n"
        "    measuring(fleet); print(*[pid for own in fleet._members for pid in own.pids], flush=True)\n"
        "    fleet.result()\n"
    )
    command = [sys.executable, "-c", code, own.asked().model_dump_json()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as notebook:
        assert notebook.stdout is not None
        pids = list(map(int, notebook.stdout.readline().split()))
        assert len(pids) == 2
        assert all(map(alive, pids))
        notebook.send_signal(how)
        wait_for(lambda: not any(map(alive, pids)), PATIENCE_S)
        notebook.kill()
    with Nodes(own.asked()).connect() as nodes, nodes.start(copying(nodes)) as fleet:  # the workers serve the next
        measuring(fleet)
