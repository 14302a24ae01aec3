"""Bind a process to its place on the machine, and check afterwards that it is there."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

from inferkit.linux.cgroups import affinity
from inferkit.linux.numa_pages import own_nodes, share_on
from inferkit.linux.procfs import numa_nodes
from inferkit.records.place import Place, cpu_ranges
from inferkit.units import percent


@dataclass(frozen=True)
class Binding:
    """How a process is bound.

    Parameters
    ----------
    prefix
        The command that starts it in its place; empty: it inherits its CPUs.
    cpus
        The CPUs that it inherits; empty: those of its parent.
    lacking
        What could not be bound, and why.
    """

    prefix: tuple[str, ...] = ()
    cpus: tuple[int, ...] = ()
    lacking: tuple[str, ...] = ()


def binding(place: Place) -> Binding:
    """Return how to bind a process: by numactl where that works here, otherwise by its CPUs alone."""
    options = [f"--physcpubind={cpu_ranges(place.cpus)}"] if place.cpus else []
    options += [] if place.node is None else [f"--membind={place.node}"]
    if not options:
        return Binding()
    refused = _refused(tuple(options))
    if not refused:
        return Binding(prefix=("numactl", *options))
    lacking = (
        () if place.node is None else (f"memory of rank {place.rank} is not bound to node {place.node}: {refused}",)
    )
    return Binding(cpus=place.cpus, lacking=lacking)


def rank_binding(place: Place) -> Binding:
    """Return how to bind a rank: it takes its CPUs itself, and numactl is asked where there is memory to choose."""
    return binding(place) if place.node is not None and len(numa_nodes()) > 1 else Binding(cpus=place.cpus)


@cache
def _refused(options: tuple[str, ...]) -> str:
    """Return why numactl cannot bind like this here; empty if it can."""
    if shutil.which("numactl") is None:
        return "numactl is not installed (apt-get install numactl)"
    tried = subprocess.run(["numactl", *options, "true"], capture_output=True, text=True, check=False)
    return "" if tried.returncode == 0 else f"numactl: {' '.join(tried.stderr.split()) or tried.returncode}"


@contextmanager
def inherited(cpus: Sequence[int]) -> Iterator[None]:
    """Let processes that this thread starts inherit some CPUs."""
    if not cpus:
        yield
        return
    before = affinity()
    with suppress(OSError):  # a container may forbid it: whether a process is where it should be is checked there
        os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        with suppress(OSError):
            os.sched_setaffinity(0, before)


def environment(place: Place) -> dict[str, str]:
    """Return this process's variables, changed so that CUDA counts GPUs as NVML does and shows only those of the place.

    A place without GPUs sees all of them: which ones may be used was decided when they were chosen.
    """
    kept = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    shown = {"CUDA_VISIBLE_DEVICES": ",".join(map(str, place.gpus))} if place.gpus else {}
    return kept | {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"} | shown


def whereabouts(place: Place) -> dict[str, Any]:
    """Return where this process and its pages are: CPUs, pages per node, share on its node. None means unknown."""
    found: dict[str, Any] = {"cpus": sorted(affinity()), "pages": None, "on_node": None, "unknown": ""}
    try:
        nodes = own_nodes()
    except OSError as error:
        return found | {"unknown": error.strerror or str(error)}
    return found | {
        "pages": {str(node): count for node, count in sorted(nodes.items())},
        "on_node": share_on(nodes, place.node),
    }


ON_NODE = 0.9
"""At least this share of a rank's pages must lie on the node that it was bound to."""


def check_whereabouts(place: Place, found: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Compare where a rank was with its plan.

    Returns
    -------
    reasons, unverified
        What makes its figure INVALID, and what could not be checked.
    """
    reasons, unverified = [], []
    if place.cpus and set(found["cpus"]) != set(place.cpus):
        reasons.append(
            f"{place} ran on CPUs {cpu_ranges(found['cpus'])}: something else bound it; see cgroups, taskset"
        )
    if place.node is not None and found["on_node"] is None:
        unverified.append(f"NUMA node of the pages of rank {place.rank}: {found['unknown'] or 'no page was seen'}")
    elif found["on_node"] is not None and found["on_node"] < ON_NODE:
        share, fix = percent(found["on_node"]), "stage the data (inferkit dataset stage), or free memory there"
        reasons.append(
            f"{place}: only {share} of its pages lie on node {place.node} (by node: {found['pages']}): {fix}"
        )
    return reasons, unverified
