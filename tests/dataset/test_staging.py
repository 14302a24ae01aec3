"""Staging in memory: what is copied, where it lies, and that exactly that is removed again."""

import errno
import os
import sys
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from inferkit.dataset import staging, staging_copy
from inferkit.dataset.format import open_dataset, verify
from inferkit.dataset.staging import free_on_node, plan_copies, stage, unstage
from inferkit.dataset.staging_copy import copy_file, pages_of
from inferkit.dataset.staging_record import RECORD_NAME, Staged, copy_for, first_copy, read_record
from inferkit.dataset.synthetic import make_synthetic
from inferkit.errors import DatasetError, ParameterError
from inferkit.machine.topology import Core, PciDevice, Topology, topology
from inferkit.records.params import MakeDataset
from tests.machines import dgx, write
from tests.mounting import Mounts

NODE = topology().cores[0].node


def machine(gpus: int = 0) -> Topology:
    """Return this machine's node with two cores, and so many GPUs on it."""
    devices = tuple(PciDevice(kind="gpu", name=str(gpu), node=NODE) for gpu in range(gpus))
    cores = tuple(Core(cpus=(cpu,), node=NODE) for cpu in sorted(os.sched_getaffinity(0)))
    return Topology(cores=cores, nodes=() if NODE is None else (NODE,), devices=devices)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    make_synthetic(MakeDataset(data=str(tmp_path / "set"), limit=50, shape=[3, 17, 19], images_per_file=20))
    return tmp_path / "set"


