"""nvbandwidth on the GPUs of a copy: NVIDIA's own program, with the same bytes, memory and direction.

What is said of it here was read in the source of versions 0.5 to 0.8: names of tests, options, JSON, units, sums.
"""

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ValidationError

from inferkit.errors import PeerError
from inferkit.machine import programs
from inferkit.records.job import CopyJob
from inferkit.records.place import Place

NAME = "nvbandwidth"
MIB = 2**20
"""Unit of its option ``--bufferSize``."""
GB = 1e9
"""Its unit of bandwidth, in bytes per second."""
SAMPLES = 10
"""Each is 4 copies to warm up and 16 that are timed."""
LONGEST_S = 600.0
VERSION_S = 60.0
TESTS = {
    ("in", False): "host_to_device_memcpy_ce",
    ("out", False): "device_to_host_memcpy_ce",
    ("both", False): "host_to_device_bidirectional_memcpy_ce",
    ("in", True): "host_to_all_memcpy_ce",
    ("out", True): "all_to_host_memcpy_ce",
    ("both", True): "host_to_all_bidirectional_memcpy_ce",
}
"""Its test by our direction, and by whether several GPUs copy at once; all by the copy engines, as ours are."""
SUM = (
    "sums what each GPU reaches in a turn of its own, while copies of twice the size keep the others busy; "
    "inferkit takes the bytes of all GPUs in one common window"
)


@dataclass(frozen=True)
class Task:
    """One run of nvbandwidth.

    Parameters
    ----------
    test
        Its name.
    mib
        MiB of one copy.
    place
        The GPUs, and what the process is bound to.
    """

    test: str
    mib: int
    place: Place


class _Test(BaseModel):
    name: str
    status: str
    bandwidth_matrix: list[list[float | Literal["N/A"]]] = []


class _Told(BaseModel):
    error: str = ""
    testcases: list[_Test] = []


class _Output(BaseModel):
    """What it writes with ``--json``, as far as it is of use; it writes bandwidths as text."""

    nvbandwidth: _Told


def missing() -> str:
    """Return why nvbandwidth cannot run here, and how to get it; empty if it can."""
    return programs.missing(NAME)


def version() -> str:
    """Return nvbandwidth's version, such as ``nvbandwidth v0.8``.

    Raises
    ------
    PeerError
        If it does not run, such as without a driver's libraries.
    """
    head = programs.output_of([NAME, "--help"], timeout_s=VERSION_S).partition("\n")[0]
    return f"{NAME} {head.rpartition(':')[2].strip() or 'of unknown version'}"


def task_of(job: CopyJob, place: Place) -> Task:
    """Return nvbandwidth's share of a comparison.

    Raises
    ------
    PeerError
        If it copies nothing like it.
    """
    if job.device.kind != "cuda":
        message = f"{NAME} copies to GPUs, and the device is {job.device.kind}: set device: cuda"
    elif job.host_memory != "pinned":
        message = f"{NAME} copies pinned memory alone, and this is {job.host_memory}: add pinned to memories"
    elif job.nbytes % MIB:
        message = f"{NAME} copies whole MiB, and this is no multiple of {MIB} bytes: add such to transfer_bytes"
    else:
        return Task(TESTS[job.direction, len(place.gpus) > 1], job.nbytes // MIB, place)
    raise PeerError(message)


def command(task: Task) -> list[str]:
    """Return the command line.

    The mean of the samples is asked for, as ours is a mean, and that it stays on the CPUs that it was started on.
    """
    buffers = [f"--bufferSize={task.mib}", f"--testSamples={SAMPLES}"]
    return [NAME, f"--testcase={task.test}", *buffers, "--useMean", "--disableAffinity", "--json"]


def words(task: Task) -> str:
    """Write the call as a person would type it, its version, and what it sums."""
    told = f"{programs.words(command(task), task.place)}  # {version()}"
    return f"{told}; {SUM}" if len(task.place.gpus) > 1 else told


def run(task: Task) -> float:
    """Run nvbandwidth and return bytes per second, of several GPUs added up.

    Raises
    ------
    PeerError
        If it cannot run, or has no result, with what it said.
    """
    output = programs.output_of(command(task), timeout_s=LONGEST_S, place=task.place, reason=_reason)
    return parse(output, task)


def parse(output: str, task: Task) -> float:
    """Read nvbandwidth's JSON: bytes per second, of several GPUs added up.

    Raises
    ------
    PeerError
        If it has no such test, waived it, or measured other GPUs.
    """
    told = _told(output)
    test = next((own for own in told.testcases if own.name == task.test), None)
    if test is None or test.status != "Passed":
        why = told.error or (f"its status is {test.status}" if test else "it does not know it")
        message = f"{NAME} has no result of {task.test}: {why}"
        raise PeerError(message)
    rates = [cell for row in test.bandwidth_matrix for cell in row if cell != "N/A"]
    if len(rates) != len(task.place.gpus) or not all(rates):
        message = f"{NAME} measured {rates} GB/s, expected a figure for each of {len(task.place.gpus)} GPUs"
        raise PeerError(message)
    return sum(rates) * GB


def _told(output: str) -> _Told:
    """Read the JSON, which may stand behind notes."""
    try:
        return _Output.model_validate_json(output[max(0, output.find("{")) :]).nvbandwidth
    except ValidationError as error:
        message = f"{NAME} wrote no result: {output[:200]!r}; from version 0.5 on it writes JSON"
        raise PeerError(message) from error


def _reason(output: str, errors: str) -> str:
    """Find why it failed: its JSON says so, where it came so far."""
    return programs.first_words(_told(output).error if output.lstrip().startswith("{") else output, errors)
