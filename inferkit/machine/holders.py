"""What holds the bytes of files in the end: memory, disks, a network, or something that nobody can tell."""

import stat
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from inferkit.errors import ReadError
from inferkit.linux.block_devices import BlockDevice, block_device, btrfs_devices, loop_file_device
from inferkit.linux.mounts import IN_MEMORY, Filesystem, filesystem, layers, mounted
from inferkit.linux.procfs import ROOT

SYS = ROOT / "sys"
Kind = Literal["memory", "unresolved", "fuse", "network", "disk"]

WORST_FIRST: tuple[Kind, ...] = ("memory", "unresolved", "fuse", "network", "disk")
"""What is made of several is as little proof of storage as the worst of them."""


@dataclass(frozen=True)
class Holder:
    """What lies under a file system.

    Parameters
    ----------
    kind
        ``unresolved`` where the way down ends before memory, disk or network.
    chain
        The way down, such as ``("btrfs", "loop3", "tmpfs")``.
    disks
        Disks under /sys/block that hold the bytes; empty for everything else.
    """

    kind: Kind
    chain: tuple[str, ...]
    disks: tuple[str, ...] = ()

    @property
    def reader(self) -> str:
        """Type of the file system that answers reads: of an overlay, the layer's."""
        return next((name for name in self.chain if name != "overlay"), "overlay")

    @property
    def stacked(self) -> bool:
        """Whether something lies between file system and disk: device mapper, md, a loop device, an overlay."""
        return len(self.chain) > 2

    def __str__(self) -> str:
        """Say the way down."""
        return " on ".join(self.chain)


@dataclass(frozen=True)
class Held:
    """Files of one holder and file system, by their index in the list that was asked about."""

    holder: Holder
    system: Filesystem
    files: tuple[int, ...]


def holders(paths: Sequence[Path]) -> list[Held]:
    """Return what holds the files, links followed; the holder of the most files first.

    Notes
    -----
    Files of one device number have one holder, so that one of them is resolved; but each file of an overlay is, for
    they may lie in different layers.

    Raises
    ------
    ReadError
        If a file is not there.
    """
    resolver = _Resolver(None, SYS)
    found: dict[tuple[Holder, str | None], tuple[Filesystem, list[int]]] = {}
    for files in _by_device(paths).values():
        system = filesystem(paths[files[0]])
        for group in [[file] for file in files] if system.fstype == "overlay" else [files]:
            own = resolver.of(paths[group[0]])
            found.setdefault((own, system.major_minor), (system, []))[1].extend(group)
    held = [Held(own, system, tuple(files)) for (own, _), (system, files) in found.items()]
    return sorted(held, key=lambda own: -len(own.files))


def holder(path: Path, mountinfo: str | None = None, sys: Path = SYS) -> Holder:
    """Return what holds a file or folder.

    Parameters
    ----------
    path, mountinfo, sys
        As of :func:`inferkit.linux.mounts.filesystem`.
    """
    return _Resolver(mountinfo, sys).of(path)


def _by_device(paths: Sequence[Path]) -> dict[int, list[int]]:
    devices: dict[int, list[int]] = defaultdict(list)
    for index, path in enumerate(paths):
        try:
            devices[path.stat().st_dev].append(index)
        except OSError as error:
            message = f"cannot examine {path}: {error.strerror}; expected a file that exists and may be reached"
            raise ReadError(message) from error
    return devices


