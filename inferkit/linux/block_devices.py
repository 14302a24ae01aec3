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
_MEMORY_PATH = re.compile(r"/e820_pmem/")
"""Where the kernel keeps a device that was made of memory (``memmap=``)."""
_NETWORK_NAME = re.compile(r"(nbd|rbd|drbd)\d+$")
_NETWORK_PATH = re.compile(r"/session\d+/target|/rport-")
"""Where SCSI disks lie that are reached by iSCSI, by Fibre Channel or by SRP."""
_FABRICS = frozenset({"tcp", "rdma", "fc"})
"""Ways to an NVMe drive of another machine (``transport`` of its controller)."""
_CLOUD_MODELS = frozenset({"Amazon Elastic Block Store", "PersistentDisk", "nvme_card-pd"})
"""Disks of virtual machines that their makers deliver over a network."""
_STACKED_NAME = re.compile(r"(dm-|md|loop|bcache|ublkb|zd)\d+$")
_OF_SOFTWARE = "/devices/virtual/block/"
"""Where the kernel keeps block devices without hardware. NVMe drives with several ways to them lie elsewhere."""
_OF_HOST_PATH = re.compile(r"/virtio\d+/|/vbd-\d+/|/VMBUS:|/vmbus_", re.IGNORECASE)
_OF_HOST_MODELS = ("QEMU", "VBOX", "VMware", "Virtual disk", "Msft Virtual")
"""How models of disks begin that a hypervisor makes."""
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
        Whether its bytes lie in memory (zram, ram, null_blk), or are delivered over a network.
    of_host
        Whether it is a disk of a virtual machine: what it is made of, only the host knows.
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
    of_host: bool = False
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
    if not major_minor or not link.exists():
        return None
    folder = link.resolve()
    disk = folder.parent if (folder / "partition").exists() else folder
    slaves = disk / "slaves"
    parts = sorted(slaves.iterdir()) if slaves.is_dir() else []
    loop = text(disk / "loop/backing_file")
    in_memory, network = _in_memory(disk, sys), _networked(disk)
    return BlockDevice(
        name=disk.name,
        parts=tuple(text(part / "dev") or "" for part in parts),
        file=Path(loop) if loop and not loop.endswith(_DELETED) else None,
        in_memory=in_memory,
        network=network,
        of_host=bool(_OF_HOST_PATH.search(str(disk))) or _model(disk).startswith(_OF_HOST_MODELS),
        stacked=bool(parts) or (_of_software(disk) and not in_memory and not network),
        loop=disk.name.startswith("loop"),
    )


def _in_memory(disk: Path, sys: Path) -> bool:
    """Tell whether a disk is memory; null_blk is, under whatever name it was given in configfs."""
    named = _MEMORY_NAME.match(disk.name) or (sys / "kernel/config/nullb" / disk.name).is_dir()
    return bool(named or _MEMORY_PATH.search(str(disk))) or _model(disk) in _MEMORY_MODELS


def _networked(disk: Path) -> bool:
    """Tell whether a disk's bytes come from another machine."""
    placed = _NETWORK_NAME.match(disk.name) or _NETWORK_PATH.search(str(disk))
    return bool(placed or _transports(disk) & _FABRICS) or _model(disk) in _CLOUD_MODELS


def _of_software(disk: Path) -> bool:
    """Tell whether no hardware is behind a disk; one way to an NVMe drive leads back to this machine (``loop``)."""
    return bool(_STACKED_NAME.match(disk.name)) or _OF_SOFTWARE in str(disk) or "loop" in _transports(disk)


def _transports(disk: Path) -> set[str]:
    """Return the ways to an NVMe drive, which may have several controllers; none for other disks."""
    return {way for own in (disk / "device", *disk.glob("device/nvme*")) if (way := text(own / "transport"))}


def _model(disk: Path) -> str:
    return text(disk / "device/model") or ""


def disk_named(name: str, sys: Path = ROOT / "sys") -> BlockDevice | None:
    """Return the device of a name under /sys/block; None if there is none."""
    return block_device(text(sys / "block" / name / "dev") or "", sys)


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
