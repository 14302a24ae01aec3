import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inferkit.linux.mounts import Filesystem, filesystem
from inferkit.linux.nfs import MountStatistics
from inferkit.linux.page_cache import evict, process_read_bytes
from inferkit.validity import io_accounting as proof_module
from inferkit.validity.io_accounting import LOOKED_AT, IoAccounting
from tests.conftest import Known, MakeTensors


@pytest.fixture
def on_disk(make_dataset: MakeTensors) -> Known:
    known = make_dataset((40, 20), (3, 64, 64))
    if filesystem(known.dataset.folder).in_memory:
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
    assert 1.0 <= facts["from_storage"] < 1.5


def test_the_data_set_beside_the_memory(make_dataset: MakeTensors) -> None:
    known = make_dataset((40,), (3, 64, 64))
    facts = IoAccounting(known.dataset).facts(1)
    assert facts["dataset_bytes"] == 40 * 12288
    assert 0 < facts["dataset_to_memory"] < 0.1


def on(system: Filesystem, monkeypatch: pytest.MonkeyPatch, known: Known, process: Iterator[int]) -> IoAccounting:
    monkeypatch.setattr(proof_module, "filesystem", lambda path: system)
    monkeypatch.setattr(proof_module, "process_read_bytes", lambda: next(process))
    return IoAccounting(known.dataset)


@pytest.mark.parametrize(("flag", "counted"), [("network", None), ("fuse", None), ("stacked", 0.0)])
def test_a_client_that_counts_nothing_proves_nothing(
    make_dataset: MakeTensors, monkeypatch: pytest.MonkeyPatch, flag: str, counted: float | None
) -> None:
    known = make_dataset()
    flags: dict[str, Any] = {"network": False, "fuse": False, "stacked": False, "block_device": None}
    system = dataclasses.replace(filesystem(known.dataset.folder), **flags | {flag: True})
    facts = on(system, monkeypatch, known, iter([7, 7])).facts(100)
    assert facts["from_storage"] == counted
    assert facts[flag] is True
    assert on(system, monkeypatch, known, iter([7, 107])).facts(100)["from_storage"] == 1.0
    library = on(system, monkeypatch, known, iter([7, 12])).facts(100)  # that was loaded from a disk meanwhile
    assert library["from_storage"] == (counted if counted is None else 0.05)


def test_an_nfs_mount_tells_what_crossed_the_wire(make_dataset: MakeTensors, monkeypatch: pytest.MonkeyPatch) -> None:
    known = make_dataset()
    system = dataclasses.replace(filesystem(known.dataset.folder), fstype="nfs4", network=True, block_device=None)
    wire = iter([0, 1000, 1900])
    monkeypatch.setattr(
        proof_module,
        "mount_statistics",
        lambda point: MountStatistics(("vers=4.2", "clientaddr=10.0.0.7"), "8 × tcp", next(wire)),
    )
    facts = on(system, monkeypatch, known, iter([0, 0])).facts(1000)
    assert (facts["wire_bytes"], facts["from_storage"]) == (900, 0.9)
    assert (facts["transport"], facts["options"]) == ("8 × tcp", ["vers=4.2"])
