"""Which file system a path lies on, and which disk is behind it."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from inferkit.errors import ParameterError
from inferkit.linux.block_devices import block_device
from inferkit.linux.procfs import ROOT, decode_octal, text

IN_MEMORY = frozenset({"tmpfs", "ramfs", "devtmpfs", "hugetlbfs"})
NETWORK = frozenset(
    {"nfs", "nfs4", "lustre", "gpfs", "ceph", "beegfs", "cifs", "smb3", "smbfs", "wekafs", "panfs"}
    | {"pvfs2", "afs", "9p", "virtiofs"}
)
"""Types whose bytes another kernel delivers: over a network, or (9p, virtiofs) from the host of a virtual machine."""

IDENTIFYING = frozenset(
    {"addr", "clientaddr", "mountaddr", "srcaddr", "ip", "mon_addr", "mon_host", "fsid", "name", "secret", "domain"}
    | {"user", "username", "password", "lowerdir", "lowerdir+", "datadir+", "upperdir", "workdir"}
    | {"source", "cfgFile", "unc"}
)
"""Mount options (mount(8), nfs(5), mount.cifs(8), mount.ceph(8), overlay, BeeGFS) that do not belong in a record."""

MOST_LINKS = 40
"""Links that the kernel follows in one path (path_resolution(7))."""

_PROC_MOUNTS = ROOT / "proc/self/mountinfo"


@dataclass(frozen=True)
class Filesystem:
    """The file system that holds a path.

    Parameters
    ----------
    path
        The path that was asked for, absolute and without symbolic links.
    mount_point, fstype, device, options
        As in /proc/self/mountinfo; ``device`` is a block device, ``server:/export``, or just a word.
        ``options`` are those of the mount and then those of the file system.
    major_minor
        Device number, such as ``259:2``; major 0 means no block device.
    block_device
        Name of the whole disk under /sys/block; None if there is none, if it is unknown, or if the device is stacked on
        others (device mapper, md, loop): its counters then say nothing certain about the disks underneath.
    in_memory
        Whether its bytes lie in memory: tmpfs and the like, or a disk of memory (zram, ram).
    network
        Whether another kernel delivers its bytes.
    fuse
        Whether a program delivers them (FUSE); where it gets them is unknown.
    stacked
        Whether its block device is made of other devices or of a file.
    root
        Folder of the file system that the mount point shows: not ``/`` where a part of it is bind-mounted.
    """

    path: Path
    mount_point: Path
    fstype: str
    device: str
    options: tuple[str, ...]
    major_minor: str | None
    block_device: str | None
    in_memory: bool
    network: bool
    fuse: bool
    stacked: bool = False
    root: Path = ROOT


@dataclass(frozen=True)
class _Mount:
    """One line of mountinfo; see proc_pid_mountinfo(5)."""

    point: Path
    fstype: str
    device: str
    options: tuple[str, ...]
    major_minor: str
    root: Path


def public(options: Iterable[str]) -> list[str]:
    """Return mount options without those that name a machine, a person or a folder."""
    return [option for option in options if option.partition("=")[0] not in IDENTIFYING]


def existing(path: Path) -> Path:
    """Return ``path``, absolute and without symbolic links, or its nearest parent that exists."""
    path = path.resolve()
    return next((candidate for candidate in (path, *path.parents) if candidate.exists()), ROOT)


def filesystem(path: Path, mountinfo: str | None = None, sys: Path = ROOT / "sys") -> Filesystem:
    """Return the file system that holds ``path``, which need not exist yet.

    Parameters
    ----------
    path
        File or folder; relative ones start at the current folder, symbolic links are followed.
    mountinfo
        Text of a mount table in the format of /proc/self/mountinfo; None reads this process's.
    sys
        Where sysfs is mounted.

    Raises
    ------
    ParameterError
        If the mount table cannot be read or no mount point holds the path.
    """
    path = path.resolve()
    holders = [mount for mount in _mounts(mountinfo) if path.is_relative_to(mount.point)]
    if not holders:
        message = f"no mount point holds {path}: expected at least '/' in {_PROC_MOUNTS}; is /proc mounted?"
        raise ParameterError(message)
    # Reversed, because the last of several mounts on one point covers the others.
    return _described(path, max(reversed(holders), key=lambda holder: len(holder.point.parts)), sys)


def mounted(major_minor: str, mountinfo: str | None = None, sys: Path = ROOT / "sys") -> Filesystem | None:
    """Return the file system of a device number wherever it is mounted; None if it is not, to this process.

    Parameters
    ----------
    major_minor
        As stat(2) tells of its files; that of a btrfs is in no mount table.
    mountinfo, sys
        As of :func:`filesystem`.
    """
    found = next((mount for mount in _mounts(mountinfo) if mount.major_minor == major_minor), None)
    return None if found is None else _described(found.point, found, sys)


def told(path: Path, mountinfo: str | None = None) -> str:
    """Say a path and its mount, such as ``/data/x on /mnt/nas (nfs4, nas:/x)``, and ask nothing that may never answer.

    Links are followed as far as they lie on file systems of this machine's own.

    Parameters
    ----------
    path, mountinfo
        As of :func:`filesystem`.
    """
    mount = _unasked(Path(os.path.abspath(path)), _mounts(mountinfo))  # noqa: PTH100 - resolve() would ask
    return f"{path} on {mount.point} ({mount.fstype}, {mount.device})" if mount else str(path)


def _unasked(path: Path, mounts: list[_Mount]) -> _Mount | None:
    """Return the mount of a path; what lies below one that may hang is not looked at."""
    place, left, links = ROOT, [*reversed(path.parts[1:])], 0
    while True:
        holders = [mount for mount in mounts if place.is_relative_to(mount.point)]
        mount = max(reversed(holders), key=lambda holder: len(holder.point.parts), default=None)
        if not left or mount is None or _may_hang(mount):
            return mount
        place /= left.pop()
        if not any(place == mount.point for mount in mounts) and place.is_symlink() and links < MOST_LINKS:
            target = Path(os.path.normpath(place.parent / place.readlink()))
            place, left, links = ROOT, [*left, *reversed(target.parts[1:])], links + 1


def _is_fuse(fstype: str) -> bool:
    return fstype in ("fuse", "fuseblk") or fstype.startswith("fuse.")


def _may_hang(mount: _Mount) -> bool:
    """Tell whether somebody else answers for a mount: a server, a program, or what mounts on demand."""
    return mount.fstype in NETWORK or mount.fstype == "autofs" or _is_fuse(mount.fstype)


def _mounts(mountinfo: str | None) -> list[_Mount]:
    table = text(_PROC_MOUNTS) if mountinfo is None else mountinfo
    return [mount for line in (table or "").splitlines() if (mount := _parse(line))]


def _described(path: Path, mount: _Mount, sys: Path) -> Filesystem:
    disk = block_device(mount.major_minor, sys)
    return Filesystem(
        path=path,
        mount_point=mount.point,
        fstype=mount.fstype,
        device=mount.device,
        options=mount.options,
        major_minor=mount.major_minor,
        block_device=disk.name if disk and not disk.stacked else None,
        in_memory=mount.fstype in IN_MEMORY or bool(disk and disk.in_memory),
        network=mount.fstype in NETWORK,
        fuse=_is_fuse(mount.fstype),
        stacked=bool(disk and disk.stacked),
        root=mount.root,
    )


def server(system: Filesystem) -> str:
    """Return the address of a network file system's server (nfs(5), mount.cifs(8)); empty where it is not told."""
    told = dict(option.partition("=")[::2] for option in system.options)
    return told.get("addr", "") if system.network else ""


