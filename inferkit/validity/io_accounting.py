"""Was it really the storage? What the kernel tells about where a run's bytes came from."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from inferkit.dataset.tensors import Dataset
from inferkit.linux.block_devices import disk_named, disk_read_bytes, disk_written_bytes
from inferkit.linux.cgroups import memory_limit, read_limits
from inferkit.linux.extents import Stored, repeated_share, stored
from inferkit.linux.interfaces import is_here
from inferkit.linux.mounts import public, server
from inferkit.linux.nfs import mount_statistics
from inferkit.linux.page_cache import process_read_bytes, resident_share
from inferkit.linux.procfs import ROOT, fields, kibibytes, text
from inferkit.machine.holders import Held, holders
from inferkit.records.figures import Json

LOOKED_AT = 64
"""Files of which pages and extents are looked at: asking about every page of a large data set takes seconds."""
ASKED_ABOUT = 10_000
"""Files that are asked on which device they lie: a call each, which a network file system may send to its server."""
_COUNTED = ("nfs", "s3")
"""What crosses a network and is counted by process: by the kernel, or by our own client."""
LEAST_COUNTED = 0.1
"""Share of the bytes read from which on a count is taken for that of a client, or of a disk, that counts."""
COUNTERS = ("disk_counter", "written_counter", "wire_counter")
"""What everybody's reads and writes count in: before and after a run."""


@dataclass(frozen=True)
class _Sample:
    resident: float | None
    disk_bytes: int | None
    written_bytes: int | None
    process_bytes: int | None
    wire_bytes: int | None


class IoAccounting:
    """Counts, before and after a run, resident pages and bytes that came from block device or network.

    Parameters
    ----------
    dataset
        What the run reads; its folder need not lie on a disk, nor its files where the folder does.
    rounding
        Bytes that the storage is asked for at most, to each byte that is read: it delivers whole pages or blocks.
    """

    def __init__(self, dataset: Dataset, rounding: float = 1.0) -> None:
        assert isinstance(dataset.folder, Path)
        asked = [dataset.path(k) for k in _spread(len(dataset.files), ASKED_ABOUT)]
        self._held = holders(asked)
        self._system = self._held[0].system
        self._paths = [asked[k] for k in _spread(len(asked), LOOKED_AT)]
        self._paths += [path for own in self._held if (path := asked[own.files[0]]) not in self._paths]
        self._nbytes, self._images = dataset.nbytes, dataset.images
        self._rounding = rounding
        self._mount = mount_statistics(self._system.mount_point)
        self._fuse = any(own.holder.kind == "fuse" for own in self._held)
        self._about = self._storage() | _holders(self._held, asked, dataset.folder) | self._files(asked)
        self._before = self._sample()

    def _sample(self) -> _Sample:
        return _Sample(
            None if self._fuse else resident_share(self._paths),  # opening a file of FUSE drops its pages
            _sum(disk_read_bytes(disk) for disk in self._about["disks"]),
            _sum(disk_written_bytes(disk) for disk in self._about["disks"]),
            process_read_bytes(),
            _sum(_wire_bytes(own) for own in self._held),
        )

    def _storage(self) -> dict[str, Json]:
        return {
            "filesystem": self._system.fstype,
            "options": public(self._mount.options if self._mount else self._system.options),
            "transport": self._mount.transport if self._mount else "",
            "block_device": self._system.block_device,
        }

    def _files(self, asked: Sequence[Path]) -> dict[str, Json]:
        """Tell which share of the files' bytes no disk holds as it is, and how many are different ones."""
        told = [] if self._fuse else _stored(self._paths)
        nbytes = sum(own.nbytes for own in told)
        states = {path: path.stat() for path in asked}
        different = {(state.st_dev, state.st_ino): path for path, state in states.items()}
        total = sum(state.st_size for state in states.values())
        named = repeated_share(_stored(different.values())) if any(own.shared for own in told) else 0.0
        own_bytes = (1 - named) * sum(states[path].st_size for path in different.values())
        return {
            "empty": sum(own.empty for own in told) / nbytes if nbytes else None,
            "encoded": sum(own.encoded for own in told) / nbytes if nbytes else None,
            "different_bytes": round(self._nbytes * own_bytes / max(1, total)),
        }

    def facts(self, delivered: int, read: int | None = None) -> dict[str, Json]:
        """Return what is known after a run; None where the machine does not tell.

        Parameters
        ----------
        delivered
            Bytes in the windows, the warm-up included.
        read
            Bytes that the reader threads asked the files for: more than was delivered, since some batches are read
            ahead when the last window ends. They count, or a short run would seem to come from storage more than once.
        """
        before, after = self._before, self._sample()
        read = delivered if read is None else read
        available = memory()
        facts = {
            **self._about,
            "resident_before": before.resident,
            "resident_after": after.resident,
            "dataset_bytes": self._nbytes,
            "dataset_images": self._images,
            "dataset_to_memory": self._nbytes / available if available else None,
            "delivered_bytes": delivered,
            "read_bytes": read,
            "whole_bytes": round(read * self._rounding),
            "process_read_bytes": _difference((before.process_bytes, after.process_bytes)),
            "disk_counter": [before.disk_bytes, after.disk_bytes],
            "written_counter": [before.written_bytes, after.written_bytes],
            "wire_counter": [before.wire_bytes, after.wire_bytes],
        }
        return facts | shares(facts)


