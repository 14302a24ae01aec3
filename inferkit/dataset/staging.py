"""Stage a data set in memory: a copy per NUMA node or per GPU, made by processes bound to the node."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from inferkit.dataset.contents import contents
from inferkit.dataset.format import ShowProgress, open_dataset
from inferkit.dataset.manifest import HASHES_NAME, MANIFEST_NAME
from inferkit.dataset.staging_folder import at_work, check_own, make_folders, remove, remove_empty
from inferkit.dataset.staging_record import LOCK_NAME, RECORD_NAME, Copy, Staged, read_record, write_record
from inferkit.dataset.tensors import Dataset
from inferkit.dataset.writing import storage_errors
from inferkit.errors import DatasetError, ParameterError, UnfinishedError
from inferkit.linux.cgroups import affinity, group_memory_left
from inferkit.linux.mounts import existing, filesystem
from inferkit.linux.procfs import ROOT, fields, kibibytes, text
from inferkit.machine.affinity import binding, inherited
from inferkit.machine.topology import Topology, allowed_cores, topology
from inferkit.records.place import Place
from inferkit.text import plain
from inferkit.units import gibibytes

TARGET = Path("/dev/shm/inferkit-staged")


def plan_copies(machine: Topology, per: str, *, separate: bool = False) -> list[Copy]:
    """Return the copies to make.

    Parameters
    ----------
    machine
        Where nodes and GPUs are.
    per
        ``node`` or ``gpu``: a copy for each.
    separate
        Whether a second copy on the same node gets bytes of its own, not hard links to those of the first.

    Raises
    ------
    ParameterError
        If copies are per GPU, and the machine has none or does not say on which of several nodes they are.
    """
    nodes: list[int | None] = [*sorted({core.node for core in machine.cores if core.node is not None})] or [None]
    if per == "node":
        return [Copy(name="all" if node is None else f"node{node}", node=node) for node in nodes]
    lost = [gpu for gpu, part in machine.gpus.items() if part.node is None]
    if not machine.gpus or (lost and len(nodes) > 1):
        found = f"the node of GPU {lost} is unknown" if lost else "there is no GPU"
        message = f"per gpu: {found}, so nobody knows where its copy should lie: stage per node"
        raise ParameterError(message)
    copies: list[Copy] = []
    for gpu, part in machine.whole_gpus.items():
        node = nodes[0] if part.node is None else part.node
        first = next((copy.name for copy in copies if copy.node == node and not copy.same_as), "")
        name = f"gpu{gpu}" if node is None else f"node{node}-gpu{gpu}"
        copies.append(Copy(name=name, node=node, gpu=gpu, same_as="" if separate else first))
    return copies


def stage(
    source: Path,
    target: Path = TARGET,
    *,
    per: str = "node",
    separate: bool = False,
    machine: Topology | None = None,
    progress: ShowProgress | None = None,
) -> Staged:
    """Copy a data set to memory.

    Parameters
    ----------
    source, target
        The data set, and the staging folder on a file system in memory.
    per, separate, machine
        As in :func:`plan_copies`. ``machine`` None is this machine.
    progress
        Called with bytes done and bytes in all.

    Returns
    -------
    record
        What was staged, and what share of the pages lies where it should.

    Raises
    ------
    DatasetError
        If the target is not in memory, is not this user's alone, holds something else or has too little room, if
        another stage is at work there, or if copying failed. What was copied is then removed.
    """
    machine, target = machine or topology(), target.absolute()
    dataset = open_dataset(source)
    record = Staged(
        source=plain(str(source.resolve())),
        files={name: (source / name).stat().st_size for name in _names(dataset)},
        made_folder=False,
        copies=plan_copies(machine, per, separate=separate),
    )
    check_own(target)
    _check_memory(target)
    with _made(target) as made, at_work(target) as lock:
        record = record.model_copy(update={"made_folder": made or _clear_unfinished(target)})
        there = _check_target(target, record)
        if there is not None:
            return there
        _check_room(target, record)
        with storage_errors(target, record.nbytes), ExitStack() as undo:
            undo.callback(remove, target, record)
            write_record(target, record)
            copiers = partial(_copier, source, target, record, machine, lock)
            done = list(_make_copies(target, record, copiers, progress or (lambda done, total: None)))
            undo.pop_all()
            record = record.model_copy(update={"copies": done})
            write_record(target, record)
    return record


def _check_memory(target: Path) -> None:
    with storage_errors(target, 0):
        system = filesystem(target)
    if not system.in_memory:
        message = f"{target} lies on {system.fstype}, which is not memory: stage to a folder in /dev/shm"
        raise DatasetError(message)


@contextmanager
def _made(target: Path) -> Iterator[bool]:
    """Make a staging folder if it is not there, tell whether it was made, and remove it again if nothing is in it."""
    made = not os.path.lexists(target)
    with storage_errors(target, 0):
        make_folders(target, next(path for path in target.parents if path.exists()))
    try:
        yield made
    finally:
        if made:
            remove_empty(target)


def _clear_unfinished(target: Path) -> bool:
    """Remove what a stage that was killed left; tell whether it had made the folder. Nobody else is at work there."""
    found = read_record(target)
    if found is None or found.finished:
        return False
    with storage_errors(target, 0):
        remove(target, found)
    return found.made_folder


def _names(dataset: Dataset) -> list[str]:
    """Return the files of a data set: its tensors, manifest and hashes."""
    beside = [name for name in (MANIFEST_NAME, HASHES_NAME) if contents(dataset.folder).size(name) is not None]
    return [*(file.name for file in dataset.files), *beside]


def _check_target(target: Path, wanted: Staged) -> Staged | None:
    """Return what is staged there already if it is whole and the same, None if nothing is; refuse anything else."""
    found = read_record(target)
    if found is None:
        if {path.name for path in target.iterdir()} - {LOCK_NAME}:
            message = f"{target} holds files that were not staged: name another folder with --to, or empty it"
            raise DatasetError(message)
        return None
    plan = [(copy.name, copy.node, copy.gpu, copy.same_as) for copy in found.copies]
    same = (found.source, found.files, plan) == (
        wanted.source,
        wanted.files,
        [(copy.name, copy.node, copy.gpu, copy.same_as) for copy in wanted.copies],
    )
    if same and all(_whole(target, found, copy) for copy in found.copies):
        return found
    message = (
        f"{target} holds {found.source} staged otherwise, or only in part: run `inferkit dataset unstage {target}`"
    )
    raise DatasetError(message)


def _whole(target: Path, record: Staged, copy: Copy) -> bool:
    paths = {name: target / copy.name / name for name in record.files}
    return all(
        path.is_file() and (path.stat().st_size, path.stat().st_ino) == (record.files[name], copy.inodes.get(name))
        for name, path in paths.items()
    )


def _check_room(target: Path, record: Staged) -> None:
    """Refuse what does not fit into the file system, the control group, or the free memory of a node."""
    own = [copy for copy in record.copies if not copy.same_as]
    needed = record.nbytes * len(own)
    status = os.statvfs(existing(target))
    rooms = {"the file system": status.f_bavail * status.f_frsize, "the control group": group_memory_left()}
    rooms["memory"] = kibibytes(fields(text(ROOT / "proc/meminfo")).get("MemAvailable"))
    for what, room in rooms.items():
        if room is not None and needed > room:
            message = (
                f"{target}: {len(own)} copies of {gibibytes(record.nbytes)} need {gibibytes(needed)}, {what} has "
                f"{gibibytes(max(0, room))}: stage fewer copies (without --separate, --per node), or a smaller data set"
            )
            raise DatasetError(message)
    for node in {copy.node for copy in own} - {None}:
        wanted = record.nbytes * sum(copy.node == node for copy in own)
        free = free_on_node(node) if node is not None else None
        if free is not None and wanted > free:
            message = f"node {node} has {gibibytes(free)} free, its copies need {gibibytes(wanted)}: free memory there"
            raise DatasetError(message)


def free_on_node(node: int, root: Path = ROOT) -> int | None:
    """Return the bytes that a node has room for: free memory, and page cache outside tmpfs; None if unknown."""
    told = fields(text(root / f"sys/devices/system/node/node{node}/meminfo"))
    free, cache, shared = (kibibytes(told.get(f"Node {node} {name}")) for name in ("MemFree", "FilePages", "Shmem"))
    return None if free is None else free + max(0, (cache or 0) - (shared or 0))


def _make_copies(
    target: Path, record: Staged, start: Callable[[Copy], "_Copier"], progress: ShowProgress
) -> Iterator[Copy]:
    """Make all copies: first those with bytes of their own, all at once, then the links."""
    own = [copy for copy in record.copies if not copy.same_as]
    total, done = record.nbytes * len(own), 0
    found: dict[str, dict[str, Any]] = {}
    with ExitStack() as stack:
        copiers = [stack.enter_context(start(copy)) for copy in own]
        for copy, copier in zip(own, copiers, strict=True):
            assert copier.stdout is not None
            for event in map(json.loads, copier.stdout):
                if "failed" in event:
                    message = f"cannot stage {record.source} to {target / copy.name}: {event['failed']}"
                    raise UnfinishedError(message)
                done += event.get("done", 0)
                progress(done, total)
                found[copy.name] = event
            if copier.wait() or "nodes" not in found.get(copy.name, {}):
                message = f"the process that staged {target / copy.name} ended with {copier.returncode}: out of memory?"
                raise UnfinishedError(message)
    for copy in record.copies:
        for name in record.files if copy.same_as else ():
            link = target / copy.name / name
            make_folders(link.parent, target)
            link.hardlink_to(target / copy.same_as / name)
        yield _looked_at(target, record, copy, found[copy.same_as or copy.name])


def _looked_at(target: Path, record: Staged, copy: Copy, event: dict[str, Any]) -> Copy:
    pages = event["nodes"]
    share = pages.get(str(copy.node), 0) / sum(pages.values()) if pages and copy.node is not None else None
    return copy.model_copy(
        update={
            "on_node": share,
            "pages": pages,
            "unknown": event["unknown"] or ("" if copy.node is not None else "the machine tells no NUMA nodes"),
            "inodes": {name: (target / copy.name / name).stat().st_ino for name in record.files},
        }
    )


def _copier(source: Path, target: Path, record: Staged, machine: Topology, lock: int, copy: Copy) -> "_Copier":
    cores = [core for core in allowed_cores(machine, affinity()) if core.node == copy.node]
    bound = binding(Place(cpus=tuple(cpu for core in cores for cpu in core.cpus), node=copy.node))
    job = {"source": str(source), "target": str(target), "record": record.model_dump(), "copy": copy.name}
    with inherited(bound.cpus):
        copier = _Copier(
            [*bound.prefix, sys.executable, "-m", "inferkit.dataset.staging_copy"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=[lock],  # whoever still copies is still at work
            start_new_session=True,  # a Ctrl-C is this process's, which then kills it
        )
    assert copier.stdin is not None
    copier.stdin.write(json.dumps(job) + "\n")
    copier.stdin.flush()
    return copier


class _Copier(subprocess.Popen[str]):
    """A copying process that is killed when its block ends."""

    def __exit__(self, *error: Any) -> None:
        if self.poll() is None:
            self.kill()
        super().__exit__(*error)


def unstage(target: Path = TARGET) -> tuple[int, list[Path]]:
    """Remove exactly what was staged in a folder.

    Returns
    -------
    files, left
        How many files were removed, and which were left because they were not staged or have been replaced.

    Raises
    ------
    DatasetError
        If nothing was staged there, the folder or its record is another user's, or a stage is under way in it.
    """
    check_own(target)
    if read_record(target) is None:
        raise _nothing(target)
    with at_work(target), storage_errors(target, 0):
        record = read_record(target)
        if record is None:  # another one was faster
            raise _nothing(target)
        removed = remove(target, record)
    if record.made_folder:
        remove_empty(target)
    left = [path for path in target.rglob("*") if path.is_symlink() or not path.is_dir()]
    return removed, sorted(left)


def _nothing(target: Path) -> DatasetError:
    return DatasetError(f"nothing is staged in {target}: {RECORD_NAME} is not there")
