"""The journal of an unfinished data set: a line that names the recipe, then one line per finished file."""

import os
import re
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from inferkit.dataset.format import tensor_names
from inferkit.dataset.manifest import HASHES_NAME, JOURNAL_NAME, MANIFEST_NAME, Skipped
from inferkit.dataset.recipe import Recipe
from inferkit.dataset.tensors import file_hashes
from inferkit.dataset.writing import storage_errors
from inferkit.errors import DatasetError, UnfinishedError
from inferkit.files import check_regular, open_own, remove_leftovers, synchronise
from inferkit.linux.locks import lock_alone
from inferkit.os_errors import explained

_MOST_BYTES = 1 << 32  # 17 bytes an image and its skipped neighbours: a hundred million images

_OUR_FILE = re.compile(r"images-\d{5,}\.tensors")


class FinishedFile(BaseModel):
    """One tensor file of a recipe that is done.

    Attributes
    ----------
    index
        Which file.
    images
        Images in it. With 0 there is no file.
    hashes
        Hexadecimal digits of the sidecar's bytes for this file.
    skipped
        Source images that are not in it.
    scales
        Images decoded at each scale.
    source_bytes
        Bytes of source files read for it.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    index: int
    images: int
    hashes: str
    skipped: tuple[Skipped, ...] = ()
    scales: dict[str, int] = {}
    source_bytes: int = 0


def sidecar_hex(hashes: Iterable[int]) -> str:
    """Write xxh3-64 hashes as hexadecimal digits of little-endian uint64."""
    return np.array(list(hashes), "<u8").tobytes().hex()


def _is_ours(name: str) -> bool:
    return name in (MANIFEST_NAME, HASHES_NAME) or _OUR_FILE.fullmatch(name) is not None


class Journal:
    """The journal of one recipe, locked against a second make in the same folder while it is open.

    Leaving the block removes temporary files. It keeps the journal if a file is done, so that the next make resumes.

    Parameters
    ----------
    recipe
        What is being made.
    overwrite
        Start afresh: remove what an earlier make left, finished or not.

    Raises
    ------
    DatasetError
        If another make runs here, the folder holds another recipe's files, or a finished file is truncated or altered.
    """

    def __init__(self, recipe: Recipe, *, overwrite: bool) -> None:
        self._recipe = recipe
        self._path = recipe.folder / JOURNAL_NAME
        self.finished: dict[int, FinishedFile] = {}
        with storage_errors(self._path, 0):
            self._file = open(self._path, "a+b", opener=open_own)  # noqa: SIM115 - closed when the block ends
        with ExitStack() as undo:
            undo.callback(self._file.close)
            with storage_errors(self._path, 0):
                check_regular(os.fstat(self._file.fileno()), _MOST_BYTES)
            self._lock()
            undo.callback(self._remove_if_empty)
            if overwrite:
                self._begin_afresh()
            self._load()
            undo.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        remove_leftovers(self._recipe.folder, _is_ours)
        # A file may be finished but not recorded yet. The journal then stays and says whose file it is.
        if not self.finished and not tensor_names(self._recipe.folder):
            self.remove()
        self._file.close()

    @property
    def images(self) -> int:
        """Images in the finished files."""
        return sum(file.images for file in self.finished.values())

    def add(self, file: FinishedFile) -> None:
        """Record a finished file, durably."""
        self._write(file.model_dump_json())
        self.finished[file.index] = file

    def remove(self) -> None:
        """Remove the journal, because the manifest has taken its place or nothing is worth keeping."""
        self._path.unlink(missing_ok=True)

    def _write(self, line: str) -> None:
        content = line.encode() + b"\n"
        with storage_errors(self._path, len(content), UnfinishedError):
            self._file.write(content)
            self._file.flush()
            synchronise(self._file.fileno(), self._path)

    def _lock(self) -> None:
        try:
            alone = lock_alone(self._file, self._recipe.folder)
        except OSError as error:
            raise self._unlockable(error) from error
        # Without a name it is what another one finished between our open and our lock.
        if not alone or os.fstat(self._file.fileno()).st_nlink == 0:
            raise self._second_make()

    def _unlockable(self, error: OSError) -> DatasetError:
        return DatasetError(f"{self._path} cannot be locked: {explained(error)}")

    def _second_make(self) -> DatasetError:
        return DatasetError(f"another make runs in {self._recipe.folder}. Wait for it, or take another folder.")

    def _remove_if_empty(self) -> None:
        if os.fstat(self._file.fileno()).st_size == 0:
            self.remove()

    def _begin_afresh(self) -> None:
        # The manifest goes first, so that a kill here leaves no folder that looks like a valid data set.
        for name in (MANIFEST_NAME, HASHES_NAME):
            (self._recipe.folder / name).unlink(missing_ok=True)
        for path in self._recipe.folder.glob("images-*.tensors"):
            if _OUR_FILE.fullmatch(path.name):
                path.unlink()
        self._file.truncate(0)

    def _load(self) -> None:
        remove_leftovers(self._recipe.folder, _is_ours)
        self._file.seek(0)
        content = self._file.read()
        # A line without an end was being written when the make was killed.
        whole = content[: content.rfind(b"\n") + 1]
        self._file.truncate(len(whole))
        header, *lines = whole.splitlines() or [b""]
        if header not in (b"", self._recipe.fingerprint.encode()):
            message = (
                f"{self._recipe.folder} holds a half-made data set of other sources or options. Take another folder, "
                "or replace it (`inferkit dataset make --overwrite`)."
            )
            raise DatasetError(message)
        self._refuse_foreign(resuming=bool(header))
        if not header:
            self._write(self._recipe.fingerprint)
        self.finished = {file.index: file for file in map(self._parse, lines) if self._is_kept(file)}

    def _parse(self, line: bytes) -> FinishedFile:
        try:
            return FinishedFile.model_validate_json(line)
        except ValidationError as error:
            message = f"{self._path} is damaged. Begin afresh (`inferkit dataset make --overwrite`)."
            raise DatasetError(message) from error

    def _refuse_foreign(self, *, resuming: bool) -> None:
        ours = {self._recipe.name(index) for index in range(self._recipe.files)} if resuming else set()
        foreign = [name for name in tensor_names(self._recipe.folder) if name not in ours]
        if foreign:
            message = (
                f"{self._recipe.folder / foreign[0]} is not of this data set ({len(foreign)} such). Take another "
                "folder, or move it elsewhere; --overwrite removes only our images-*.tensors files."
            )
            raise DatasetError(message)

    def _is_kept(self, file: FinishedFile) -> bool:
        path: Path = self._recipe.path(file.index)
        if file.images == 0:
            return True
        if not path.exists():
            return False
        expected = file.images * self._recipe.image_bytes
        if path.stat().st_size != expected:
            found = f"truncated: {path.stat().st_size:,} bytes, {expected:,} were written"
        elif sidecar_hex(file_hashes(path, self._recipe.image_bytes, file.images)) != file.hashes:
            found = "altered: its images no longer have the hashes that were recorded"
        else:
            return True
        message = f"{path} is {found}. Delete it and run the same make again, or begin afresh (--overwrite)."
        raise DatasetError(message)
