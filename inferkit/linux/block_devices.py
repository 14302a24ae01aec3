"""What the kernel says of block devices in sysfs: whole disks, what stacked ones are made of, and their counters."""

import fcntl
import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path

from inferkit.linux.procfs import ROOT, text

SECTOR_BYTES = 512
"""Unit of /sys/block/*/stat, whatever the disk's own sector size (kernel: Documentation/block/stat.rst)."""

_MEMORY_NAME = re.compile(r"(zram|ram|nullb)\d+$")
_MEMORY_MODELS = frozenset({"scsi_debug", "RAMDISK-MCP"})
"""SCSI disks that are memory: the kernel's test disk, and the RAM disks of its target (LIO)."""
_NETWORK_NAME = re.compile(r"(nbd|rbd)\d+$")
_STACKED_NAME = re.compile(r"(dm-|md|loop|bcache|drbd)\d+$")
_DELETED = " (deleted)"
_LOOP_GET_STATUS64 = 0x4C05  # <linux/loop.h>; struct loop_info64 begins with the device number of the file
_LOOP_INFO_BYTES = 232


@dataclass(frozen=True)
class BlockDevice:
    """A whole disk, or a device that is made of others or of a file.

    Parameters
    ----------
    name
        Under /sys/block; of a partition, that of its disk.
    parts
        Device numbers of what it is made of (device mapper, md, bcache).
    file
        Of a loop device: the file behind it, as its path was when it was attached.
    in_memory, network
        Whether its bytes lie in memory (zram, ram), or are delivered over a network.
    stacked
        Whether it is made of something else, even where sysfs does not say of what.
    loop
        Whether it is a loop device.
    """

    name: str
    parts: tuple[str, ...] = ()
    file: Path | None = None
    in_memory: bool = False
    network: bool = False
    stacked: bool = False
    loop: bool = False


def block_device(major_minor: str, sys: Path = ROOT / "sys") -> BlockDevice | None:
    """Return the device of a number such as ``259:2``; None if there is none.

    Parameters
    ----------
    major_minor
        Of a disk, a partition or a stacked device.
    sys
        Where sysfs is mounted.
    """
    link = sys / "dev/block" / major_minor
    if not link.exists():
        return None
    folder = link.resolve()
    disk = folder.parent if (folder / "partition").exists() else folder
    slaves = disk / "slaves"
    parts = sorted(slaves.iterdir()) if slaves.is_dir() else []
    loop = text(disk / "loop/backing_file")
    return BlockDevice(
        name=disk.name,
        parts=tuple(text(part / "dev") or "" for part in parts),
        file=Path(loop) if loop and not loop.endswith(_DELETED) else None,
        in_memory=bool(_MEMORY_NAME.match(disk.name)) or text(disk / "device/model") in _MEMORY_MODELS,
        network=bool(_NETWORK_NAME.match(disk.name)),
        stacked=bool(parts) or bool(_STACKED_NAME.match(disk.name)),
        loop=disk.name.startswith("loop"),
    )


def loop_file_device(name: str) -> str | None:
    """Return the device number of the file behind a loop device, deleted or not; None if this user may not ask."""
    answer = bytearray(_LOOP_INFO_BYTES)
    try:
        descriptor = os.open(f"/dev/{name}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.ioctl(descriptor, _LOOP_GET_STATUS64, answer)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    (number,) = struct.unpack_from("=Q", answer)
    return f"{os.major(number)}:{os.minor(number)}"


def btrfs_devices(name: str, sys: Path = ROOT / "sys") -> tuple[str, ...]:
    """Return the device numbers of all devices of the btrfs that has the device ``name``; none where not told."""
    for folder in (sys / "fs/btrfs").glob("*/devices"):
        if (folder / name).exists():
            return tuple(text(device / "dev") or "" for device in sorted(folder.iterdir()))
    return ()


def disk_read_bytes(name: str, sys: Path = ROOT / "sys") -> int | None:
    """Return the bytes read from a whole disk since boot; None if there is no such disk, or it counts nothing."""
    return _counted_bytes(name, 2, sys)


def disk_written_bytes(name: str, sys: Path = ROOT / "sys") -> int | None:
    """Return the bytes written to a whole disk since boot; None as of :func:`disk_read_bytes`."""
    return _counted_bytes(name, 6, sys)


def _counted_bytes(name: str, column: int, sys: Path) -> int | None:
    disk = sys / "block" / name
    counters = (text(disk / "stat") or "").split()
    counts = len(counters) > column and text(disk / "queue/iostats") != "0"
    return int(counters[column]) * SECTOR_BYTES if counts else None
