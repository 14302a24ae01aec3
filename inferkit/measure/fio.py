"""fio on the files that a reader reads: what others reach with the same storage, block and threads."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal, NamedTuple

from inferkit.batch import Piece
from inferkit.dataset.tensors import Dataset
from inferkit.errors import PeerError
from inferkit.machine import programs
from inferkit.readers.files import OPEN_FILES_PER_THREAD

PAGE = 4096
LONGEST_LIST = 4000
"""Characters of file names per job: fio takes 4096 in one value, which is some 180 files."""
GRACE_S = 60.0
HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
"""Gives fio's buffers huge pages, as ours have (glibc ≥ 2.35): a disk that takes so many pages a request got 3.5 GB/s
with them and 1.6 … 2.4 without (virtio, 254 segments)."""


@dataclass(frozen=True)
class Task:
    """One run of fio.

    Parameters
    ----------
    dataset
        Whose files are read.
    shares
        One job each, by the pieces that a reader thread has (:func:`inferkit.readers.split.split`).
    nbytes
        Of one read; rounded up to whole pages.
    direct
        Pass the page cache by.
    runtime_s
        How long to measure. There is no ramp before: fio 3.33 ends jobs that begin their files anew in one, with
        nothing counted.
    engine, depth
        ``psync`` has one read in flight per job; ``io_uring`` has ``depth``.
    once
        Read each share once instead of again and again, for ``runtime_s`` at most: cold files do not stay cold.
    """

    dataset: Dataset
    shares: Sequence[Sequence[Piece]]
    nbytes: int
    direct: bool
    runtime_s: float
    engine: Literal["psync", "io_uring"] = "psync"
    depth: int = 1
    once: bool = False

    @property
    def block(self) -> int:
        """Bytes of one read: a batch that spans files is read file by file, so no more than the largest file has."""
        largest = max((file.nbytes for file in self.dataset.files), default=0) // PAGE * PAGE
        return max(PAGE, min(-(-self.nbytes // PAGE) * PAGE, largest))


class Result(NamedTuple):
    """What fio reached: the sum of its jobs' rates in one common window, and the CPU time that took."""

    bytes_per_s: float
    cpu_s_per_gb: float


def missing() -> str:
    """Return why fio cannot run here; empty if it can."""
    return programs.missing("fio")


def version() -> str:
    """Return fio's version, such as ``fio-3.33``.

    Raises
    ------
    PeerError
        If it does not run.
    """
    return programs.output_of(["fio", "--version"], timeout_s=GRACE_S).strip() or "fio of unknown version"


def command(task: Task) -> list[str]:
    """Return the command line: options for all jobs, then one job per share.

    fio gives all files of a job one offset, so a file that is cut goes whole to the job that has over half of it.
    """
    options = [
        "fio",
        "--readonly",
        "--output-format=json",
        "--thread",
        "--rw=read",
        "--mem_align=2m",
        f"--bs={task.block}",
        f"--direct={int(task.direct)}",
        f"--ioengine={task.engine}",
        *(_queue_options(task) if task.engine == "io_uring" else []),
        "--invalidate=0",  # what is cold was dropped before, and what is warm shall stay so
        "--file_service_type=sequential",
        f"--openfiles={OPEN_FILES_PER_THREAD}",
        f"--runtime={_milliseconds(task.runtime_s)}",
        *([] if task.once else ["--time_based"]),
        f"--directory={_escaped(str(task.dataset.folder))}",
    ]
    for thread, files in enumerate(_own_files(task)):
        options += [f"--name=reader{thread}", *files]
    return options


def run(task: Task) -> Result:
    """Run fio and return what it reached.

    Raises
    ------
    PeerError
        If it cannot run, or refuses the task, with what it said.
    """
    return parse(programs.output_of(command(task), timeout_s=task.runtime_s + GRACE_S, variables=HUGE_PAGES))


