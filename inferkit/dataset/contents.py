"""What lies in a data set's folder: files below it, or objects whose keys begin with it."""

from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path

from inferkit.dataset.folders import search
from inferkit.errors import DatasetError
from inferkit.files import read_regular
from inferkit.objects.client import Client
from inferkit.objects.fetch import Part, fetch
from inferkit.objects.listing import Entry, entries
from inferkit.objects.place import Folder, ObjectPath


class Contents(ABC):
    """What lies in a folder; names are posix paths relative to it."""

    @abstractmethod
    def exists(self) -> bool:
        """Tell whether there is such a folder."""

    @abstractmethod
    def names(self, suffixes: tuple[str, ...]) -> list[str]:
        """List the files whose names end so, sorted.

        Raises
        ------
        InferkitError
            If a part of the folder cannot be listed.
        """

    @abstractmethod
    def size(self, name: str) -> int | None:
        """Return a file's bytes; None where there is no such file."""

    def etag(self, name: str) -> str:
        """Return the store's mark of an object's content; a file has none."""
        return ""

    @abstractmethod
    def read(self, name: str, most: int) -> bytes | None:
        """Return a small file; None where there is none.

        Raises
        ------
        InferkitError
            If it cannot be read, or has more than ``most`` bytes.
        """

    @abstractmethod
    def begins(self, name: str, nbytes: int) -> bytes:
        """Return a file's first bytes."""


class _Files(Contents):
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def exists(self) -> bool:
        return self._folder.is_dir()

    def names(self, suffixes: tuple[str, ...]) -> list[str]:
        files, unlisted = search(self._folder)
        if unlisted and self._folder.is_dir():
            message = f"{self._folder / unlisted[0]} cannot be listed ({len(unlisted)} such folders): may you read it?"
            raise DatasetError(message)
        return [name for name in files if name.endswith(suffixes) and (self._folder / name).is_file()]

    def size(self, name: str) -> int | None:
        path = self._folder / name
        return path.stat().st_size if path.is_file() else None

    def read(self, name: str, most: int) -> bytes | None:
        path = self._folder / name
        try:
            return read_regular(path, most)
        except FileNotFoundError:
            return None
        except OSError as error:
            message = f"{path} cannot be read: {error.strerror}"
            raise DatasetError(message) from error

    def begins(self, name: str, nbytes: int) -> bytes:
        with (self._folder / name).open("rb") as file:
            return file.read(nbytes)


class _Objects(Contents):
    """Objects; they are listed once."""

    def __init__(self, folder: ObjectPath) -> None:
        self._folder = folder

    @cached_property
    def entries(self) -> dict[str, Entry]:
        with Client(self._folder.store) as client:
            return entries(client, self._folder)

    def exists(self) -> bool:
        return bool(self.entries)

    def names(self, suffixes: tuple[str, ...]) -> list[str]:
        return [name for name in self.entries if name.endswith(suffixes)]

    def size(self, name: str) -> int | None:
        return self.entries[name].nbytes if name in self.entries else None

    def etag(self, name: str) -> str:
        return self.entries[name].etag

    def read(self, name: str, most: int) -> bytes | None:
        if name not in self.entries:
            return None
        with Client(self._folder.store) as client:
            return client.read(self._folder / name, most)

    def begins(self, name: str, nbytes: int) -> bytes:
        first = bytearray(min(nbytes, self.entries[name].nbytes))
        with Client(self._folder.store) as client:
            fetch(client, [Part(self._folder / name, self.etag(name), 0, memoryview(first))] if first else [], 1)
        return bytes(first)


def contents(folder: Folder) -> Contents:
    """Return what lies in a folder."""
    return _Objects(folder) if isinstance(folder, ObjectPath) else _Files(folder)
