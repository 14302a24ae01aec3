"""What acts on a node for the notebook: a Dask actor in a worker. It plans and starts ranks as the node does alone.

Whatever becomes of the notebook, the scheduler or the network, the ranks end: with the worker's process, by the kernel,
and when the agent has heard nothing for :data:`LEASE_S`.
"""

import os
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import monotonic, monotonic_ns, sleep

import xxhash

from inferkit.dataset.tensors import Dataset
from inferkit.errors import InferkitError
from inferkit.linux.procfs import ROOT, text
from inferkit.machine.facts import facts
from inferkit.plan.build import plan
from inferkit.plan.fingerprint import code_digest
from inferkit.plan.points import Point
from inferkit.ranks.group import Group
from inferkit.records.host import Host
from inferkit.records.job import JOB
from inferkit.records.outcome import Outcome, RankProgress
from inferkit.records.params import MultiProcess
from inferkit.records.place import Placement

LEASE_S = 10.0
"""An agent that hears nothing for so long ends its ranks: the notebook is gone, or nobody reaches this node."""
LOOK_S = 0.1


@dataclass(frozen=True)
class About:
    """What a node is.

    Parameters
    ----------
    hostname, boot
        Its name, and what no other running system has.
    code
        The digest of inferkit's code there.
    """

    hostname: str
    boot: str
    code: str
    host: Host


@dataclass(frozen=True)
class NodePlan:
    """What a node would measure.

    Parameters
    ----------
    points
        As a single machine has them; the networks themselves stay there.
    data, models
        Digests of the data set's content, and of each point's network by the point's key: the same on all nodes.
    """

    points: list[Point]
    dataset: Dataset | None
    data: str
    models: dict[str, str]
    placements: list[Placement]
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """How far a node is; as of a group of ranks."""

    ready: bool
    note: str
    progress: RankProgress | None
    passed: bool
    outcome: Outcome | None = None
    lacking: tuple[str, ...] = ()


class Agent:
    """Acts on one node; whoever asks it is answered at once, but for plans, which may take minutes."""

    def __init__(self) -> None:
        self._group: Group | None = None
        self._heard = monotonic()

    def about(self) -> About:
        """Return what this node is."""
        boot = text(ROOT / "proc/sys/kernel/random/boot_id") or ""
        return About(socket.gethostname(), boot, code_digest(), facts())

    def clock(self) -> int:
        """Return ``CLOCK_MONOTONIC`` in nanoseconds."""
        return monotonic_ns()

    def plan(self, params: MultiProcess) -> NodePlan:
        """Plan this node's points: its topology, its ranks, its staged copies.

        Raises
        ------
        InferkitError
            If it cannot be done here.
        """
        seen = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        if params.device == "cuda" and not params.gpus and all(number.isdecimal() for number in seen):
            params = params.model_copy(update={"gpus": list(map(int, seen))})  # what Slurm gave to this worker
        found = plan(params)
        models = {point.key: point.network.file.digest for point in found.points if point.network}
        made: dict[int, Point] = {}
        return NodePlan(
            [_without_network(point, made) for point in found.points],
            found.dataset,
            _content(found.dataset),
            models,
            found.placements,
            found.remarks,
        )

    def prepare(self, jobs: Sequence[str]) -> list[int]:
        """Start the ranks of a point, after ending those of one before, and return their process ids.

        Raises
        ------
        RankFailure
            If one cannot be started.
        """
        self.close()
        self._heard = monotonic()
        self._group = Group([JOB.validate_json(job) for job in jobs], led=True)
        threading.Thread(target=self._watch, args=(self._group,), name="lease", daemon=True).start()
        return self._group.pids

    def start(self, at_ns: int, beside: Sequence[int]) -> None:
        """Let the clocks start at an instant on this node's clock."""
        self._own.start(at_ns, beside)

    def look(self) -> Report:
        """Tell how far the ranks are, and hear that somebody still wants them.

        Raises
        ------
        RankFailure
            If one failed: then all have been stopped.
        """
        self._heard = monotonic()
        group = self._own
        ready = group.ready()
        outcome = group.result() if group.answered() else None
        lacking = tuple(text for rank in group.ranks for text in rank.lacking)
        return Report(ready, group.note, group.progress, group.passed(), outcome, lacking)

    def finish(self) -> None:
        """Let the ranks end."""
        self._own.finish()

    def last_words(self) -> str:
        """Return the end of what each rank wrote to its standard error."""
        return self._own.last_words()

    def close(self) -> None:
        """Leave no rank behind."""
        if self._group is not None:
            self._group.close()
        self._group = None

    @property
    def _own(self) -> Group:
        if self._group is None:
            message = "no ranks were started here: the worker was started anew meanwhile"
            raise InferkitError(message)
        return self._group

    def _watch(self, group: Group) -> None:
        """End ranks that nobody asks about any longer."""
        while self._group is group:
            if monotonic() - self._heard > LEASE_S:
                group.stop()
                return
            sleep(LOOK_S)


def _without_network(point: Point, made: dict[int, Point]) -> Point:
    """Return a point that can travel: its network's files are this node's; points that are shared stay so."""
    if id(point) not in made:
        ceilings = {stage: _without_network(own, made) for stage, own in point.ceilings.items()}
        made[id(point)] = replace(point, network=None, ceilings=ceilings)
    return made[id(point)]


def _content(dataset: Dataset | None) -> str:
    """Return a digest of what a data set holds, wherever it lies: form, files, and the hashes of its images."""
    if dataset is None:
        return ""
    digest = xxhash.xxh3_128(repr((dataset.dtype, dataset.shape, dataset.encoded, dataset.files)).encode())
    hashes = None if dataset.encoded or not dataset.files else dataset.hashes()
    digest.update(b"" if hashes is None else hashes.tobytes())
    return digest.hexdigest()
