import dataclasses
import json
import mmap
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from inferkit.devices.cpu import CpuDevice
from inferkit.linux.mounts import filesystem
from inferkit.linux.nfs import MountStatistics
from inferkit.linux.page_cache import evict, process_read_bytes
from inferkit.machine.holders import Held, Holder
from inferkit.readers.buffered import BufferedReader
from inferkit.validity import io_accounting as proof_module
from inferkit.validity.io_accounting import LOOKED_AT, IoAccounting, shares
from tests.conftest import Known, MakeTensors
from tests.mounting import Mounts, run


@pytest.fixture
def on_disk(make_dataset: MakeTensors) -> Known:
    known = make_dataset((40, 20), (3, 64, 64))
    if filesystem(known.dataset.path(0)).in_memory:
        pytest.skip(f"{known.dataset.folder} lies in memory: nothing can be evicted")
    if process_read_bytes() is None:
        pytest.skip("the kernel does not count this process's reads")
    return known


def read(known: Known) -> int:
    return sum(len(known.dataset.path(k).read_bytes()) for k in range(len(known.dataset.files)))


def test_cold_files_come_from_storage(on_disk: Known) -> None:
    for k in range(2):
        evict(on_disk.dataset.path(k))
    proof = IoAccounting(on_disk.dataset)
    facts = proof.facts(read(on_disk))
    assert facts["resident_before"] == 0.0
    assert facts["resident_after"] == 1.0
    assert facts["from_storage"] >= 1.0
    assert facts["delivered_bytes"] == 60 * 12288
    assert facts["process_read_bytes"] >= 60 * 12288
    assert not facts["in_memory"]
    if facts["block_device"]:
        assert facts["disk_bytes"] >= 60 * 12288


@pytest.fixture
def limited(on_disk: Known) -> Iterator[tuple[str, Path]]:
    """Make a control group whose reads of the disk are limited; skip, with the reason, where none may be made."""
    (disk, *_) = IoAccounting(on_disk.dataset).facts(0)["disks"] or [""]
    top = Path("/sys/fs/cgroup/blkio")
    group = (top if top.is_dir() else top.parent) / f"inferkit-test-{os.getpid()}"
    try:
        number = Path(f"/sys/block/{disk}/dev").read_text().strip()
        group.mkdir()
        name, line = ("blkio.throttle.read_bps_device", "") if top.is_dir() else ("io.max", "rbps=")
        (group / name).write_text(f"{number} {line}123000000")
    except OSError as error:
        with suppress(OSError):
            group.rmdir()
        pytest.skip(f"no control group that limits reads of {disk} can be made here: {error}")
    yield disk, group
    group.rmdir()


def test_what_a_control_group_lets_a_disk_read_is_told(on_disk: Known, limited: tuple[str, Path]) -> None:
    disk, group = limited
    code = (
        "import json, sys; from pathlib import Path\n"
        "from inferkit.dataset.format import open_dataset\n"
        "from inferkit.validity.io_accounting import IoAccounting\n"
        "Path(sys.argv[1], 'cgroup.procs').write_text('0')\n"
        "print(json.dumps(IoAccounting(open_dataset(Path(sys.argv[2]), dtype='uint8', shape=(3, 64, 64))).facts(0)))\n"
    )
    facts = json.loads(run(sys.executable, "-c", code, str(group), str(on_disk.dataset.folder)))
    assert facts["limits"] == [{"device": disk, "bytes_per_s": 123_000_000}]
    assert IoAccounting(on_disk.dataset).facts(0)["limits"] == []


def test_warm_files_do_not(on_disk: Known) -> None:
    read(on_disk)
    proof = IoAccounting(on_disk.dataset)
    facts = proof.facts(read(on_disk))
    assert facts["resident_before"] == 1.0
    assert facts["from_storage"] == 0.0


def test_files_in_memory(make_dataset: MakeTensors, shm: Path) -> None:
    known = make_dataset(folder=shm)
    facts = IoAccounting(known.dataset).facts(read(known))
    assert facts["in_memory"] is filesystem(shm).in_memory
    assert facts["filesystem"] == filesystem(shm).fstype
    assert facts["from_storage"] in (None, 0.0)
    assert facts["disk_bytes"] is None


def test_what_the_machine_does_not_tell_is_none(make_dataset: MakeTensors, monkeypatch: pytest.MonkeyPatch) -> None:
    known = make_dataset()
    for name in ("process_read_bytes", "resident_share", "disk_read_bytes"):
        monkeypatch.setattr(proof_module, name, lambda *arguments: None)
    facts = IoAccounting(known.dataset).facts(1000)
    for name in ("from_storage", "process_read_bytes", "disk_bytes", "resident_before", "resident_after"):
        assert facts[name] is None


