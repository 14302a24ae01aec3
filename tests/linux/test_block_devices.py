from pathlib import Path

import pytest

from inferkit.linux.block_devices import BlockDevice, block_device, btrfs_devices, disk_read_bytes, disk_written_bytes


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
