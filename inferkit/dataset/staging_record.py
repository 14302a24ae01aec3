"""What was staged where. The record is kept beside the copies, so that exactly they can be removed again.

History of the format
---------------------
1   first version
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from inferkit.errors import DatasetError
from inferkit.files import write_whole
from inferkit.text import text_table
from inferkit.units import gigabytes, percent

RECORD_NAME = "staged.json"


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

    name: str
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
    files: dict[str, int]
    made_folder: bool
    copies: list[Copy]

    @property
    def nbytes(self) -> int:
        """Bytes of one copy."""
        return sum(self.files.values())

    def table(self, folder: Path) -> str:
        """Return one line per copy: its folder, node and bytes, and what share of its pages lies on the node."""
        head = ["folder", "NUMA node", "bytes", "on its node"]
        return "\n".join(text_table([self._row(folder, copy) for copy in self.copies], head))

    def _row(self, folder: Path, copy: Copy) -> list[str]:
        held = f"links to {copy.same_as}" if copy.same_as else gigabytes(self.nbytes)
        share = f"unknown: {copy.unknown}" if copy.on_node is None else percent(copy.on_node)
        return [str(folder / copy.name), "unknown" if copy.node is None else str(copy.node), held, share]


def read_record(folder: Path) -> Staged | None:
    """Read a staging folder's record; None where there is none.

    Raises
    ------
    DatasetError
        If there is one that this version cannot read.
    """
    path = folder / RECORD_NAME
    try:
        return Staged.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValidationError, OSError) as error:
        message = f"{path} is no record of staging that this inferkit reads ({error}): remove what was staged by hand"
        raise DatasetError(message) from error


def write_record(folder: Path, record: Staged) -> None:
    """Write a staging folder's record; an older one is replaced."""
    write_whole(folder / RECORD_NAME, record.model_dump_json(indent=1).encode())


def first_copy(folder: Path) -> Path:
    """Return the first copy in a staging folder. Any other folder is returned as it is."""
    record = read_record(folder)
    return folder if record is None else folder / record.copies[0].name


def copy_for(folder: Path, record: Staged, node: int | None, gpus: Sequence[int | str]) -> str:
    """Return the folder of the copy that a rank should read: its GPU's, else its node's, else the first."""
    for wanted in (
        [copy for copy in record.copies if copy.gpu is not None and copy.gpu in gpus],
        [copy for copy in record.copies if copy.node == node and copy.gpu is None],
        [copy for copy in record.copies if copy.node == node],
        record.copies,
    ):
        if wanted:
            return str(folder / wanted[0].name)
    return ""