def shares(facts: Mapping[str, Json]) -> dict[str, Json]:
    """Return what counters say of the bytes: those of disks and mounts, and which share of all read came from storage.

    What was written to the disks meanwhile is another's work, for a run writes next to nothing.

    Parameters
    ----------
    facts
        Of one rank, or of several put together.

    Notes
    -----
    A process counts what it asked block devices for, with those behind a loop device's or another cache; disks and
    mounts count for everybody. So the smallest count is the most that can be true. A disk alone proves nothing.
    """
    disk, wire = _difference(facts["disk_counter"]), _difference(facts["wire_counter"])
    own = _counted_by_process(facts)
    if own is None:
        own = wire
    elif not facts["stacked"] and disk is not None and disk < LEAST_COUNTED * own:
        disk = None  # a plain disk delivers what it is asked for: this one does not count
    if own is not None and facts["filesystem"] == "s3" and wire is not None and wire < LEAST_COUNTED * own:
        wire = None  # what arrived came through some other interface, or this one does not count
    counted = None if own is None else min(count for count in (own, disk, wire) if count is not None)
    whole = facts["whole_bytes"]
    share = None if counted is None or not whole else min(1.0, counted / whole)
    written = _difference(facts["written_counter"])
    return {"disk_bytes": disk, "written_bytes": written, "wire_bytes": wire, "from_storage": share}


def _counted_by_process(facts: Mapping[str, Json]) -> int | None:
    """Return the bytes that a process caused to be read; None where that is not counted.

    A FUSE file system's reads, and those of some network clients, are in no process's count: there a small one means
    nothing, for libraries that the process loads from a disk meanwhile are in it. NFS counts (kernel: fs/nfs/read.c,
    fs/nfs/direct.c, task_io_account_read).
    """
    process: int | None = facts["process_read_bytes"]
    uncounted = facts["fuse"] or (facts["network"] and not str(facts["filesystem"]).startswith(_COUNTED))
    return None if uncounted and (process or 0) < LEAST_COUNTED * facts["read_bytes"] else process


def _stored(paths: Iterable[Path]) -> list[Stored]:
    return [own for path in paths if (own := stored(path)) is not None]


def _holders(held: Sequence[Held], asked: Sequence[Path], folder: Path) -> dict[str, Json]:
    """Tell what holds the files; disks only where nothing else does, for else their counters are not all."""
    kinds = {own.holder.kind for own in held}
    return {
        "holders": [
            {
                "kind": own.holder.kind,
                "on": str(own.holder),
                "disks": list(own.holder.disks),
                "of_host": [name for name in own.holder.disks if (disk := disk_named(name)) and disk.of_host],
                "here": is_here(server(own.system)),
                "files": len(own.files),
                "example": str(asked[own.files[0]].relative_to(folder)),
            }
            for own in held
        ],
        "in_memory": "memory" in kinds,
        "network": "network" in kinds,
        "fuse": "fuse" in kinds,
        "stacked": any(own.holder.stacked for own in held),
        "limits": _limits(held),
        "disks": sorted({disk for own in held for disk in own.holder.disks}) if kinds == {"disk"} else [],
    }


def _limits(held: Sequence[Held]) -> list[dict[str, Json]]:
    """Tell which of the block devices on the way down a control group lets be read no faster than so."""
    limits = read_limits()
    names = dict.fromkeys(name for own in held for name in (*own.holder.chain, *own.holder.disks))
    numbers = {name: text(ROOT / "sys/block" / name / "dev") or "" for name in names}
    return [{"device": name, **limits[number]} for name, number in numbers.items() if number in limits]


def _spread(files: int, most: int) -> range:
    return range(0, files, max(1, files // most))


def _wire_bytes(own: Held) -> int | None:
    mount = mount_statistics(own.system.mount_point) if own.holder.kind == "network" else None
    return mount.server_read_bytes if mount else None


def _sum(counts: Iterable[int | None]) -> int | None:
    """Return the sum; None where one is not known, or there are none."""
    known = list(counts)
    return sum(count for count in known if count is not None) if known and None not in known else None


def memory() -> int | None:
    """Return the bytes of memory that this process may use, its page cache included; None where not told."""
    machine = kibibytes(fields(text(ROOT / "proc/meminfo")).get("MemTotal"))
    return min((size for size in (machine, memory_limit()) if size is not None), default=None)


def _difference(counter: Sequence[int | None]) -> int | None:
    before, after = counter
    return None if before is None or after is None else after - before
