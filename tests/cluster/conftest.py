"""A scheduler and its workers are real processes here, each worker in a work folder of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from inferkit.dataset.synthetic import make_synthetic
from inferkit.records.params import Cluster, MakeDataset
from tests.processes import alive, wait_for

PATIENCE_S = 120.0
TINY: dict[str, Any] = {"warmup_s": 0.1, "duration_s": 0.2, "repeats": 1, "batch_sizes": [4], "threads": [1]}


class Started:
    """A scheduler, and the workers that were started for it."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self._stack = folder, stack
        self.file = folder / "scheduler.json"
        self.workers: list[subprocess.Popen[bytes]] = []
        self.scheduler = self._run("dask_scheduler", "--port", "0", "--dashboard-address", ":0", "--no-show")
        wait_for(self.file.exists, PATIENCE_S)

    def _run(self, program: str, *words: str, cwd: Path | None = None, first: str = "") -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.{program}", "--scheduler-file", str(self.file), *words]
        log = self._stack.enter_context((self.folder / f"{program}.log").open("ab"))
        path = os.pathsep.join(
            filter(None, [first, os.environ.get("PYTHONPATH"), os.fspath(Path(__file__).parents[2])])
        )
        environment = {**os.environ, "PYTHONPATH": path}
        started = subprocess.Popen(command, cwd=cwd or self.folder, env=environment, stdout=log, stderr=log)
        self._stack.callback(self._end, started)
        return started

    def worker(self, *words: str, first: str = "") -> Path:
        """Start a worker, and return its work folder, which holds a small data set.

        Parameters
        ----------
        words
            More options of ``dask worker``.
        first
            A folder in which it looks for packages before all others.
        """
        folder = self.folder / f"node{len(self.workers)}"
        make_synthetic(MakeDataset(data=str(folder / "tensors"), limit=40, shape=[3, 16, 16], images_per_file=9))
        options = ("--no-nanny", "--no-dashboard", "--nthreads", "1", "--local-directory", str(folder))
        self.workers.append(self._run("dask_worker", *options, *words, cwd=folder, first=first))
        return folder

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        if alive(process.pid):
            os.kill(process.pid, signal.SIGCONT)
        process.kill()
        process.wait()

    def asked(self, **changes: Any) -> Cluster:
        """Return parameters for both workers, which share this host."""
        values = {"scheduler": str(self.file), "same_host": True, "nodes": 2, "wait_s": PATIENCE_S, "data": "tensors"}
        return Cluster.check({**values, "ranks": [1], "engines": ["null"], **TINY, **changes})


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    """Give a scheduler with two workers, which a module shares."""
    with ExitStack() as stack:
        started = Started(tmp_path_factory.mktemp("cluster"), stack)
        started.worker()
        started.worker()
        yield started
