"""A peer beside a point: fio and the reader in alternation, each in a process of its own."""

from collections.abc import Callable, Iterator
from statistics import median

from inferkit.errors import ReadError
from inferkit.linux.page_cache import evict_all
from inferkit.measure import fio
from inferkit.readers import READERS, find_dataset
from inferkit.readers.split import split
from inferkit.records.figures import Figure, figure_of
from inferkit.records.job import Job, Outcome, ReadJob, short
from inferkit.records.params import StorageToHost
from inferkit.records.run import Peer
from inferkit.stats import paired_ratio

PAIRS = 3
"""Rounds of reader and peer; the reader's first is the measurement itself."""
LEAST_S = 0.5
"""fio 3.33 counts nothing in a tenth of a second."""
DEVICE = "device"
CEILING_BLOCK, CEILING_DEPTH, CEILING_JOBS = 2**20, 32, 4
"""Large blocks and a deep queue: what the device gives when nothing but itself is in the way."""

Again = Callable[[Job], Outcome]
"""Measures a job once more, in a rank of its own."""


class Peers:
    """Runs the peer that the parameters of notebook 03a name, for each of its points.

    Parameters
    ----------
    params
        Of the notebook; other notebooks have no peers.
    """

    def __init__(self, params: object) -> None:
        self._wanted = isinstance(params, StorageToHost) and params.peer == "fio"
        self._ceilings: dict[str, Peer] = {}

    def beside(self, job: ReadJob, outcome: Outcome, again: Again) -> list[Peer]:
        """Return what the peer reached beside a point, and the device's ceiling; or why there is none.

        Parameters
        ----------
        job, outcome
            What was measured, and the result.
        again
            Measures it again between the peer's turns.
        """
        if not self._wanted:
            return []
        why = fio.missing() or _no_counterpart(job)
        if why:
            return [Peer(name="fio", missing=why)]
        try:
            beside = _alternate(job, outcome, again)
        except ReadError as error:
            return [Peer(name="fio", missing=str(error))]
        return [beside, self._ceiling(job, outcome)]

    def _ceiling(self, job: ReadJob, outcome: Outcome) -> Peer:
        """Measure once per folder what the device gives."""
        if outcome.facts["storage"]["in_memory"]:
            return Peer(name=DEVICE, missing="the data lies in memory, which has no device")
        if job.reading.folder not in self._ceilings:
            self._ceilings[job.reading.folder] = _device(job)
        return self._ceilings[job.reading.folder]


def _no_counterpart(job: ReadJob) -> str:
    if not READERS[job.reading.reader].capabilities.has_ceiling:
        return f"reader {job.reading.reader} reads nothing, which fio cannot do"
    if READERS[job.reading.reader].capabilities.decodes:
        return f"reader {job.reading.reader} decodes, which fio cannot do"
    return ""


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


def _alternate(job: ReadJob, outcome: Outcome, again: Again) -> Peer:
    task = task_of(job)
    told, there = fio.told(task)
    if told < there and not task.direct:
        few = f"fio can be told {told} of {there} files, which the page cache would serve: make fewer, larger files"
        return Peer(name="fio", missing=few)
    ours, theirs = [], []
    for bandwidth in _turns(outcome, short(job), again):
        ours.append(bandwidth)
        theirs.append(run_task(task).bytes_per_s)
    ratio, low, high = paired_ratio(ours, theirs)
    figure = Figure(bytes_per_s=median(theirs))
    asked = f"{fio.words(fio.command(task))}  # {fio.version()}"
    name = "fio" if told == there else f"fio, {told} of {there} files"
    return Peer(name=name, command=asked, figure=figure, ratio=ratio, interval=[low, high])


def _turns(outcome: Outcome, job: Job, again: Again) -> Iterator[float]:
    """Yield the reader's bandwidth of each round, just before the peer's turn."""
    yield outcome.repeats[-1].bytes_per_s
    for _ in range(PAIRS - 1):
        figure = figure_of(again(job).repeats)
        assert figure is not None
        yield figure.bytes_per_s or 0.0


def _device(job: ReadJob) -> Peer:
    task = task_of(job.changed(reading=job.reading.changed(threads=CEILING_JOBS, split="uniform", reader="direct")))
    deep = fio.Task(task.dataset, task.shares, CEILING_BLOCK, True, task.runtime_s, "io_uring", CEILING_DEPTH)
    try:
        found = fio.run(deep)
    except ReadError as error:
        return Peer(name=DEVICE, missing=str(error))
    asked = f"{fio.words(fio.command(deep))}  # {fio.version()}"
    return Peer(name=DEVICE, command=asked, figure=Figure(bytes_per_s=found.bytes_per_s))
