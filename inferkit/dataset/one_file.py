"""Decode the photographs of one tensor file: what a worker process does.

It imports neither pydantic nor the client of object stores: with these a worker takes half as much CPU again to start.
"""

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from inferkit.dataset.decode import Decoder, ImageError
from inferkit.dataset.markers import MAX_BYTES
from inferkit.dataset.pixels import DTYPES, image_hash
from inferkit.dataset.workers import noting
from inferkit.dataset.writing import new_file
from inferkit.files import read_regular
from inferkit.objects.place import Folder, ObjectPath, Store
from inferkit.text import plain, spelled

if TYPE_CHECKING:
    from inferkit.dataset.manifest import DType, Resize
    from inferkit.objects.client import Client


@dataclass(frozen=True, slots=True)
class Decoding:
    """How photographs are decoded, and to what; see :class:`Decoder`."""

    size: int
    resize: "Resize"
    fast: bool
    shape: tuple[int, ...]
    dtype: "DType"

    def decoder(self) -> Decoder:
        """Return what decodes so."""
        return Decoder(self.size, resize=self.resize, fast=self.fast)

    def image(self) -> npt.NDArray[Any]:
        """Return memory for one image."""
        return np.empty(self.shape, DTYPES[self.dtype])


@dataclass(frozen=True, slots=True)
class Task:
    """One tensor file to make.

    Attributes
    ----------
    index, path
        Which file, and its final name.
    images, sources
        Folder of JPEG files, and those to decode, relative to it.
    decoding
        How they are decoded.
    places
        Where to note which of the sources is being decoded; see :class:`Places`.
    deadly
        Those that ended a worker process, with the reason: not to be decoded again.
    """

    index: int
    path: Path
    images: Folder
    sources: tuple[str, ...]
    decoding: Decoding
    places: str
    deadly: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Made:
    """What became of a task.

    Attributes
    ----------
    index
        Which file.
    hashes
        Of its images.
    skipped
        Names of sources that are not in it, and the reasons.
    scales
        Images decoded at each scale.
    source_bytes
        Bytes of source files read for it.
    """

    index: int
    hashes: list[int]
    skipped: list[tuple[str, str]]
    scales: dict[str, int]
    source_bytes: int


def make_file(task: Task) -> Made:
    """Make one tensor file."""
    decoder, image = task.decoding.decoder(), task.decoding.image()
    hashes: list[int] = []
    skipped: list[tuple[str, str]] = []
    scales: Counter[str] = Counter()
    nbytes = 0
    with noting(task.places, task.index) as note, new_file(task.path, len(task.sources) * image.nbytes) as file:
        for place, name in enumerate(task.sources, 1):
            note(place)
            try:
                _refuse_deadly(task, name)
                data = read(task.images / name)
                nbytes += len(data)
                scale = decoder.decode(data, image)
            except ImageError as error:
                skipped.append((spelled(name), plain(str(error))))
                continue
            file.write(image.data)
            hashes.append(image_hash(image))
            scales[str(scale)] += 1
    return Made(task.index, hashes, skipped, dict(scales), nbytes)


def decode_alone(path: Folder, decoding: Decoding) -> None:
    """Decode one photograph whose pixels nobody wants, to see whether it ends this process."""
    with suppress(ImageError):
        decoding.decoder().decode(read(path), decoding.image())


def _refuse_deadly(task: Task, name: str) -> None:
    if name in task.deadly:
        raise ImageError(task.deadly[name])


def read(path: Folder) -> bytes:
    """Return the bytes of a photograph.

    Raises
    ------
    ImageError
        If it cannot be read.
    """
    try:
        return (
            _client(path.store).read(path, MAX_BYTES) if isinstance(path, ObjectPath) else read_regular(path, MAX_BYTES)
        )
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
        raise ImageError(message) from error


@cache
def _client(store: Store) -> "Client":
    """Return a worker process's client, which keeps its connection from one image to the next."""
    from inferkit.objects.client import Client

    return Client(store)
