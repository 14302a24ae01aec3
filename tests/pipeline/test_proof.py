from pathlib import Path

import pytest

from inferkit.mounts import filesystem
from inferkit.pipeline import proof as proof_module
from inferkit.pipeline.proof import LOOKED_AT, StorageProof
from inferkit.residency import evict, process_read_bytes
from tests.conftest import Known, MakeDataset


@pytest.fixture
def on_disk(make_dataset: MakeDataset) -> Known:
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
    proof = StorageProof(on_disk.dataset)
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
    proof = StorageProof(on_disk.dataset)
    facts = proof.facts(read(on_disk))
    assert facts["resident_before"] == 1.0
    assert facts["from_storage"] == 0.0


def test_files_in_memory(make_dataset: MakeDataset, shm: Path) -> None:
    known = make_dataset(folder=shm)
    facts = StorageProof(known.dataset).facts(read(known))
    assert facts["in_memory"] is filesystem(shm).in_memory
    assert facts["filesystem"] == filesystem(shm).fstype
    assert facts["from_storage"] in (None, 0.0)
    assert facts["disk_bytes"] is None


def test_what_the_machine_does_not_tell_is_none(make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    known = make_dataset()
    for name in ("process_read_bytes", "resident_share", "disk_read_bytes"):
        monkeypatch.setattr(proof_module, name, lambda *arguments: None)
    facts = StorageProof(known.dataset).facts(1000)
    for name in ("from_storage", "process_read_bytes", "disk_bytes", "resident_before", "resident_after"):
        assert facts[name] is None


def test_nothing_delivered_proves_nothing(make_dataset: MakeDataset) -> None:
    assert StorageProof(make_dataset().dataset).facts(0)["from_storage"] is None


@pytest.mark.parametrize("files", [LOOKED_AT - 1, LOOKED_AT, LOOKED_AT + 1, 2 * LOOKED_AT, 3 * LOOKED_AT - 1])
def test_looks_at_a_sample_of_many_files(make_dataset: MakeDataset, files: int) -> None:
    known = make_dataset((1,) * files, (1,))
    looked_at = StorageProof(known.dataset)._paths
    assert min(files, LOOKED_AT) <= len(looked_at) < 2 * LOOKED_AT
    assert len(set(looked_at)) == len(looked_at)
    assert set(looked_at) <= {known.dataset.path(k) for k in range(files)}
