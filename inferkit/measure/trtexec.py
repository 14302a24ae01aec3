"""trtexec on an engine that a point infers with: NVIDIA's own program, with the same plan, batch and contexts.

What is said of it here was read in the source of TensorRT 8.6, 10.16 and 11.1. TensorRT-RTX's, ``tensorrt_rtx``, is
built of the same source; what it alone takes is said in its manual.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from inferkit.engines.engine_cache import DIGEST_BYTES, engine_path, read_plan
from inferkit.engines.plan_file import PLAN
from inferkit.errors import EngineError, PeerError
from inferkit.machine import programs
from inferkit.records.job import InferJob
from inferkit.records.place import Place

NAMES = {"tensorrt": "trtexec", "tensorrt_rtx": "tensorrt_rtx"}
"""What it is called, by the library that an engine was built with."""
HELP_S = 60.0
GRACE_S = 300.0
"""Longest time, in seconds, to load a plan of many hundred MB, compile its kernels and capture its graphs."""
ALONE = ("--noDataTransfers", "--useSpinWait")
"""No copies, and no sleep between batches; from TensorRT 11 on that is so without being said."""
GRAPH, RTX_GRAPH = "--useCudaGraph", "--rtxCudaGraphStrategy=wholeGraph"
NO_GRAPH = ("--noCudaGraph", "--rtxCudaGraphStrategy=disable")
"""TensorRT-RTX makes graphs of its own accord."""
AS_OURS = ("--specializeStrategyDS=eager", "--allocationStrategy=profile")
"""What our contexts do with TensorRT-RTX (engines/tensorrt_lane.py): its kernels are compiled for this batch before
anything is timed, and its memory is not its own, without which no graph can be captured."""
NO_GRAPH_MADE = "--useCudaGraph flag has been ignored"
"""What it says, and goes on, where it captures no graph."""


class Program(NamedTuple):
    """A trtexec: what it is called, the TensorRT that it is of (such as ``10.16.0``), and what its help says."""

    name: str
    version: str
    help: str

    def knows(self, option: str) -> bool:
        """Tell whether it takes an option."""
        return option.partition("=")[0] in self.help


@dataclass(frozen=True)
class Task:
    """One run of trtexec.

    Parameters
    ----------
    program
        Which one.
    file
        Name of the engine's file in the cache.
    input, shape
        The engine's input: its name, and (batch, channels, height, width).
    contexts
        Batches that are inferred side by side; of each, trtexec queues the next while one runs.
    cuda_graph
        Launch each batch as one CUDA graph.
    warmup_s, duration_s
        How long it measures, in seconds.
    place
        The GPU, and what the process is bound to.
    """

    program: Program
    file: str
    input: str
    shape: tuple[int, ...]
    contexts: int
    cuda_graph: bool
    warmup_s: float
    duration_s: float
    place: Place


def missing(library: str = "tensorrt") -> str:
    """Return why the trtexec of a library cannot run here, and how to get it; empty if it can."""
    return programs.missing(NAMES[library])


def program(library: str = "tensorrt") -> Program:
    """Ask the trtexec of a library for its version and options.

    Raises
    ------
    PeerError
        If it is not here or does not run.
    """
    name = NAMES[library]
    if why := missing(library):
        raise PeerError(why)
    told = programs.output_of([name, "--help"], timeout_s=HELP_S, reason=_reason)
    found = re.search(r"\[TensorRT\S* v(\d+)\]", told)
    return Program(name, _version(int(found[1])) if found else "", told)


def _version(number: int) -> str:
    """Return a version from the number in a banner: 101600 is ``10.16.0``, and up to TensorRT 9 8601 is ``8.6.1``."""
    major, rest = divmod(number, 10_000 if number >= 10_000 else 1_000)
    minor, patch = divmod(rest, 100)
    return f"{major}.{minor}.{patch}"


def task_of(job: InferJob, engine: Mapping[str, Any], place: Place) -> Task:
    """Return trtexec's share of a comparison.

    Parameters
    ----------
    job
        What was measured.
    engine
        The facts of the engine that it inferred with.
    place
        The GPU, and what the process is bound to.

    Raises
    ------
    PeerError
        If it cannot do that: it is not here, of another version than the engine, or drives no such engine or GPUs.
    """
    if job.inference.model.endswith(PLAN):
        message = "trtexec runs plans of the cache, and this is one of your own: trtexec --loadEngine=FILE runs it"
        raise PeerError(message)
    library = engine.get("library", "")
    if library not in NAMES or "file" not in engine:
        message = f"trtexec infers with TensorRT alone, and the engine is {job.inference.engine}"
        raise PeerError(message)
    if len(place.gpus) != 1:
        message = f"trtexec drives one GPU, and these are {len(place.gpus)}: set gpu_counts: [1]"
        raise PeerError(message)
    there = program(library)
    if there.version and not f"{engine['version']}.".startswith(f"{there.version}."):
        versions = f"TensorRT {there.version}, the engine of {engine['version']}"
        message = f"{there.name} on PATH is of {versions}: put that version's there"
        raise PeerError(message)
    return Task(
        program=there,
        file=engine["file"],
        input=engine["input"],
        shape=(job.images.batch_size, *job.images.shape),
        contexts=job.inference.contexts,
        cuda_graph=job.inference.cuda_graph,
        warmup_s=job.window.warmup_s,
        duration_s=job.window.duration_s,
        place=place,
    )


def command(task: Task, plan: str = "plan") -> list[str]:
    """Return the command line for the plan in a file; options that a version does not know are its defaults."""
    graph = [GRAPH if task.program.knows(GRAPH) else RTX_GRAPH] if task.cuda_graph else NO_GRAPH
    ours = AS_OURS if task.program.name == NAMES["tensorrt_rtx"] else ()
    wanted = (*ALONE, *graph, *ours)
    return [
        task.program.name,
        f"--loadEngine={plan}",
        f"--shapes={task.input}:{'x'.join(map(str, task.shape))}",
        f"--infStreams={task.contexts}",
        f"--warmUp={task.warmup_s * 1000:g}",
        f"--duration={task.duration_s:g}",
        *(option for option in wanted if task.program.knows(option)),
    ]


def words(task: Task) -> str:
    """Write the calls as a person would type them, from the file in the cache of engines, and trtexec's version."""
    bare = f"tail -c +{DIGEST_BYTES + 1} {task.file} > plan"
    return f"{bare}; {programs.words(command(task), task.place)}  # TensorRT {task.program.version}".rstrip()


