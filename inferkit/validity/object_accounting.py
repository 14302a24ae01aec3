"""Was it really the object store? What its client received, and what the network's interface did meanwhile.

No cache of this machine lies between: the client keeps nothing. What the server, or a proxy on the way, has in its
memory nobody here can tell.
"""

from inferkit.dataset.tensors import Dataset
from inferkit.linux.interfaces import LOOPBACK, interface_towards, received_bytes
from inferkit.objects.counts import Counts
from inferkit.objects.place import ObjectPath
from inferkit.objects.resolving import host_of
from inferkit.records.figures import Json
from inferkit.validity.io_accounting import memory, shares


class ObjectAccounting:
    """Counts, before and after a run, what a client and an interface received.

    Parameters
    ----------
    dataset
        What the run reads: objects.
    received
        The client's counts.
    """

    def __init__(self, dataset: Dataset, received: Counts) -> None:
        assert isinstance(dataset.folder, ObjectPath)
        self._dataset = dataset
        self._received = received
        self._interface = interface_towards(*host_of(dataset.folder.store))
        self._before = received.nbytes, received_bytes(self._interface)
        self._requests = received.requests

    def facts(self, delivered: int, read: int | None = None) -> dict[str, Json]:
        """Return what is known after a run, in the words of :class:`inferkit.validity.io_accounting.IoAccounting`.

        Parameters
        ----------
        delivered
            Bytes in the windows, the warm-up included.
        read
            Bytes that the reader threads asked for, those included that were read ahead.
        """
        received, dataset = self._received, self._dataset
        read = delivered if read is None else read
        here = self._interface == LOOPBACK
        where = "on this machine" if here else f"behind {self._interface or 'a network'}"
        wire, available = received_bytes(self._interface), memory()
        facts: dict[str, Json] = {
            "filesystem": "s3",
            "interface": self._interface,
            "holders": [
                {
                    "kind": "local store" if here else "network",
                    "on": f"an object store {where}",
                    "disks": [],
                    "files": len(dataset.files),
                    "example": dataset.files[0].name,
                }
            ],
            "in_memory": False,
            "network": True,
            "fuse": False,
            "stacked": False,
            "disks": [],
            "dataset_bytes": dataset.nbytes,
            "dataset_images": dataset.images,
            "dataset_to_memory": dataset.nbytes / available if available else None,
            "different_bytes": dataset.nbytes,
            "resident_before": None,
            "resident_after": None,
            "delivered_bytes": delivered,
            "read_bytes": read,
            "whole_bytes": read,
            "process_read_bytes": received.nbytes - self._before[0],
            "disk_counter": [None, None],
            "written_counter": [None, None],
            "wire_counter": [self._before[1], wire],
            "requests": received.requests - self._requests,
            "connections": received.connections,
            "retries": dict(received.retries),
        }
        return facts | shares(facts)
