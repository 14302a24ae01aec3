"""Built engines on disk: found again by everything that shaped them; if several processes want one, one builds it."""

import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import sleep

import xxhash

from inferkit.errors import EngineError
from inferkit.files import cache_folder, open_own, write_whole
from inferkit.linux.locks import lock_alone
from inferkit.linux.ownership import may_be_trusted, meddler
from inferkit.os_errors import explained

DIGEST_BYTES = 16
WAIT_S = 0.2
"""Seconds between two tries to get a lock."""
PROGRESS = logging.getLogger("inferkit.progress")
"""Says how far an engine is, to people who wait for it."""


class EngineFile:
    """The file of one built engine (TensorRT calls it a plan): a digest of 16 bytes, then the plan.

    Files lie in ``$XDG_CACHE_HOME/inferkit/engines`` (default ``~/.cache``), where nobody else may write: an engine is
    code, which is run. The empty, hidden file beside each is its lock, and stays.

    Parameters
    ----------
    name
        What people recognise in the folder.
    shaped_by
        Everything that shapes the engine; any difference makes another file.
    """

    def __init__(self, name: str, shaped_by: Mapping[str, object]) -> None:
        key = xxhash.xxh3_128_hexdigest(json.dumps(shaped_by, sort_keys=True).encode())
        self.path = engine_path(f"{name[:80]}-{key}.engine")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out: one builds the engine, the others find it. The kernel unlocks if this one dies.

        Raises
        ------
        EngineError
            If nothing can be written there, or others can write there too.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            _refuse_meddlers(self.path.parent)
            lock = open_own(self.path.with_name(f".{self.path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            self._wait(lock)
            yield
        finally:
            os.close(lock)

    def _wait(self, lock: int) -> None:
        """Wait for the lock and say so; each new try shows that this process does not hang."""
        try:
            while not lock_alone(lock, self.path.parent):
                PROGRESS.info("waiting for another process that makes %s", self.path.name)
                sleep(WAIT_S)
        except OSError as error:
            raise self._unwritable(error) from error

    def read(self) -> bytes | None:
        """Return the plan; None if there is none.

        Raises
        ------
        TornEngineError
            If the file is damaged.
        """
        return read_plan(self.path)

    def read_or_begin(self) -> bytes | None:
        """Return what the file holds; None, with a warning if it is damaged, to begin anew."""
        try:
            return self.read()
        except TornEngineError as error:
            PROGRESS.warning("%s: begun anew", error)
            return None

    def write(self, plan: bytes) -> None:
        """Write a plan, which appears whole or not at all.

        Raises
        ------
        EngineError
            If it cannot be written.
        """
        try:
            write_whole(self.path, xxhash.xxh3_128_digest(plan), plan, mode=0o600)
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> EngineError:
        return EngineError(f"{self.path}: cannot be written: {explained(error)} (XDG_CACHE_HOME)")


def engine_path(name: str) -> Path:
    """Return where an engine's file of that name lies."""
    return cache_folder("engines") / name


def read_plan(path: Path) -> bytes | None:
    """Return the plan in an engine's file; None if there is none.

    Raises
    ------
    TornEngineError
        If the file is damaged, or others can write to it.
    EngineError
        If others can write to its folder.
    """
    _refuse_meddlers(path.parent)
    try:
        with path.open("rb") as file:
            if not may_be_trusted(os.fstat(file.fileno())):
                message = f"{path.name} in the cache of engines is another user's, or others may write to it"
                raise TornEngineError(message)
            content = file.read()
    except FileNotFoundError:
        return None
    plan = content[DIGEST_BYTES:]
    if xxhash.xxh3_128_digest(plan) != content[:DIGEST_BYTES]:
        message = f"{path.name} in the cache of engines was torn or altered"
        raise TornEngineError(message)
    return plan


def _refuse_meddlers(folder: Path) -> None:
    """Refuse a cache into which others could lay an engine."""
    if who := meddler(folder):
        message = (
            f"{folder} keeps engines, which are code, and {who}: let nobody else write there (chmod go-w), or set "
            "XDG_CACHE_HOME to a folder of your own"
        )
        raise EngineError(message)


class TornEngineError(EngineError):
    """An engine's file is damaged, or not this user's."""
