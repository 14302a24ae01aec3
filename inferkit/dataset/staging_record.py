"""What was staged where. The record is kept beside the copies, so that exactly they can be removed again.

History of the format
---------------------
1   first version
"""

import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError, model_validator

from inferkit.dataset.manifest import inside
from inferkit.errors import DatasetError
from inferkit.files import read_regular, write_whole
from inferkit.text import text_table
from inferkit.units import gigabytes, percent

RECORD_NAME = "staged.json"
LOCK_NAME = ".staged.lock"

_MOST_BYTES = 1 << 30  # about 100 bytes a file and copy: ten million


def _folder_name(name: str) -> str:
    if "/" in inside(name) or name in (RECORD_NAME, LOCK_NAME):
        message = f"{name!r} is no name of a folder of its own inside the staging folder"
        raise ValueError(message)
    return name


Inside = Annotated[str, AfterValidator(inside)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Copy(_Record):
    """One copy of the data set.

    Attributes
    ----------
    name
        Its folder, under the staging folder.
    node
        The NUMA node on which its pages should lie; None if the machine's nodes are unknown.
    gpu
        The GPU that it is for; None: all GPUs of the node.
    same_as
        The copy whose bytes it shares by hard links; empty: bytes of its own.
    on_node
        Share of its pages that lie on the node; None if unknown, and ``unknown`` says why.
    pages
        Pages by node.
    inodes
        Inode of each file, by its name: only the same file is removed again. Empty: not finished.
    """

    name: Annotated[str, AfterValidator(_folder_name)]
    node: int | None = None
    gpu: int | None = None
    same_as: str = ""
    on_node: float | None = None
    pages: dict[str, int] = {}
    unknown: str = ""
    inodes: dict[str, int] = {}


class Staged(_Record):
    """All copies of a data set in a staging folder.

    Attributes
    ----------
    source
        The folder that was staged.
    files
        Bytes of every file of a copy, by its name.
    made_folder
        Whether the staging folder itself was made.
    copies : list of Copy
    """

    schema_version: Literal[1] = 1
    source: str
    files: Annotated[dict[Inside, NonNegativeInt], Field(min_length=1)]
    made_folder: bool
    copies: Annotated[list[Copy], Field(min_length=1)]

    @model_validator(mode="after")
    def _names_are_told_apart(self) -> Self:
        own = [copy.name for copy in self.copies if not copy.same_as]
        if len({copy.name for copy in self.copies}) < len(self.copies):
            message = "two copies have one name"
            raise ValueError(message)
        if lost := [copy.same_as for copy in self.copies if copy.same_as and copy.same_as not in own]:
            message = f"no copy with bytes of its own is called {lost[0]!r}"
            raise ValueError(message)
        return self

    @property
    def nbytes(self) -> int:
        """Bytes of one copy."""
        return sum(self.files.values())

    @property
    def finished(self) -> bool:
        """Whether all was copied; else the process was killed that did it."""
        return all(copy.inodes for copy in self.copies)

    def table(self, folder: Path) -> str:
        """Return one line per copy: its folder, node and bytes, and what share of its pages lies on the node."""
        head = ["folder", "NUMA node", "bytes", "on its node"]
        return "\n".join(text_table([self._row(folder, copy) for copy in self.copies], head))

    def _row(self, folder: Path, copy: Copy) -> list[str]:
        held = f"links to {copy.same_as}" if copy.same_as else gigabytes(self.nbytes)
        share = f"unknown: {copy.unknown}" if copy.on_node is None else percent(copy.on_node)
        return [str(folder / copy.name), "unknown" if copy.node is None else str(copy.node), held, share]


def read_record(folder: Path) -> Staged | None:
    """Read a staging folder's record; None where there is none, or only one of another user than the folder's.

    Raises
    ------
    DatasetError
        If there is one that this version cannot read, or that is a link.
    """
    path = folder / RECORD_NAME
    try:
        status = path.lstat()
        if status.st_uid != folder.stat().st_uid:  # whoever may write to /tmp says nothing of what lies there
            return None
        if stat.S_ISLNK(status.st_mode):
            message = f"{path} is a link, and a record of staging is none: remove it by hand"
            raise DatasetError(message)
        return Staged.model_validate_json(read_regular(path, _MOST_BYTES))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"]) or "the whole file"
        reason = f"{where}: {first['msg']}"
    except OSError as error:
        reason = error.strerror or str(error)
    message = f"{path} is no record of staging that this inferkit reads ({reason}): remove what was staged by hand"
    raise DatasetError(message)


def write_record(folder: Path, record: Staged) -> None:
    """Write a staging folder's record; an older one is replaced."""
    write_whole(folder / RECORD_NAME, record.model_dump_json(indent=1).encode())


def first_copy(folder: Path) -> Path:
    """Return the first copy in a staging folder. Any other folder is returned as it is.

    Raises
    ------
    DatasetError
        If its record cannot be read, its copies were not finished, or the copy is a link.
    """
    record = read_record(folder)
    return folder if record is None else _copy_folder(folder, record, record.copies[0])


def copy_for(folder: Path, record: Staged, node: int | None, gpus: Sequence[int | str]) -> str:
    """Return the folder of the copy that a rank should read: its GPU's, else its node's, else the first."""
    wanted = next(
        filter(
            None,
            (
                [copy for copy in record.copies if copy.gpu is not None and copy.gpu in gpus],
                [copy for copy in record.copies if copy.node == node and copy.gpu is None],
                [copy for copy in record.copies if copy.node == node],
                record.copies,
            ),
        )
    )
    return str(_copy_folder(folder, record, wanted[0]))


def _copy_folder(folder: Path, record: Staged, copy: Copy) -> Path:
    """Return a copy's folder. A record, which may be another user's, leads nowhere but into its own folder."""
    path = folder / copy.name
    if not record.finished:
        message = f"{folder} was staged only in part: run `inferkit dataset stage {record.source} --to {folder}` again"
        raise DatasetError(message)
    if path.is_symlink():
        message = f"{path} is a link, and a staged copy is none: name the folder that it leads to, or stage again"
        raise DatasetError(message)
    return path