class _Resolver:
    """Goes the way down; folders and layers that were asked about before are remembered."""

    def __init__(self, mountinfo: str | None, sys: Path) -> None:
        self._mountinfo = mountinfo
        self._sys = sys
        self._systems: dict[tuple[Path, int], Filesystem] = {}
        self._layers: dict[Path, Holder] = {}

    def of(self, path: Path, above: tuple[str, ...] = ()) -> Holder:
        """Return the holder of a file or folder; ``above`` is the way so far."""
        path = path.resolve()
        return self._of_system(path, self._system(path), above)

    def _of_system(self, path: Path, system: Filesystem, above: tuple[str, ...]) -> Holder:
        chain = (*above, system.fstype)
        if system.fstype == "overlay":
            return self._of_overlay(path, system, chain)
        if system.fstype in IN_MEMORY:
            return Holder("memory", chain)
        if system.network or system.fuse:
            return Holder("network" if system.network else "fuse", chain)
        return _worst([self._of_device(number, chain) for number in self._numbers(system)], chain)

    def _system(self, path: Path) -> Filesystem:
        """Return the file system of a file or folder: one for all of a folder's files that have one device number."""
        key = (path if path.is_dir() else path.parent, path.stat().st_dev if path.exists() else 0)
        if key not in self._systems:
            self._systems[key] = filesystem(path, self._mountinfo, self._sys)
        return self._systems[key]

    def _of_overlay(self, path: Path, system: Filesystem, chain: tuple[str, ...]) -> Holder:
        layer = _layer(path, system)
        if layer is None:
            return Holder("unresolved", chain)
        if layer not in self._layers:
            self._layers[layer] = Holder("unresolved", ())  # until it is known, should it lie under this overlay itself
            self._layers[layer] = self.of(layer)
        below = self._layers[layer]
        return replace(below, chain=(*chain, *below.chain))

    def _numbers(self, system: Filesystem) -> Iterator[str]:
        """Yield the block devices of a file system; one without a number of its own (btrfs) names a device."""
        own = block_device(system.major_minor or "", self._sys)
        named = self._sys / "class/block" / Path(system.device).resolve().name
        if own is not None and system.major_minor is not None:
            yield system.major_minor
        elif system.device.startswith("/dev/") and (named / "dev").exists():
            yield from btrfs_devices(named.name, self._sys) or [(named / "dev").read_text().strip()]

    def _of_device(self, number: str, chain: tuple[str, ...]) -> Holder:
        device = block_device(number, self._sys)
        if device is None or device.name in chain:  # a loop device whose file lies on itself, by its name
            return Holder("unresolved", chain)
        chain = (*chain, device.name)
        if device.in_memory or device.network:
            return Holder("memory" if device.in_memory else "network", chain)
        if device.loop:
            return self._of_loop(device, chain)
        if device.parts:
            return _worst([self._of_device(part, chain) for part in device.parts], chain)
        return Holder("unresolved", chain) if device.stacked else Holder("disk", chain, (device.name,))

    def _of_loop(self, device: BlockDevice, chain: tuple[str, ...]) -> Holder:
        """Ask the device where its file lies, for another may have taken its path; else follow the path."""
        number = loop_file_device(device.name) if self._sys == SYS else None
        system = mounted(number, self._mountinfo, self._sys) if number else None
        if system is not None and system.fstype != "overlay":
            return self._of_system(system.path, system, chain)
        if device.file is not None and device.file.exists():
            return self.of(device.file, chain)
        return Holder("unresolved", chain)


def _worst(parts: Sequence[Holder], chain: tuple[str, ...]) -> Holder:
    """Make one of several: the worst kind and the way to it, and the disks of all."""
    if not parts:
        return Holder("unresolved", chain)
    worst = min(parts, key=lambda part: WORST_FIRST.index(part.kind))
    return replace(worst, disks=tuple(sorted({disk for part in parts for disk in part.disks})))


def _layer(path: Path, system: Filesystem) -> Path | None:
    """Return the folder of the overlay in which a file's bytes lie: the first that has it, as large and as old.

    None if none has: the folders' names may be those of another root (a container's), or only what describes the
    file was copied up (metacopy).
    """
    if "metacopy=on" in system.options:
        return None
    inside = (system.root / path.relative_to(system.mount_point)).relative_to("/")
    try:
        wanted = path.stat()
    except OSError:
        return None
    for layer in layers(system):
        try:
            found = (layer / inside).stat(follow_symlinks=False)
        except OSError:
            continue
        same = (found.st_size, found.st_mtime_ns) == (wanted.st_size, wanted.st_mtime_ns)
        if layer.is_absolute() and same and stat.S_IFMT(found.st_mode) == stat.S_IFMT(wanted.st_mode):
            return layer
    return None
