"""Was it really the storage? What the kernel tells about where a run's bytes came from."""

from dataclasses import dataclass
from pathlib import Path

from inferkit.dataset.format import Dataset
from inferkit.linux.block_devices import disk_read_bytes
from inferkit.linux.cgroups import memory_limit
from inferkit.linux.mounts import filesystem, public
from inferkit.linux.nfs import mount_statistics
from inferkit.linux.page_cache import process_read_bytes, resident_share
from inferkit.linux.procfs import ROOT, fields, kibibytes, text
from inferkit.records.run import Json

LOOKED_AT = 64
"""Files of which the resident pages are counted: asking about every page of a large data set takes seconds."""
LEAST_COUNTED = 0.1
"""Share of the bytes read from which on a process's count is taken for that of a client that counts."""


@dataclass(frozen=True)
class _Sample:
    resident: float | None
    disk_bytes: int | None
    process_bytes: int | None
    wire_bytes: int | None


class IoAccounting:
    """Counts, before and after a run, resident pages and bytes that came from block device or network.

    Parameters
    ----------
    dataset
        What the run reads; its folder need not lie on a disk.
    """

    def __init__(self, dataset: Dataset) -> None:
        step = max(1, len(dataset.files) // LOOKED_AT)
        self._paths: list[Path] = [dataset.path(k) for k in range(0, len(dataset.files), step)]
        self._nbytes = dataset.nbytes
        self._system = filesystem(dataset.folder)
        self._mount = mount_statistics(self._system.mount_point)
        self._before = self._sample()

    def _sample(self) -> _Sample:
        device = self._system.block_device
        mount = mount_statistics(self._system.mount_point) if self._mount else None
        return _Sample(
            None if self._system.fuse else resident_share(self._paths),  # opening a file of FUSE drops its pages
            disk_read_bytes(device) if device else None,
            process_read_bytes(),
            mount.server_read_bytes if mount else None,
        )

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
        after = self._sample()
        read = delivered if read is None else read
        process = _difference(self._before.process_bytes, after.process_bytes)
        wire = _difference(self._before.wire_bytes, after.wire_bytes)
        counted = self._counted(process, wire, read)
        memory = _memory()
        return {
            "filesystem": self._system.fstype,
            "in_memory": self._system.in_memory,
            "network": self._system.network,
            "fuse": self._system.fuse,
            "stacked": self._system.stacked,
            "options": public(self._mount.options if self._mount else self._system.options),
            "transport": self._mount.transport if self._mount else "",
            "block_device": self._system.block_device,
            "resident_before": self._before.resident,
            "resident_after": after.resident,
            "dataset_bytes": self._nbytes,
            "dataset_to_memory": self._nbytes / memory if memory else None,
            "delivered_bytes": delivered,
            "read_bytes": read,
            "disk_bytes": _difference(self._before.disk_bytes, after.disk_bytes),
            "process_read_bytes": process,
            "wire_bytes": wire,
            "from_storage": None if counted is None or not read else counted / read,
        }

    def _counted(self, process: int | None, wire: int | None, read: int) -> int | None:
        """Return the bytes that surely came from the storage; None where nobody counts them.

        A FUSE file system's reads, and those of some network clients, are in no process's count: there a small one
        means nothing, for libraries that the process loads from a disk meanwhile are in it.
        """
        if wire is not None:
            return wire
        uncounted = self._system.fuse or self._system.network
        return None if uncounted and (process or 0) < LEAST_COUNTED * read else process


def _memory() -> int | None:
    """Return the bytes of memory that this process may use, its page cache included; None where not told."""
    machine = kibibytes(fields(text(ROOT / "proc/meminfo")).get("MemTotal"))
    return min((size for size in (machine, memory_limit()) if size is not None), default=None)


def _difference(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else after - before
