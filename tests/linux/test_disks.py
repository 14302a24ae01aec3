"""What tells one storage from another, from recorded trees of sysfs and from this machine."""

from pathlib import Path

import pytest

from inferkit.linux.disks import storage_identity

MOUNTS = """\
22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
23 22 0:40 / /mem rw - tmpfs tmpfs rw,size=8k
24 22 0:50 / /nas rw - nfs4 {server}:/export rw,rsize=65536,clientaddr={client}
25 22 7:0 / /loop rw - ext4 /dev/loop0 rw
26 22 253:0 / /lvm {options} - xfs /dev/mapper/data rw
"""


def mounts(server: str = "a", client: str = "10.0.0.1", options: str = "rw") -> str:
    return MOUNTS.format(server=server, client=client, options=options)


@pytest.fixture
def sys(tmp_path: Path) -> Path:
    """Two disks, one with a partition; a loop device on a file of it; a mapped device on the other."""
    root = tmp_path / "sys"
    devices = {"sda": "8:0", "sda/sda1": "8:1", "sdb": "8:16", "loop0": "7:0", "dm-0": "253:0"}
    (root / "dev/block").mkdir(parents=True)
    for name, number in devices.items():
        (root / "devices" / name / "device").mkdir(parents=True)
        (root / "devices" / name / "size").write_text("1000\n")
        (root / "dev/block" / number).symlink_to(root / "devices" / name)
    for name in ("sda", "sdb"):
        (root / "devices" / name / "device/model").write_text(f"model of {name}")
    (root / "devices/sda/sda1/partition").write_text("1")
    (root / "devices/loop0/loop").mkdir()
    (root / "devices/loop0/loop/backing_file").write_text("/mem/image")
    (root / "devices/dm-0/slaves").mkdir()
    (root / "devices/dm-0/slaves/sdb").symlink_to(root / "devices/sdb")
    return root


def test_a_partition_is_known_by_its_disk(sys: Path) -> None:
    before = storage_identity(Path("/data"), mounts(), sys)
    assert {"ext4", "/dev/sda1", "8:1", "device/model model of sda"} <= set(before)
    (sys / "devices/sda/device/model").write_text("another")
    assert storage_identity(Path("/data"), mounts(), sys) != before


def test_what_lies_underneath_counts(sys: Path) -> None:
    assert "tmpfs" in storage_identity(Path("/loop/set"), mounts(), sys)
    assert "device/model model of sdb" in storage_identity(Path("/lvm/set"), mounts(), sys)


def test_servers_and_options_count_and_our_own_address_does_not(sys: Path) -> None:
    before = storage_identity(Path("/nas/set"), mounts(), sys)
    assert before == storage_identity(Path("/nas/set"), mounts(client="10.0.0.2"), sys)
    assert before != storage_identity(Path("/nas/set"), mounts(server="b"), sys)
    path = Path("/lvm/set")
    assert storage_identity(path, mounts(), sys) != storage_identity(path, mounts(options="rw,noatime"), sys)


def test_a_disk_and_memory_of_this_machine(tmp_path: Path, shm: Path) -> None:
    assert storage_identity(tmp_path) == storage_identity(tmp_path / "not yet made")
    assert storage_identity(tmp_path) != storage_identity(shm)
