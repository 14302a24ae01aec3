from pathlib import Path

import pytest

from inferkit.linux.block_devices import (
    BlockDevice,
    block_device,
    btrfs_devices,
    disk_named,
    disk_read_bytes,
    disk_written_bytes,
)


@pytest.fixture
def sysfs(tmp_path: Path) -> Path:
    """Make the /sys of a partitioned disk and of loop devices: on a file, on a deleted one, and of one that is off."""
    for number, name in {"259:2": "nvme0n1/nvme0n1p2", "7:0": "loop0", "7:1": "loop1", "7:2": "loop2"}.items():
        folder = tmp_path / "block" / name
        folder.mkdir(parents=True)
        (folder / "dev").write_text(f"{number}\n")
        (tmp_path / "dev/block").mkdir(parents=True, exist_ok=True)
        (tmp_path / "dev/block" / number).symlink_to(folder)
    (tmp_path / "block/nvme0n1/nvme0n1p2/partition").write_text("2\n")
    (tmp_path / "block/nvme0n1/queue").mkdir()
    (tmp_path / "block/nvme0n1/queue/iostats").write_text("1\n")
    (tmp_path / "block/nvme0n1/stat").write_text(" 5 0 40 3 2 0 24 1 0 3 3\n")
    for loop, file in {"loop0": "/images/a file", "loop1": "/images/gone (deleted)"}.items():
        (tmp_path / "block" / loop / "loop").mkdir()
        (tmp_path / "block" / loop / "loop/backing_file").write_text(f"{file}\n")
    return tmp_path


def test_a_partition_is_part_of_its_disk(sysfs: Path) -> None:
    assert block_device("259:2", sysfs) == BlockDevice("nvme0n1")
    assert block_device("259:9", sysfs) is None


def test_a_loop_device_names_its_file_while_it_is_there(sysfs: Path) -> None:
    assert block_device("7:0", sysfs) == BlockDevice("loop0", file=Path("/images/a file"), stacked=True, loop=True)
    assert block_device("7:1", sysfs) == BlockDevice("loop1", stacked=True, loop=True)
    assert block_device("7:2", sysfs) == BlockDevice("loop2", stacked=True, loop=True)


PCI = "devices/pci0000:00/0000:00:02.0"
VIRTUAL = "devices/virtual/block"
KINDS = {
    "a SATA drive": (f"{PCI}/ata1/host0/target0:0:0/0:0:0:0/block/sda", {"device/model": "ST16000NM001G"}, ""),
    "an NVMe drive": (f"{PCI}/nvme/nvme0/nvme0n1", {"device/transport": "pcie"}, ""),
    "an NVMe drive with two ways": (
        "devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1",
        {"device/nvme0/transport": "pcie", "device/nvme1/transport": "pcie"},
        "",
    ),
    "an NVMe drive elsewhere": (
        "devices/virtual/nvme-subsystem/nvme-subsys1/nvme1n1",
        {"device/nvme1/transport": "tcp"},
        "network",
    ),
    "an NVMe target of this machine": (
        "devices/virtual/nvme-fabrics/ctl/nvme2/nvme2n1",
        {"device/transport": "loop"},
        "stacked",
    ),
    "iSCSI": ("devices/platform/host3/session1/target3:0:0/3:0:0:0/block/sdb", {}, "network"),
    "Fibre Channel": (f"{PCI}/host4/rport-4:0-1/target4:0:0/4:0:0:0/block/sdc", {}, "network"),
    "a cloud's volume": (f"{PCI}/nvme/nvme1/nvme1n1", {"device/model": "Amazon Elastic Block Store"}, "network"),
    "nbd": (f"{VIRTUAL}/nbd0", {}, "network"),
    "rbd": ("devices/rbd/0/block/rbd0", {}, "network"),
    "drbd": (f"{VIRTUAL}/drbd1", {}, "network"),
    "null_blk": (f"{VIRTUAL}/nullb0", {}, "in_memory"),
    "null_blk by another name": (f"{VIRTUAL}/fast", {"/kernel/config/nullb/fast/power": "1"}, "in_memory"),
    "brd": (f"{VIRTUAL}/ram0", {}, "in_memory"),
    "zram": (f"{VIRTUAL}/zram0", {}, "in_memory"),
    "memory as a drive": ("devices/platform/e820_pmem/ndbus0/region0/namespace0.0/block/pmem0", {}, "in_memory"),
    "scsi_debug": (
        "devices/pseudo_0/adapter0/host7/target7:0:0/block/sdd",
        {"device/model": "scsi_debug"},
        "in_memory",
    ),
    "ublk": ("devices/virtual/ublk-char/ublkc0/ublkb0", {}, "stacked"),
    "a zvol": (f"{VIRTUAL}/zd16", {}, "stacked"),
    "what nobody knows": (f"{VIRTUAL}/veryfast0", {}, "stacked"),
    "virtio": (f"{PCI}/virtio1/block/vda", {}, "of_host"),
    "Xen": ("devices/vbd-51712/block/xvda", {}, "of_host"),
    "Hyper-V": ("devices/LNXSYSTM:00/VMBUS:01/f8b3781a/host0/target0:0:0/0:0:0:0/block/sde", {}, "of_host"),
    "QEMU": (f"{PCI}/ata2/host1/target1:0:0/1:0:0:0/block/sdf", {"device/model": "QEMU HARDDISK"}, "of_host"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_device_is_made_of_is_told_by_name_place_and_model(tmp_path: Path, kind: str) -> None:
    place, files, expected = KINDS[kind]
    for name, value in {"dev": "8:0", **files}.items():
        file = tmp_path / name[1:] if name.startswith("/") else tmp_path / place / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{value}\n")
    for link in ("dev/block/8:0", f"block/{Path(place).name}"):
        (tmp_path / link).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / link).symlink_to(tmp_path / place)
    found = block_device("8:0", tmp_path)
    assert found is not None
    assert found == disk_named(Path(place).name, tmp_path)
    told = {name for name in ("in_memory", "network", "of_host", "stacked") if getattr(found, name)}
    assert told == set(expected.split())


def test_a_device_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "dev/block").mkdir(parents=True)
    assert block_device("", tmp_path) is None
    assert disk_named("sda", tmp_path) is None


def test_a_btrfs_has_several_devices(sysfs: Path) -> None:
    devices = sysfs / "fs/btrfs/uuid/devices"
    devices.mkdir(parents=True)
    for name in ("loop0", "loop1"):
        (devices / name).symlink_to(sysfs / "block" / name)
    assert btrfs_devices("loop1", sysfs) == ("7:0", "7:1")
    assert btrfs_devices("loop2", sysfs) == ()


def test_a_disk_that_does_not_count_says_nothing(sysfs: Path) -> None:
    assert disk_read_bytes("nvme0n1", sysfs) == 40 * 512
    assert disk_written_bytes("nvme0n1", sysfs) == 24 * 512
    (sysfs / "block/nvme0n1/queue/iostats").write_text("0\n")
    assert disk_read_bytes("nvme0n1", sysfs) is None
    assert disk_written_bytes("nvme0n1", sysfs) is None
    assert disk_read_bytes("no-such-disk", sysfs) is None
