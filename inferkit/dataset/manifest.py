"""What ``dataset.json`` says about a folder of tensor files.

History of the format
---------------------
1   first version
"""

from collections import Counter
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from inferkit.dataset.contents import contents
from inferkit.errors import DatasetError
from inferkit.objects.place import Folder
from inferkit.records.bounds import COUNTER, FILES, IMAGES, PATH
from inferkit.records.values import FilePath, Lengths, Seed
from inferkit.records.values import Images as Limit
from inferkit.text import quoted, shortened

SCHEMA: Literal[1] = 1
MANIFEST_NAME = "dataset.json"
HASHES_NAME = "dataset.xxh3"
JOURNAL_NAME = "dataset.journal"

_MOST_BYTES = 1 << 30  # about 100 bytes a file: ten million files

DType = Literal["uint8", "float32"]
Resize = Literal["stretch", "crop"]


def inside(name: str) -> str:
    """Return a file's name if it leads into its folder and nowhere else: a posix path without ``..``.

    Raises
    ------
    ValueError
        If it does not. (A link in the folder may still lead out: what writes or removes follows none.)
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name or str(path) != name:
        message = f"{name!r} is not the relative path of a file inside the folder"
        raise ValueError(message)
    return name


def _tensors(name: str) -> str:
    if PurePosixPath(name).suffix != ".tensors":
        message = f"{name!r} is not the relative path of a *.tensors file inside the folder"
        raise ValueError(message)
    return name


Short = Annotated[str, Field(max_length=PATH)]
Images = Annotated[int, Field(gt=0, le=IMAGES)]
Scale = Annotated[str, Field(pattern="^[1248]$")]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", populate_by_name=True)


class Skipped(_Record):
    """A source image that is not in the data set.

    Attributes
    ----------
    name
        Posix path relative to the folder of images.
    reason
        Why not, for people to read.
    """

    name: Short
    reason: Short


class FileEntry(_Record):
    """One tensor file.

    Attributes
    ----------
    name
        Posix path relative to the folder.
    images
        Images in the file, back to back.
    nbytes
        Bytes of the file; the key in JSON is ``bytes``.
    """

    name: Annotated[FilePath, AfterValidator(inside), AfterValidator(_tensors)]
    images: Images
    nbytes: Annotated[int, Field(gt=0, le=COUNTER)] = Field(alias="bytes")


def _each_once(files: tuple[FileEntry, ...]) -> tuple[FileEntry, ...]:
    names = Counter(file.name for file in files)
    if len(names) < len(files):
        message = f"{quoted(names.most_common(1)[0][0])} is listed twice"
        raise ValueError(message)
    return files


class Manifest(_Record):
    """All of ``dataset.json``. The same recipe gives the same bytes, so it holds neither times nor absolute paths.

    Attributes
    ----------
    version
        Version of this format; the key in JSON is ``schema``.
    dtype, shape
        Of one image: ``uint8`` or little-endian ``float32``, (channels, height, width).
    images
        Images in all files.
    files
        In reading order.
    source
        ``images`` (decoded JPEG files) or ``synthetic`` (random bytes).
    job
        Fingerprint of the recipe: sources, options, seed. Only a make of the same one may resume or keep a folder.
    images_per_file, seed
        As asked. File k is made of source images k·n … (k+1)·n − 1.
    resize, fast, exif, shuffle, limit
        How images were made; synthetic data has none of these. ``exif: applied``: photographs are upright.
    scales
        Images decoded at 1/1, 1/2, 1/4 and 1/8 of their size, keyed by the denominator.
    skipped
        Source images that could not be used.
    """

    version: Literal[1] = Field(default=SCHEMA, alias="schema")
    dtype: DType
    shape: Annotated[Lengths, Field(min_length=1)]
    images: Images
    source: Literal["images", "synthetic"]
    job: Short
    images_per_file: Images
    seed: Seed
    resize: Resize | None = None
    fast: bool | None = None
    exif: Literal["applied"] | None = None
    shuffle: bool | None = None
    limit: Limit | None = None
    scales: dict[Scale, Limit] | None = None
    skipped: tuple[Skipped, ...] = ()
    files: Annotated[tuple[FileEntry, ...], Field(min_length=1, max_length=FILES), AfterValidator(_each_once)]

    def to_json(self) -> bytes:
        """Write this manifest as the bytes of ``dataset.json``."""
        return self.model_dump_json(indent=2, by_alias=True, exclude_none=True).encode() + b"\n"


def read_manifest(folder: Folder) -> Manifest | None:
    """Read ``dataset.json`` in ``folder``; None where there is none.

    Raises
    ------
    DatasetError
        If it cannot be read, is not JSON, or breaks the schema.
    """
    path = folder / MANIFEST_NAME
    content = contents(folder).read(MANIFEST_NAME, _MOST_BYTES)
    try:
        return None if content is None else Manifest.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = shortened(".".join(str(step) for step in first["loc"]), 80) or "the whole file"
        message = (
            f"{path} is not a manifest of schema {SCHEMA}: {where}: {first['msg']} "
            f"({error.error_count()} faults). Make the data set again, or take a folder that inferkit made."
        )
        raise DatasetError(message) from error
