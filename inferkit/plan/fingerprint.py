"""What makes two measurements the same: parameters, data and the storage under it, model, machine, and our own code."""

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import xxhash

from inferkit.dataset.format import tensor_names
from inferkit.dataset.manifest import HASHES_NAME, MANIFEST_NAME
from inferkit.dataset.tensors import Dataset
from inferkit.errors import CredentialError, DatasetError, ReadError
from inferkit.linux.cgroups import affinity, io_limits
from inferkit.linux.disks import storage_identity
from inferkit.linux.procfs import ROOT, text
from inferkit.machine.facts import facts
from inferkit.objects.client import Client
from inferkit.objects.listing import entries
from inferkit.objects.place import ObjectPath
from inferkit.plan.points import Point
from inferkit.readers import reader_class
from inferkit.records.groups import Parameters
from inferkit.records.host import Host
from inferkit.records.job import ReadOptions, reading_of

PACKAGE = Path(__file__).parents[1]
_JUDGED = ("profile", "source", "peer")
"""Parameters that shape a Run and are in no job."""
_NO_MATTER: Any = {"batch_log": True, "inference": {"model": True}}
"""Parts of a job that shape no figure, or are told otherwise."""
_UNSTEADY: Any = {
    "identity": {"hostname", "user"},
    "memory_bytes": True,
    "numa_nodes": {"__all__": {"memory_bytes"}},
}
"""What of the machine does not count: who uses it, its name, and how much memory a virtual one has at the moment."""
_VARIABLES = ("CUDA_", "CUFILE_", "GLIBC_", "GOMP_", "KMP_", "LD_PRELOAD", "MALLOC_", "MKL_", "NVIDIA_", "OMP_", "ORT_")
"""How variables begin by which libraries compute or allocate otherwise. Not LD_LIBRARY_PATH: OpenCV adds to it whenever
it is imported; which version of what is loaded stands among the facts."""


class Fingerprints:
    """Gives points their fingerprints; what they share is looked at once.

    Parameters
    ----------
    params
        What was asked.
    dataset
        Whose tensors they read; of one that has yet to be made, those that lie there are looked at.
    """

    def __init__(self, params: Parameters, dataset: Dataset | None) -> None:
        self._dataset = dataset
        self._data: dict[tuple[str, bool], str] = {}
        self._shared = {
            "notebook": params.notebook,
            "params": params.model_dump(mode="json", include=set(_JUDGED)),
            "host": _steady(facts()),
            "machine": text(ROOT / "etc/machine-id"),
            "allowed": allowed(),
            "code": code_digest(),
        }

    def of(self, point: Point) -> str:
        """Return 32 hexadecimal digits that are the same for the same measurement."""
        told = self._shared | {
            "measure": point.measure,
            "jobs": [job.model_dump(mode="json", exclude=_NO_MATTER) for job in point.jobs],
            "ceilings": sorted(point.ceilings),
            "data": [self._read(reading) for job in point.jobs if (reading := reading_of(job)) and reading.folder],
            "model": point.network.file.digest if point.network else "",
        }
        return xxhash.xxh3_128_hexdigest(json.dumps(told, sort_keys=True).encode())

    def _read(self, reading: ReadOptions) -> str:
        """Return the digest of what a job reads."""
        decodes = reader_class(reading.reader).capabilities.decodes
        key = (reading.folder, decodes)
        if key not in self._data:
            folder = reading.place
            if isinstance(folder, ObjectPath):
                self._data[key] = objects_digest(folder)
            else:
                self._data[key] = files_digest(folder, _photographs(folder) if decodes else self._tensors(folder))
        return self._data[key]

    def _tensors(self, folder: Path) -> list[str]:
        known = [] if self._dataset is None else [file.name for file in self._dataset.files]
        return [MANIFEST_NAME, HASHES_NAME, *(known or tensor_names(folder))]


def allowed() -> dict[str, Any]:
    """Return what this process may use of the machine, and how it is told to: CPUs, priority, reads, variables."""
    return {
        "cpus": sorted(affinity()),
        "priority": [os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0)],
        "io": io_limits(),
        "huge pages": text(ROOT / "sys/kernel/mm/transparent_hugepage/enabled"),
        "variables": {name: value for name, value in sorted(os.environ.items()) if name.startswith(_VARIABLES)},
    }


def _steady(host: Host) -> Any:
    return host.model_dump(mode="json", exclude=_UNSTEADY)


def same_machine(one: Host, other: Host) -> bool:
    """Tell whether two descriptions are of one machine, as far as that shapes a figure."""
    return bool(_steady(one) == _steady(other))


def _photographs(folder: Path) -> list[str]:
    """Return the JPEG files in a folder; of one that has none, reading says so."""
    from inferkit.dataset.images import find_images  # tensors must not wait for image libraries

    with suppress(DatasetError):
        return find_images(folder)
    return []


def objects_digest(folder: ObjectPath) -> str:
    """Return a digest of the names, sizes and marks of content of everything that lies in a folder of a store.

    Of a store that cannot be asked nothing was ever measured: any digest is as good.
    """
    with suppress(CredentialError, ReadError), Client(folder.store) as client:
        told = [f"{name} {entry.nbytes} {entry.etag}" for name, entry in entries(client, folder).items()]
        return xxhash.xxh3_128_hexdigest("\n".join([client.address, str(folder), *told]).encode())
    return "not reached"


def files_digest(folder: Path, names: Iterable[str]) -> str:
    """Return a digest of files' names, sizes, times and inodes, and of every storage that they lie on.

    What a manifest says is not asked for: a data set that was altered or moved may still have it. ``ctime`` counts
    because no program can set it back. A file that is missing counts as such.
    """
    digest = xxhash.xxh3_128(_of_storage(folder))
    devices: set[int] = set()
    for name in names:
        path = folder / name
        try:
            found = path.stat()
        except OSError:
            digest.update(b"%s missing\n" % os.fsencode(name))
            continue
        if found.st_dev not in devices:
            devices.add(found.st_dev)
            digest.update(_of_storage(path))
        told = f" {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}\n"
        digest.update(os.fsencode(name) + told.encode())
    return digest.hexdigest()


def _of_storage(path: Path) -> bytes:
    return os.fsencode("\n".join(storage_identity(path)))


@cache
def code_digest() -> str:
    """Return a digest of inferkit's own code: once it changed, a figure may be another."""
    digest = xxhash.xxh3_128()
    for source in sorted([*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.cu")]):
        digest.update(source.relative_to(PACKAGE).as_posix().encode() + b"\0")
        digest.update(source.read_bytes())
    return digest.hexdigest()