def content(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_copy_per_node_is_the_same_data_set(source: Path, shm: Path) -> None:
    told: list[tuple[int, int]] = []
    record = stage(source, shm / "staged", machine=machine(), progress=lambda done, total: told.append((done, total)))
    (copy,) = record.copies
    folder = shm / "staged" / copy.name
    assert content(folder) == content(source)
    assert verify(open_dataset(folder)).ok
    assert told[-1] == (record.nbytes, record.nbytes)
    assert read_record(shm / "staged") == record
    if not copy.unknown:
        assert copy.on_node == 1.0
        assert sum(copy.pages.values()) == sum(-(-size // 4096) for size in record.files.values())
        assert "100.0 %" in record.table(shm / "staged")
    assert unstage(shm / "staged") == (len(record.files), [])
    assert list(shm.iterdir()) == []


def test_a_second_copy_on_a_node_is_hard_links_unless_copies_are_asked_for(source: Path, shm: Path) -> None:
    linked = stage(source, shm / "linked", per="gpu", machine=machine(2))
    first, second = (shm / "linked" / copy.name for copy in linked.copies)
    assert [copy.same_as for copy in linked.copies] == ["", linked.copies[0].name]
    assert content(first) == content(second) == content(source)
    assert all((first / name).samefile(second / name) for name in linked.files)
    assert f"links to {first.name}" in linked.table(shm / "linked")
    separate = stage(source, shm / "separate", per="gpu", separate=True, machine=machine(2))
    first, second = (shm / "separate" / copy.name for copy in separate.copies)
    assert content(first) == content(second)
    assert not any((first / name).samefile(second / name) for name in separate.files)
    for name in ("linked", "separate"):
        unstage(shm / name)
    assert list(shm.iterdir()) == []


def test_staging_again_does_nothing_and_otherwise_is_refused(source: Path, shm: Path, tmp_path: Path) -> None:
    record = stage(source, shm / "staged", machine=machine())
    inode = (shm / "staged" / record.copies[0].name / "dataset.json").stat().st_ino
    assert stage(source, shm / "staged", machine=machine()) == record
    assert (shm / "staged" / record.copies[0].name / "dataset.json").stat().st_ino == inode
    with pytest.raises(DatasetError, match="staged otherwise"):
        stage(source, shm / "staged", per="gpu", machine=machine(1))
    file = shm / "staged" / record.copies[0].name / next(iter(record.files))
    os.truncate(file, 5)
    with pytest.raises(DatasetError, match=r"only in part: run `inferkit dataset unstage"):
        stage(source, shm / "staged", machine=machine())
    unstage(shm / "staged")


def test_what_was_not_staged_is_left(source: Path, shm: Path) -> None:
    target = shm / "staged"
    target.mkdir()
    record = stage(source, target, machine=machine())
    folder = target / record.copies[0].name
    (folder / "notes.txt").write_text("mine")
    name = next(iter(record.files))
    (folder / "other").write_bytes((folder / name).read_bytes())
    (folder / "other").replace(folder / name)  # another file by the same name
    removed, left = unstage(target)
    assert removed == len(record.files) - 1
    assert left == sorted([folder / name, folder / "notes.txt"])
    assert not (target / RECORD_NAME).exists()


def test_a_folder_that_was_there_stays(source: Path, shm: Path) -> None:
    (shm / "staged").mkdir()
    stage(source, shm / "staged", machine=machine())
    unstage(shm / "staged")
    assert list((shm / "staged").iterdir()) == []


def test_nothing_to_unstage(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="nothing is staged"):
        unstage(tmp_path)


def test_a_record_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / RECORD_NAME).write_text('{"schema_version": 2}')
    with pytest.raises(DatasetError, match="by hand"):
        unstage(tmp_path)


def test_only_memory_that_is_empty_is_staged_to(source: Path, shm: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is not memory: stage to a folder in /dev/shm"):
        stage(source, tmp_path / "disk", machine=machine())
    (shm / "file").touch()
    with pytest.raises(DatasetError, match="files that were not staged"):
        stage(source, shm, machine=machine())


@pytest.mark.parametrize("short", ["the control group", "node"])
def test_room_is_checked_first(short: str, source: Path, shm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "group_memory_left", lambda: 1000 if short != "node" else None)
    monkeypatch.setattr(staging, "free_on_node", lambda node: 1000 if short == "node" else None)
    if short == "node" and NODE is None:
        pytest.skip("this machine tells no NUMA nodes")
    with pytest.raises(DatasetError, match=short):
        stage(source, shm / "staged", machine=machine())
    assert list(shm.iterdir()) == []


def test_a_full_file_system_leaves_nothing(source: Path, shm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The room was there when it was looked for; the source then turns out to be gone."""
    monkeypatch.setattr(staging, "_check_room", lambda target, record: (source / "dataset.xxh3").unlink())
    with pytest.raises(DatasetError, match=r"cannot stage .*dataset\.xxh3"):
        stage(source, shm / "staged", machine=machine())
    assert list(shm.iterdir()) == []


def test_memory_that_fills_up_while_it_is_copied_is_given_back(
    source: Path, mounts: Mounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = mounts.tmpfs("memory", 256 * 1024)

    def others_take_it(target: Path, record: Staged) -> None:
        (memory / "others").write_bytes(bytes(256 * 1024 - record.nbytes // 2))

    monkeypatch.setattr(staging, "_check_room", others_take_it)
    with pytest.raises(DatasetError, match=r"cannot stage .*No space left on device.*free space there"):
        stage(source, memory / "staged", machine=machine())
    assert [path.name for path in memory.iterdir()] == ["others"]


def test_a_copying_process_that_is_killed_leaves_nothing(
    source: Path, shm: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\nread job\nkill -9 $$\n")
    script.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(script))
    with pytest.raises(DatasetError, match="ended with -9: out of memory"):
        stage(source, shm / "staged", machine=machine())
    assert list(shm.iterdir()) == []


def test_half_made_copies_are_removed_too(source: Path, shm: Path) -> None:
    record = stage(source, shm / "staged", machine=machine())
    folder = shm / "staged" / record.copies[0].name
    name = next(iter(record.files))
    for left in (folder / f".{name}.1-0123abcd.part", shm / "staged" / f".{RECORD_NAME}.1-0123abcd.part"):
        left.write_bytes(b"half")
    assert unstage(shm / "staged")[1] == []


def test_copies_on_a_server_are_planned_per_node_or_gpu(tmp_path: Path) -> None:
    server = topology(dgx(tmp_path))
    assert [(copy.name, copy.node) for copy in plan_copies(server, "node")] == [(f"node{n}", n) for n in range(8)]
    copies = plan_copies(server, "gpu")
    assert [(copy.name, copy.same_as) for copy in copies[:3]] == [
        ("node3-gpu0", ""),
        ("node3-gpu1", "node3-gpu0"),
        ("node1-gpu2", ""),
    ]
    assert not any(copy.same_as for copy in plan_copies(server, "gpu", separate=True))


def test_gpus_of_unknown_node_have_no_copy_of_their_own(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="unknown, so nobody knows where its copy should lie: stage per node"):
        plan_copies(topology(dgx(tmp_path, told=False)), "gpu")
    with pytest.raises(ParameterError, match="no GPU"):
        plan_copies(machine(), "gpu")
    (copy,) = plan_copies(Topology(), "node")
    assert (copy.name, copy.node) == ("all", None)


def test_a_rank_reads_the_copy_of_its_gpu_or_node(source: Path, shm: Path) -> None:
    record = stage(source, shm / "staged", machine=machine())
    nodes = [copy.model_copy(update={"inodes": {"a": 1}}) for copy in plan_copies(topology(), "node")]
    many = record.model_copy(update={"copies": [*nodes, record.copies[0]]})
    assert copy_for(Path("/s"), many, NODE, ()) == f"/s/{record.copies[0].name}"
    gpus = record.model_copy(
        update={"copies": [record.copies[0].model_copy(update={"gpu": gpu, "name": f"g{gpu}"}) for gpu in (0, 1)]}
    )
    assert copy_for(Path("/s"), gpus, NODE, (1,)) == "/s/g1"
    assert copy_for(Path("/s"), gpus, NODE, (7,)) == "/s/g0"
    assert first_copy(shm / "staged") == shm / "staged" / record.copies[0].name
    assert first_copy(source) == source
    unstage(shm / "staged")


def test_a_node_s_room_is_what_is_free_and_the_page_cache(tmp_path: Path) -> None:
    lines = ["MemTotal: 100 kB", "MemFree: 10 kB", "FilePages: 50 kB", "Shmem: 20 kB"]
    text = "\n".join(f"Node 1 {line}" for line in lines)
    write(tmp_path, "sys/devices/system/node/node1/meminfo", text)
    assert free_on_node(1, tmp_path) == 40 * 1024
    assert free_on_node(2, tmp_path) is None


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 100_003])
def test_a_file_is_copied_whole(size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging_copy, "CHUNK", 4096)
    data = (np.arange(size) * 7 % 251).astype(np.uint8).tobytes()
    (tmp_path / "a").write_bytes(data)
    assert copy_file(tmp_path / "a", tmp_path / "b", threading.Lock()) == size
    assert (tmp_path / "b").read_bytes() == data


def test_no_half_copy_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "sendfile", full)
    (tmp_path / "a").write_bytes(b"abc")
    with pytest.raises(OSError, match="No space"):
        copy_file(tmp_path / "a", tmp_path / "b", threading.Lock())
    monkeypatch.setattr(os, "sendfile", lambda *_: 0)
    with pytest.raises(OSError, match="became shorter"):
        copy_file(tmp_path / "a", tmp_path / "b", threading.Lock())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a"]


def test_where_pages_lie_is_unknown_where_it_is_forbidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(path: Path) -> Counter[int]:
        raise OSError(errno.EPERM, "Operation not permitted")

    (tmp_path / "a").write_bytes(b"abc")
    monkeypatch.setattr(staging_copy, "file_nodes", forbidden)
    assert pages_of([tmp_path / "a"]) == (Counter(), "Operation not permitted")
