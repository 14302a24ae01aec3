"""Was it really the storage? What the kernel tells about where a run's bytes came from."""

from dataclasses import dataclass
from pathlib import Path

from inferkit.dataset.format import Dataset
from inferkit.host import filesystem
from inferkit.residency import disk_read_bytes, process_read_bytes, resident_share
from inferkit.run import Json

LOOKED_AT = 64
"""Files of which the resident pages are counted: asking about every page of a large data set takes seconds."""


@dataclass(frozen=True)
class _Sample:
    resident: float | None
    disk_bytes: int | None
    process_bytes: int | None


class StorageProof:
    """Counts, before and after a run, resident pages and bytes that came from the block device.

    Parameters
    ----------
    dataset
        What the run reads; its folder need not lie on a disk.
    """

    def __init__(self, dataset: Dataset) -> None:
        step = max(1, len(dataset.files) // LOOKED_AT)
        self._paths: list[Path] = [dataset.path(k) for k in range(0, len(dataset.files), step)]
        self._system = filesystem(dataset.folder)
        self._before = self._sample()

    def _sample(self) -> _Sample:
        device = self._system.block_device
        return _Sample(resident_share(self._paths), disk_read_bytes(device) if device else None, process_read_bytes())

    def facts(self, delivered: int) -> dict[str, Json]:
        """Return what is known after a run that delivered so many bytes; None where the machine does not tell."""
        after = self._sample()
        disk, process = (
            _difference(old, new)
            for old, new in (
                (self._before.disk_bytes, after.disk_bytes),
                (self._before.process_bytes, after.process_bytes),
            )
        )
        return {
            "filesystem": self._system.fstype,
            "in_memory": self._system.in_memory,
            "block_device": self._system.block_device,
            "resident_before": self._before.resident,
            "resident_after": after.resident,
            "delivered_bytes": delivered,
            "disk_bytes": disk,
            "process_read_bytes": process,
            "from_storage": None if process is None or not delivered else process / delivered,
        }


def _difference(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else after - before