def parse(output: str) -> Result:
    """Read fio's JSON, which may stand behind notes.

    Raises
    ------
    PeerError
        If there is none, or one that cannot be, or if nothing was read.
    """
    try:
        found = _result(json.loads(output[output.index("{") :])["jobs"])
    except (ValueError, KeyError, TypeError) as error:
        message = f"fio wrote no result: {output[:200]!r}"
        raise PeerError(message) from error
    if not 0 < found.bytes_per_s < math.inf:
        message = f"fio says {found.bytes_per_s} bytes per second, which is no rate: {output[:200]!r}"
        raise PeerError(message)
    return found


def _result(jobs: list[Any]) -> Result:
    nbytes = sum(job["read"]["io_bytes"] for job in jobs)
    if not all(job["read"]["io_bytes"] for job in jobs):
        message = "a job of fio read nothing: its files are smaller than one block; lower batch_sizes or threads"
        raise PeerError(message)
    # Jobs that read their share once end at different times: the sum of their own rates was never reached.
    longest_s = max(job["read"]["runtime"] for job in jobs) / 1e3
    if not longest_s:
        message = "fio was done within a millisecond, which is no measurement: take a larger data set"
        raise PeerError(message)
    rate = nbytes / longest_s
    cpu_s = sum((job["usr_cpu"] + job["sys_cpu"]) / 100 * job["job_runtime"] / 1e3 for job in jobs)
    return Result(float(rate), cpu_s / nbytes * 1e9)


def words(task: Task) -> str:
    """Write the call as a person would type it, and fio's version."""
    return f"{programs.words(command(task), variables=HUGE_PAGES)}  # {version()}"


def _queue_options(task: Task) -> list[str]:
    """Return a queue's options; fio registers files only where it keeps all of them open."""
    registered = all(len(share) <= OPEN_FILES_PER_THREAD for share in task.shares)
    return [f"--iodepth={task.depth}", "--fixedbufs=1", *(["--registerfiles=1"] if registered else [])]


def told(task: Task) -> tuple[int, int]:
    """Return how many files fio is told of, and how many there are to read."""
    shares = [_own(task, share) for share in task.shares]
    return sum(len(_fitting(names)) for names in shares), sum(map(len, shares))


def read_twice(task: Task) -> str:
    """Return a file that one job is given whole and another in part; empty if there is none."""
    files = task.dataset.files
    whole = {name for share in task.shares for name in _own(task, share)}
    parts = [max(share, key=_images) for share in task.shares if share and not _own(task, share)]
    return next((files[piece.file].name for piece in parts if _escaped(files[piece.file].name) in whole), "")


def _images(piece: Piece) -> int:
    return piece.images


def _own_files(task: Task) -> list[list[str]]:
    """Return the options that name each job's files: whole files of which it has over half, else its largest part."""
    options = []
    for share in task.shares:
        names = _own(task, share)
        if names:
            options.append([f"--filename={':'.join(_fitting(names))}"])
        elif share:
            options.append(_part(task.dataset, max(share, key=_images)))
    return options


def _own(task: Task, share: Sequence[Piece]) -> list[str]:
    files = task.dataset.files
    return [_escaped(files[piece.file].name) for piece in share if 2 * piece.images > files[piece.file].images]


def _part(dataset: Dataset, piece: Piece) -> list[str]:
    offset = piece.start * dataset.image_bytes // PAGE * PAGE
    nbytes = piece.images * dataset.image_bytes // PAGE * PAGE
    return [f"--filename={_escaped(dataset.files[piece.file].name)}", f"--offset={offset}", f"--size={nbytes}"]


def _fitting(names: Sequence[str]) -> list[str]:
    lengths = accumulate(len(name) + 1 for name in names)
    return [name for name, end in zip(names, lengths, strict=True) if end <= LONGEST_LIST]


def _escaped(name: str) -> str:
    return name.replace("\\", "\\\\").replace(":", "\\:")


def _milliseconds(seconds: float) -> str:
    return f"{max(1, round(seconds * 1000))}ms"