def run(task: Task) -> float:
    """Run trtexec and return images per second.

    Raises
    ------
    PeerError
        If it cannot run, refuses the plan, launches no graphs though ours are, or has no result, with what it said.
    """
    timeout_s = task.warmup_s + task.duration_s + GRACE_S
    with _bare(task.file) as plan:
        asked = command(task, f"/dev/fd/{plan}")
        output = programs.output_of(
            asked, timeout_s=timeout_s, place=task.place, descriptors=[plan], together=True, reason=_reason
        )  # it warns on standard error
    if task.cuda_graph and NO_GRAPH_MADE in output:
        message = f"{task.program.name} captured no CUDA graph of this engine: compare with cuda_graph: false"
        raise PeerError(message)
    return parse(output) * task.shape[0]


def parse(output: str) -> float:
    """Read trtexec's summary: queries (batches) per second.

    Raises
    ------
    PeerError
        If there is none, or nothing was counted.
    """
    found = re.search(r"Throughput: (\d+(?:\.\d*)?(?:e\+?\d+)?) qps", output)
    rate = float(found[1]) if found else 0.0
    if not rate:
        message = f"trtexec counted no batches: {output[-programs.SAID :]!r}"
        raise PeerError(message)
    return rate


@contextmanager
def _bare(name: str) -> Iterator[int]:
    """Yield a file in memory that holds the bare plan: in the cache of engines a digest stands before it."""
    try:
        plan = read_plan(engine_path(name))
    except EngineError as error:
        raise PeerError(str(error)) from error
    if plan is None:
        message = f"{name} is no longer in the cache of engines: measure again"
        raise PeerError(message)
    with os.fdopen(os.memfd_create("inferkit-plan"), "wb") as file:
        file.write(plan)
        file.flush()
        yield file.fileno()


def _reason(output: str, errors: str) -> str:
    """Find why it failed: the lines that it marks as errors, without their times."""
    marked = [line.partition("[E] ")[2] for line in f"{errors}\n{output}".splitlines() if "[E] " in line]
    return programs.first_words(output, " ".join(marked) or errors)