def layers(system: Filesystem) -> list[Path]:
    """Return the folders that an overlay lies over, the uppermost first; as they were named when it was mounted.

    Notes
    -----
    Folders are separated by colons, data-only ones by two; a colon in a name has a backslash before it
    (kernel: Documentation/filesystems/overlayfs.rst).
    """
    named = [option.partition("=")[::2] for option in map(decode_octal, system.options)]
    upper = [value for key, value in named if key == "upperdir"]
    lower = [value for key, value in named if key in ("lowerdir", "lowerdir+", "datadir+")]
    folders = upper + [folder for value in lower for folder in re.split(r"(?<!\\):+", value)]
    return [Path(re.sub(r"\\(.)", r"\1", folder)) for folder in folders if folder]


def _parse(line: str) -> _Mount | None:
    """Read ``id parent major:minor root point options [tag…] - type device options``; None for anything else."""
    front, dash, back = line.partition(" - ")
    head, tail = front.split(" "), back.split(" ")
    if not dash or len(head) < 6 or len(tail) < 2:
        return None
    options = [*head[5].split(","), *(tail[2].split(",") if len(tail) > 2 else [])]
    return _Mount(
        point=Path(decode_octal(head[4])),
        fstype=tail[0],
        device=decode_octal(tail[1]),
        options=tuple(dict.fromkeys(options)),
        major_minor=head[2],
        root=Path(decode_octal(head[3])),
    )
