"""A data set, or JPEG files, from a folder to an object store: the manifest last, so that no half set looks whole."""

from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from inferkit.dataset.contents import contents
from inferkit.dataset.format import ShowProgress, open_dataset
from inferkit.dataset.manifest import HASHES_NAME, MANIFEST_NAME
from inferkit.errors import DatasetError, InferkitError, UnfinishedError
from inferkit.objects.client import Client
from inferkit.objects.listing import Entry, entries
from inferkit.objects.place import ObjectPath
from inferkit.objects.upload import mark_of, remove, upload

AT_ONCE = 8
"""Files that are sent at a time, each over a connection of its own."""
_IMAGES = (".jpg", ".jpeg")


class Pushed(NamedTuple):
    """What a push did: objects and bytes of the data set, and how many of these were sent now."""

    files: int
    nbytes: int
    sent_files: int
    sent_bytes: int


def push(folder: Path, place: ObjectPath, progress: ShowProgress | None = None, *, overwrite: bool = False) -> Pushed:
    """Copy a data set, or a folder of JPEG files, to an object store; what is there already is not sent again.

    Parameters
    ----------
    folder, place
        Whence and whither.
    progress
        Called with bytes done and in all, as they are sent, on the threads that send them.
    overwrite
        Replace another data set that lies there. Else nothing but what an earlier push of the same one left may lie
        there.

    Raises
    ------
    DatasetError
        If the folder is no data set and holds no JPEG files, or something else lies there.
    UnfinishedError
        If it could not be finished: the same push goes on where it stopped.
    """
    names = _names(folder)
    sizes = {name: (folder / name).stat().st_size for name in names}
    done = _Done(sum(sizes.values()), progress or (lambda done, total: None))
    with Client(place.store, done.add) as client:
        there = entries(client, place)
        same = {name for name in sizes.keys() & there.keys() if _is_same(folder / name, there[name])}
        foreign = _foreign(there, names, same)
        if foreign and not overwrite:
            message = (
                f"{place / foreign[0]} is not of {folder} ({len(foreign)} such): take another prefix, or replace what "
                "lies there (--overwrite)"
            )
            raise DatasetError(message)
        if MANIFEST_NAME in there and len(same) < len(names):
            remove(client, place / MANIFEST_NAME)  # from now on it looks half made, as it is
            same.discard(MANIFEST_NAME)
        for name in set(foreign) - set(names):
            remove(client, place / name)
        done.add(sum(sizes[name] for name in same))
        _send(client, folder, place, [name for name in names if name not in same])
    done.add(sum(sizes.values()))  # also what an earlier push had sent of a file
    sent = [sizes[name] for name in names if name not in same]
    return Pushed(len(names), sum(sizes.values()), len(sent), sum(sent))


def _names(folder: Path) -> list[str]:
    """Return what is to be sent, the manifest last."""
    there = contents(folder)
    tensors = there.names((".tensors",))
    if tensors and there.size(MANIFEST_NAME) is not None:
        open_dataset(folder)
        return [*tensors, *(name for name in (HASHES_NAME, MANIFEST_NAME) if there.size(name) is not None)]
    images = [name for name in there.names(("",)) if name.lower().endswith(_IMAGES)]
    if not (tensors or images):
        message = f"{folder} holds neither a data set nor JPEG files: make one first, or correct the path"
        raise DatasetError(message)
    return tensors or images


def _is_same(path: Path, entry: Entry) -> bool:
    return path.stat().st_size == entry.nbytes and mark_of(path) == entry


def _foreign(there: dict[str, Entry], names: list[str], same: set[str]) -> list[str]:
    """Return what is of another data set: what has one of our names, or would be taken for a part of ours."""
    data = (".tensors", *_IMAGES)
    return [name for name in there if name not in same and (name in names or name.lower().endswith(data))]


class _Done:
    """Adds up, on many threads, how far a push is: a part of a large file may take minutes."""

    def __init__(self, total: int, show: ShowProgress) -> None:
        self._lock = Lock()
        self._done, self._total, self._show = 0, total, show

    def add(self, nbytes: int) -> None:
        """Count bytes; those that are sent again count once more, but never beyond all."""
        with self._lock:
            self._done = min(self._total, self._done + nbytes)
            self._show(self._done, self._total)


def _send(client: Client, folder: Path, place: ObjectPath, names: list[str]) -> None:
    """Send files, all others before the manifest."""
    last = [name for name in names if name == MANIFEST_NAME]
    with ThreadPoolExecutor(AT_ONCE, "push") as pool:
        for batch in ([name for name in names if name not in last], last):
            sending = [pool.submit(upload, client, folder / name, place / name) for name in batch]
            try:
                for sent in as_completed(sending):
                    sent.result()
            except (InferkitError, OSError) as error:
                pool.shutdown(cancel_futures=True)
                message = f"{error}. {place} is not complete: the same push goes on where it stopped."
                raise UnfinishedError(message) from error
