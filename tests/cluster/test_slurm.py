"""The batch script of docs/cluster.md, run by a real Slurm: a controller and two nodes of its own on this machine."""

import os
import pwd
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

pytest.importorskip("distributed", reason="pip install 'inferkit[cluster]'")

from inferkit.dataset.synthetic import make_synthetic
from inferkit.linux.parent import leashed
from inferkit.records.notebooks import read_notebook
from inferkit.records.params import MakeDataset
from tests.cluster.conftest import PATIENCE_S
from tests.processes import wait_for

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "srun", "scontrol", "sinfo")
SEARCHED = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"], "/usr/sbin", "/sbin"])
MISSING = [program for program in PROGRAMS if shutil.which(program, path=SEARCHED) is None]
DOCUMENT = Path(__file__).parents[2] / "docs" / "cluster.md"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(MISSING), reason=f"no {', '.join(MISSING)}: apt install slurm-wlm"),
]

CONFIGURATION = """
ClusterName=inferkit
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmdSpoolDir={folder}/%n
StateSaveLocation={folder}/state
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
MailProg=/bin/true
ProctrackType=proctrack/linuxproc
TaskPlugin=task/affinity
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
KillWait=20
NodeName=one,two NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]},{ports[2]} CPUs={cpus}
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
"""Task affinity is on, as it is where nodes are shared: `srun` then binds a task to a core unless it is told not to."""


class Slurm:
    """A controller and two nodes, and the folder of a project from which jobs are submitted."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.project = folder / "project"
        self.environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf"), "PATH": SEARCHED}
        self.environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
        for name in ("state", "one", "two", "project/parameters"):
            (folder / name).mkdir(parents=True)
        values = {"host": socket.gethostname().partition(".")[0], "user": user(), "cpus": os.cpu_count()}
        written = CONFIGURATION.format(folder=folder, ports=free_ports(3), **values)
        (folder / "slurm.conf").write_text(written)
        for name, words in (("slurmctld", ["-c"]), ("one", ["-N", "one"]), ("two", ["-N", "two"])):
            program = "slurmctld" if name == "slurmctld" else "slurmd"
            log = stack.enter_context((folder / f"{name}.log").open("wb"))
            command = leashed([shutil.which(program, path=SEARCHED) or program, "-D", *words])
            started = stack.enter_context(subprocess.Popen(command, env=self.environment, stdout=log, stderr=log))
            stack.callback(started.terminate)
        stack.callback(self._end_jobs)
        wait_for(lambda: self.ask("sinfo", "-h", "-o", "%T %D").strip() == "idle 2", PATIENCE_S)

    def ask(self, *words: str) -> str:
        done = subprocess.run(
            words, check=False, capture_output=True, text=True, env=self.environment, cwd=self.project
        )
        return done.stdout + done.stderr

    def submit(self, script: str) -> tuple[str, Path]:
        """Submit a script for two nodes; return the job's number, and the file that its output goes to."""
        (self.project / "job.sh").write_text(script)
        job = self.ask("sbatch", "--parsable", "--nodes=2", "job.sh").strip()
        assert job.isdecimal(), job
        return job, self.project / f"slurm-{job}.out"

    def state(self, job: str) -> str:
        found = re.search(r"JobState=(\w+)", self.ask("scontrol", "show", "job", job))
        return found[1] if found else ""

    def ended(self, job: str) -> bool:
        return self.state(job) not in {"PENDING", "CONFIGURING", "RUNNING", "COMPLETING"}

    def left(self) -> list[str]:
        """Return the command lines of all that was started by a job here."""
        mark = f"SLURM_CONF={self.environment['SLURM_CONF']}".encode()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                environment = (process / "environ").read_bytes().split(b"\0")
                if mark in environment and any(own.startswith(b"SLURM_JOB_ID=") for own in environment):
                    found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:  # it has ended
                continue
        return found

    def _end_jobs(self) -> None:
        self.ask("scancel", "--signal=KILL", "--full", "--user", user())
        wait_for(lambda: not self.left(), PATIENCE_S)


def user() -> str:
    return pwd.getpwuid(os.getuid()).pw_name


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        opened = [stack.enter_context(socket.socket()) for _ in range(count)]
        for own in opened:
            own.bind(("127.0.0.1", 0))
        return [own.getsockname()[1] for own in opened]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """Give a Slurm of two nodes, whose project has a small data set and the parameter file that the document names."""
    with ExitStack() as stack:
        found = Slurm(tmp_path_factory.mktemp("slurm"), stack)
        make_synthetic(MakeDataset(data=str(found.project / "tensors"), limit=40, shape=[3, 16, 16]))
        yield found


MYSET = """
data: tensors
ranks: [1]
engines: ["null"]
threads: [1]
batch_sizes: [4]
warmup_s: 0.1
duration_s: {seconds}
repeats: 2
same_host: true  # both nodes are this host, which a user of Slurm does not need
"""


def documented() -> str:
    """Return the script, as it stands in the document."""
    (script,) = re.findall(r"^```bash\n(#!/bin/bash\n.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    return str(script)


def submitted(slurm: Slurm, seconds: float) -> tuple[str, Path]:
    (slurm.project / "parameters" / "myset.yaml").write_text(MYSET.format(seconds=seconds))
    return slurm.submit(documented())


def executed(slurm: Slurm) -> Path:
    """Return the notebook of the last job."""
    return max((slurm.project / "runs").rglob("03d_cluster.ipynb"), key=lambda path: path.stat().st_mtime)


def test_the_documented_script_measures_with_all_nodes_of_the_job(slurm: Slurm) -> None:
    job, output = submitted(slurm, 0.2)
    wait_for(lambda: slurm.ended(job), 4 * PATIENCE_S)
    runs = read_notebook(executed(slurm))
    assert all(run.failure is None for run in runs), output.read_text()
    assert [(run.measure, run.point["nodes"]) for run in runs] == [
        *(("read", 1), ("copy", 1), ("pipeline", 1)),
        *(("read", 2), ("copy", 2), ("pipeline", 2)),
    ]
    assert [node["name"].partition("#")[2] for node in runs[-1].facts["nodes"]] == ["", "2"]
    assert any("2 nodes are workers on 1 machine" in text for text in runs[-1].warnings)
    used = {tuple(rank["found"]["cpus"]) for rank in runs[-1].facts["ranks"]}
    assert used == {
        tuple(sorted(os.sched_getaffinity(0)))
    }  # all cores of the node, not the one that srun would bind to
    wait_for(lambda: not slurm.left(), PATIENCE_S)
    assert not list(slurm.project.glob("scheduler-*"))


def test_a_job_that_is_cancelled_leaves_nothing(slurm: Slurm) -> None:
    job, output = submitted(slurm, 300.0)
    wait_for(lambda: any("inferkit.ranks." in line for line in slurm.left()), 2 * PATIENCE_S)
    slurm.ask("scancel", job)
    wait_for(lambda: slurm.ended(job) and not slurm.left(), PATIENCE_S)
    assert slurm.state(job) == "CANCELLED"
    assert "the notebook's kernel died by SIGTERM" in output.read_text()
    assert executed(slurm).is_file()
    assert not list(slurm.project.glob("scheduler-*"))
