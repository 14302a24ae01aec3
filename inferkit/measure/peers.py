"""Peers beside points: another program and inferkit in alternation, each in a process of its own."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from inferkit.errors import PeerError, RankError
from inferkit.linux.page_cache import evict_all
from inferkit.measure import fio, nvbandwidth, trtexec
from inferkit.measure.metrics import measured_of
from inferkit.measure.watch import Again
from inferkit.objects.place import is_url
from inferkit.readers import READERS, find_dataset
from inferkit.readers.split import split
from inferkit.records.figures import Figure
from inferkit.records.groups import Beside, Parameters
from inferkit.records.job import CopyJob, InferJob, Job, ReadJob, device_of, short
from inferkit.records.outcome import Outcome
from inferkit.records.place import Place
from inferkit.records.run import Peer
from inferkit.stats import half_interval, paired_ratio

PAIRS = 3
"""Rounds of ours and the peer; our first is the measurement itself."""
LEAST_S = 0.5
"""fio 3.33 counts nothing in a tenth of a second."""
DEVICE = "device"
CEILING_BLOCK, CEILING_DEPTH, CEILING_JOBS = 2**20, 32, 4
"""Large blocks and a deep queue: what the device gives when nothing but itself is in the way."""

"""Measures jobs once more, in ranks of their own."""


@dataclass(frozen=True)
class Rival:
    """A peer that was found to do a point's work.

    Parameters
    ----------
    name, command
        As the record tells them.
    unit
        The field of a figure that both are compared by.
    turn
        Does the work once and returns what it reached, in that unit.
    """

    name: str
    command: str
    unit: Literal["images_per_s", "bytes_per_s"]
    turn: Callable[[], float]


class Peers:
    """Runs the peers that a notebook's parameters name, each beside the points that are its own kind of work.

    Parameters
    ----------
    params
        Of the notebook; some have no peers.
    """

    def __init__(self, params: Parameters) -> None:
        self._wanted = params.peer if isinstance(params, Beside) else []
        self._ceilings: dict[str, Peer] = {}

    def beside(self, jobs: Sequence[Job], outcome: Outcome, again: Again) -> list[Peer]:
        """Return what the peer reached beside a point, and the device's ceiling; or why there is none.

        Parameters
        ----------
        jobs, outcome
            What was measured, and the result.
        again
            Measures it again between the peer's turns.
        """
        job = jobs[0]
        name, rival_of = _PEERS.get(job.work, ("", None))
        if rival_of is None or name not in self._wanted:
            return []
        try:
            if len(jobs) > 1:
                message = f"{name} is one process, and these are {len(jobs)}: set ranks: [1]"
                raise PeerError(message)
            peer = alternate(rival_of(job, outcome), _rounds(job, outcome, again))
        except (PeerError, RankError) as error:  # our own figure stands without a peer's
            return [Peer(name=name, missing=str(error))]
        return [peer, self._ceiling(job, outcome)] if isinstance(job, ReadJob) else [peer]

    def _ceiling(self, job: ReadJob, outcome: Outcome) -> Peer:
        """Measure once per folder what the device gives."""
        if outcome.facts["storage"]["in_memory"]:
            return Peer(name=DEVICE, missing="the data lies in memory, which has no device")
        if job.reading.folder not in self._ceilings:
            self._ceilings[job.reading.folder] = _device(job)
        return self._ceilings[job.reading.folder]


def alternate(rival: Rival, rounds: Iterable[Figure]) -> Peer:
    """Let the peer do its turn right after each of our rounds, and compare.

    Returns
    -------
    peer
        Its mean over the rounds with its 95 % interval, and the ratio of the rounds.
    """
    ours, theirs = [], []
    for figure in rounds:
        ours.append(getattr(figure, rival.unit) or 0.0)
        theirs.append(rival.turn())
        if not 0 <= theirs[-1] < math.inf:
            message = f"{rival.name} says {theirs[-1]}, which is no rate"
            raise PeerError(message)
        if not theirs[-1]:
            message = f"{rival.name} reached nothing: let it run for longer (duration_s)"
            raise PeerError(message)
    ratio, low, high = paired_ratio(ours, theirs)
    return Peer(
        name=rival.name,
        command=rival.command,
        figure=_mean(rival.unit, theirs),
        ratio=ratio,
        interval=[low, high],
    )


def _mean(unit: str, values: Sequence[float]) -> Figure:
    turns = np.asarray(values, np.float64)
    mean = float(turns.mean())
    return Figure.model_validate({unit: mean, "half_width": half_interval(turns) / mean})


def _rounds(job: Job, outcome: Outcome, again: Again) -> Iterator[Figure]:
    """Yield our figure of each round, just before the peer's turn: of the last window of the measurement, then anew."""
    yield _last(job, outcome)
    for _ in range(PAIRS - 1):
        yield _last(job, again([short(job)]))