def test_nothing_delivered_proves_nothing(make_dataset: MakeTensors) -> None:
    assert IoAccounting(make_dataset().dataset).facts(0)["from_storage"] is None


@pytest.mark.parametrize("files", [LOOKED_AT - 1, LOOKED_AT, LOOKED_AT + 1, 2 * LOOKED_AT, 3 * LOOKED_AT - 1])
def test_looks_at_a_sample_of_many_files(make_dataset: MakeTensors, files: int) -> None:
    known = make_dataset((1,) * files, (1,))
    looked_at = IoAccounting(known.dataset)._paths
    assert min(files, LOOKED_AT) <= len(looked_at) < 2 * LOOKED_AT
    assert len(set(looked_at)) == len(looked_at)
    assert set(looked_at) <= {known.dataset.path(k) for k in range(files)}


def test_what_was_read_ahead_counts_as_read(on_disk: Known) -> None:
    for k in range(2):
        evict(on_disk.dataset.path(k))
    proof = IoAccounting(on_disk.dataset)
    nbytes = read(on_disk)
    facts = proof.facts(nbytes // 3, nbytes)
    assert (facts["delivered_bytes"], facts["read_bytes"]) == (nbytes // 3, nbytes)
    assert facts["from_storage"] == 1.0


def test_the_data_set_beside_the_memory(make_dataset: MakeTensors) -> None:
    known = make_dataset((40,), (3, 64, 64))
    facts = IoAccounting(known.dataset).facts(1)
    assert facts["dataset_bytes"] == 40 * 12288
    assert 0 < facts["dataset_to_memory"] < 0.1


def told(**change: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "filesystem": "ext4",
        "network": False,
        "fuse": False,
        "stacked": False,
        "read_bytes": 100,
        "whole_bytes": 100,
        "process_read_bytes": 100,
        "disk_counter": [None, None],
        "written_counter": [None, None],
        "wire_counter": [None, None],
    }
    return shares(facts | change)


@pytest.mark.parametrize(
    ("change", "share"),
    [
        ({}, 1.0),
        ({"process_read_bytes": None}, None),
        ({"process_read_bytes": 150}, 1.0),
        ({"whole_bytes": 200}, 0.5),
        ({"whole_bytes": 0}, None),
        # A disk counts for everybody, and proves nothing alone.
        ({"disk_counter": [500, 700]}, 1.0),
        ({"disk_counter": [500, 700], "process_read_bytes": 40}, 0.4),
        ({"disk_counter": [500, 700], "process_read_bytes": None}, None),
        # Behind a loop device a cache may answer what the process asked for; a plain disk that says so does not count.
        ({"disk_counter": [500, 505], "stacked": True}, 0.05),
        ({"disk_counter": [500, 505]}, 1.0),
        ({"disk_counter": [500, 580]}, 0.8),
        # Some clients count no process's reads: a small count is that of a library loaded meanwhile.
        ({"fuse": True, "process_read_bytes": 5}, None),
        ({"network": True, "filesystem": "lustre", "process_read_bytes": 5}, None),
        ({"network": True, "filesystem": "lustre", "process_read_bytes": 50}, 0.5),
        # NFS counts both.
        ({"network": True, "filesystem": "nfs4", "process_read_bytes": 100, "wire_counter": [0, 90]}, 0.9),
        ({"network": True, "filesystem": "nfs4", "process_read_bytes": 0, "wire_counter": [0, 100]}, 0.0),
        ({"network": True, "filesystem": "nfs4", "process_read_bytes": None, "wire_counter": [7, 97]}, 0.9),
    ],
)
def test_the_smallest_count_is_the_most_that_can_be_true(change: dict[str, Any], share: float | None) -> None:
    assert told(**change)["from_storage"] == share


def test_an_nfs_mount_tells_what_crossed_the_wire(make_dataset: MakeTensors, monkeypatch: pytest.MonkeyPatch) -> None:
    known = make_dataset()
    system = dataclasses.replace(filesystem(known.dataset.path(0)), fstype="nfs4", network=True, block_device=None)
    held = [Held(Holder("network", ("nfs4",)), system, (0, 1, 2))]
    monkeypatch.setattr(proof_module, "holders", lambda paths: held)
    wire = iter([0, 1000, 1900])
    monkeypatch.setattr(
        proof_module,
        "mount_statistics",
        lambda point: MountStatistics(("vers=4.2", "clientaddr=10.0.0.7"), "8 × tcp", next(wire)),
    )
    process = iter([0, 1000])
    monkeypatch.setattr(proof_module, "process_read_bytes", lambda: next(process))
    facts = IoAccounting(known.dataset).facts(1000)
    assert (facts["wire_bytes"], facts["from_storage"]) == (900, 0.9)
    assert (facts["transport"], facts["options"]) == ("8 × tcp", ["vers=4.2"])
    assert facts["network"]


def test_tiny_files_cost_whole_pages(make_dataset: MakeTensors, device: CpuDevice, on_disk: Known) -> None:
    # 768 bytes a file, and 80 of 100 files kept in memory by a process that has them mapped: 4096 / 768 hid that.
    known = make_dataset((1,) * 100, (1, 16, 48), folder=on_disk.dataset.path(0).parent / "tiny")
    with ExitStack() as stack:
        for k in range(80):
            file = stack.enter_context(known.dataset.path(k).open("rb"))
            stack.enter_context(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)).read(1)
        reader = stack.enter_context(BufferedReader(known.dataset, device, evict=True))
        proof = IoAccounting(known.dataset, reader.rounding([]))
        facts = proof.facts(read(known))
    assert facts["whole_bytes"] == 100 * 4096
    assert facts["from_storage"] == pytest.approx(0.2, abs=0.02)


def test_a_second_name_is_no_second_file(make_dataset: MakeTensors) -> None:
    known = make_dataset((4, 4), (3, 64, 64))
    known.dataset.path(1).unlink()
    known.dataset.path(1).hardlink_to(known.dataset.path(0))
    facts = IoAccounting(known.dataset).facts(1)
    assert facts["different_bytes"] == facts["dataset_bytes"] / 2


def test_what_another_file_holds_already_is_no_second_file(
    make_dataset: MakeTensors, mounts: Mounts, tmp_path: Path
) -> None:
    known = make_dataset((4, 4), (3, 64, 64), folder=mounts.loop("reflinks", tmp_path, "btrfs") / "data")
    known.dataset.path(1).unlink()
    run("cp", "--reflink=always", str(known.dataset.path(0)), str(known.dataset.path(1)))
    facts = IoAccounting(known.dataset).facts(1)
    assert facts["different_bytes"] == facts["dataset_bytes"] / 2


def test_a_loop_device_whose_file_is_cached(make_dataset: MakeTensors, mounts: Mounts, on_disk: Known) -> None:
    image = mounts.loop("image", on_disk.dataset.path(0).parent)
    known = make_dataset((40, 20), (3, 64, 64), folder=image / "data")
    read(known)
    for k in range(2):
        evict(known.dataset.path(k))
    evict(on_disk.dataset.path(0).parent / "image.img")
    warmed = (on_disk.dataset.path(0).parent / "image.img").read_bytes()
    proof = IoAccounting(known.dataset)
    facts = proof.facts(read(known))
    assert len(warmed) > facts["process_read_bytes"] >= facts["dataset_bytes"]
    assert facts["stacked"]
    assert facts["from_storage"] < 0.1


def test_files_that_lie_elsewhere(make_dataset: MakeTensors, on_disk: Known, shm: Path) -> None:
    known = make_dataset((5, 5), (3, 64, 64), folder=on_disk.dataset.path(0).parent / "linked")
    known.dataset.path(1).rename(on_disk.dataset.path(0).parent / "moved")
    (shm / "elsewhere").write_bytes((on_disk.dataset.path(0).parent / "moved").read_bytes())
    known.dataset.path(1).symlink_to(shm / "elsewhere")
    facts = IoAccounting(known.dataset).facts(1)
    assert facts["in_memory"]
    assert {(own["kind"], own["files"], own["example"]) for own in facts["holders"]} == {
        ("disk", 1, "images-00.tensors"),
        ("memory", 1, "images-01.tensors"),
    }
    assert facts["disks"] == []


def test_holes_are_told(make_dataset: MakeTensors, on_disk: Known) -> None:
    known = make_dataset((64,), (3, 64, 64), folder=on_disk.dataset.path(0).parent / "holes")
    with known.dataset.path(0).open("r+b") as file:
        file.truncate(32 * 12288)
        file.truncate(64 * 12288)
    facts = IoAccounting(known.dataset).facts(1)
    assert (facts["empty"], facts["encoded"]) == (0.5, 0.0)
