"""What is to be made: sources, options, and which image goes into which file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xxhash

from inferkit.dataset.manifest import SCHEMA, DType
from inferkit.dataset.tensors import image_bytes
from inferkit.objects.place import ObjectPath


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What is to be made. The same recipe gives the same bytes.

    Attributes
    ----------
    folder
        Where it is made.
    dtype, shape
        Of one image.
    count
        Source images, before any is skipped.
    images_per_file
        Source images per file.
    facts
        Fields of the manifest that say how images are made, such as source and seed.
    sources
        Digest of the source images' names and sizes.
    place
        The objects that it becomes once it is made; None: it stays in the folder.
    """

    folder: Path
    dtype: DType
    shape: tuple[int, ...]
    count: int
    images_per_file: int
    facts: dict[str, Any]
    sources: str = ""
    place: ObjectPath | None = None

    @property
    def fingerprint(self) -> str:
        """Digest of everything that shapes the bytes."""
        asked = (
            SCHEMA,
            self.dtype,
            self.shape,
            self.count,
            self.images_per_file,
            sorted(self.facts.items()),
            self.sources,
        )
        return xxhash.xxh3_128_hexdigest(repr(asked).encode())

    @property
    def image_bytes(self) -> int:
        """Bytes of one image."""
        return image_bytes(self.dtype, self.shape)

    @property
    def files(self) -> int:
        """How many files the recipe makes. A file does not appear if all of its images are skipped."""
        return -(-self.count // self.images_per_file)

    def span(self, index: int) -> range:
        """Source images of file ``index``."""
        first = index * self.images_per_file
        return range(first, min(first + self.images_per_file, self.count))

    def name(self, index: int) -> str:
        """Name of file ``index``."""
        return f"images-{index:05d}.tensors"

    def path(self, index: int) -> Path:
        """Path of file ``index``."""
        return self.folder / self.name(index)