def _last(job: Job, outcome: Outcome) -> Figure:
    window = outcome.model_copy(update={"repeats": outcome.repeats[-1:], "measured": None})
    figure = measured_of(job, window)
    assert figure is not None
    return figure


def _nvbandwidth(job: CopyJob, _outcome: Outcome) -> Rival:
    task = nvbandwidth.task_of(job, _place(job))
    if why := nvbandwidth.missing():
        raise PeerError(why)
    return Rival(nvbandwidth.NAME, nvbandwidth.words(task), "bytes_per_s", lambda: nvbandwidth.run(task))


def _trtexec(job: InferJob, outcome: Outcome) -> Rival:
    task = trtexec.task_of(job, outcome.facts.get("engine", {}), _place(job))
    return Rival(task.program.name, trtexec.words(task), "images_per_s", lambda: trtexec.run(task))


def _place(job: Job) -> Place:
    """Return the place of a job's rank; of one that is not bound, the GPUs alone."""
    device = device_of(job)
    return job.place or Place(gpus=device.numbers if device and device.kind == "cuda" else ())


def _fio(job: ReadJob, _outcome: Outcome) -> Rival:
    capabilities = READERS[job.reading.reader].capabilities
    if capabilities.to_device:
        message = f"reader {job.reading.reader} fills a GPU's memory, fio the host's: compare with reader direct"
        raise PeerError(message)
    if not capabilities.has_ceiling or capabilities.decodes or is_url(job.reading.folder):
        does = "decodes" if capabilities.decodes else "reads objects" if capabilities.has_ceiling else "reads nothing"
        message = f"reader {job.reading.reader} {does}, which fio cannot do"
        raise PeerError(message)
    if why := fio.missing():
        raise PeerError(why)
    task = task_of(job)
    told, there = fio.told(task)
    if told < there and not task.direct:
        few = f"fio can be told {told} of {there} files, which the page cache would serve: make fewer, larger files"
        raise PeerError(few)
    if not task.direct and (twice := fio.read_twice(task)):
        message = f"fio would read {twice} twice, the second time from the page cache: make more files than threads"
        raise PeerError(message)
    name = "fio" if told == there else f"fio, {told} of {there} files"
    return Rival(name, fio.words(task), "bytes_per_s", lambda: run_task(task).bytes_per_s)


def task_of(job: ReadJob) -> fio.Task:
    """Return fio's share of a comparison: the same files per thread, blocks and reads in flight, the same caching.

    Both sides inherit this process's CPUs. A reader that drops pages behind each batch reads a cold file once; so does
    fio then.
    """
    dataset = find_dataset(job.reading)
    reader = READERS[job.reading.reader]
    largest = max(file.nbytes for file in dataset.files)
    block, depth = reader.reads_of(job.reading.batch_size * dataset.image_bytes, largest)
    return fio.Task(
        dataset=dataset,
        shares=split(
            [file.images for file in dataset.files], job.reading.threads, job.reading.split, seed=job.reading.seed
        ),
        nbytes=block,
        direct=reader.capabilities.passes_cache,
        runtime_s=max(LEAST_S, job.window.duration_s),
        engine="psync" if depth == 1 else "io_uring",
        depth=depth,
        once=job.reading.evict and reader.capabilities.can_evict,
    )


def run_task(task: fio.Task) -> fio.Result:
    """Run fio, after the files were dropped from the page cache where it is to read them cold."""
    if task.once:
        evict_all(task.dataset.path(k) for k in range(len(task.dataset.files)))
    return fio.run(task)


def _device(job: ReadJob) -> Peer:
    task = task_of(job.changed(reading=job.reading.changed(threads=CEILING_JOBS, split="uniform", reader="direct")))
    deep = fio.Task(task.dataset, task.shares, CEILING_BLOCK, True, task.runtime_s, "io_uring", CEILING_DEPTH)
    try:
        found = fio.run(deep)
        return Peer(name=DEVICE, command=fio.words(deep), figure=Figure(bytes_per_s=found.bytes_per_s))
    except PeerError as error:
        return Peer(name=DEVICE, missing=str(error))


_PEERS: dict[str, tuple[str, Callable[[Any, Outcome], Rival]]] = {
    "read": ("fio", _fio),
    "copy": ("nvbandwidth", _nvbandwidth),
    "infer": ("trtexec", _trtexec),
}
"""By the work of a job: the peer that does it, and what makes it ready for one; that raises PeerError if it cannot."""
