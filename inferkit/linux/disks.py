"""What tells one storage from another that lies at the same path: its file system, its disk, and what those lie on."""

from collections.abc import Iterator
from pathlib import Path

from inferkit.linux.mounts import filesystem, public
from inferkit.linux.procfs import ROOT, text

TELLING = (
    *("size", "wwid", "serial", "device/model", "device/serial", "device/wwid", "dm/uuid", "md/uuid"),
    *("queue/scheduler", "queue/read_ahead_kb"),
)
"""Files of a block device's folder in sysfs (sysfs-block(5)): which disk it is, and how the kernel reads from it."""


def storage_identity(path: Path, mountinfo: str | None = None, sys: Path = ROOT / "sys") -> list[str]:
    """Return what is the same as long as a path lies on the same storage, mounted in the same way.

    Parameters
    ----------
    path
        File or folder, which need not exist yet.
    mountinfo, sys
        As of :func:`inferkit.linux.mounts.filesystem`.

    Raises
    ------
    ParameterError
        If no mount point holds the path.
    """
    found = filesystem(path, mountinfo, sys)
    mounted = [found.fstype, found.device, str(found.mount_point), *sorted(public(found.options))]
    number = found.major_minor or ""
    if number.startswith("0:"):  # numbers without a disk are given out anew at each mount
        return mounted
    told = dict.fromkeys(_told(sys / "dev/block" / number))
    backing = [file.removeprefix(_BACKING) for file in told if file.startswith(_BACKING)]
    under = [line for file in backing for line in storage_identity(Path(file), mountinfo, sys)]
    return [*mounted, number, *told, *under]


_BACKING = "loop/backing_file "


def _told(device: Path) -> Iterator[str]:
    """Yield what sysfs tells of a block device, of the disk that it is a part of, and of those that it is made of."""
    device = device.resolve()
    disk = device.parent if (device / "partition").exists() else device
    for folder in (device, disk):
        yield from (f"{name} {value}" for name in (*TELLING, _BACKING.strip()) if (value := text(folder / name)))
    slaves = disk / "slaves"
    for slave in sorted(slaves.iterdir()) if slaves.is_dir() else ():
        yield from _told(slave)
