"""Open a folder of tensor files, described by its manifest or by the caller, and verify what it holds.

This module needs no image library: measuring processes read data sets but do not make them.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import get_args

from inferkit.dataset.contents import Contents, contents
from inferkit.dataset.manifest import HASHES_NAME, JOURNAL_NAME, MANIFEST_NAME, DType, Manifest, read_manifest
from inferkit.dataset.pixels import DTYPES
from inferkit.dataset.tensors import Dataset, TensorFile, hashes_of, image_bytes
from inferkit.errors import DatasetError, ParameterError
from inferkit.objects.place import Folder

_OF_IMAGES = (".JPEG", ".jpeg", ".JPG", ".jpg")
"""Other programs name an image's tensor after the JPEG file that it was made of, one image a file."""

ShowProgress = Callable[[int, int], None]
"""Called with how much is done and how much there is in all: images, or bytes when a data set is staged."""


def open_dataset(folder: Folder, *, dtype: str | None = None, shape: tuple[int, ...] | None = None) -> Dataset:
    """Open a folder of tensor files and check that every file is what it should be.

    Parameters
    ----------
    folder
        Holds ``*.tensors`` files, in sub-folders too.
    dtype, shape
        Of one image. Needed if there is no manifest; otherwise they must agree with it.

    Raises
    ------
    DatasetError
        If the folder is missing, empty or half made, or if a file is missing, truncated or foreign.
    ParameterError
        If dtype or shape make no sense.
    """
    _check_request(dtype, shape)
    there = contents(folder)
    if not there.exists():
        message = f"{folder} is not a folder. Make the data set first, or correct the path."
        raise DatasetError(message)
    manifest = read_manifest(folder)
    if manifest is not None:
        return _open_described(folder, there, manifest, dtype, shape)
    if there.size(JOURNAL_NAME) is not None:
        message = f"{folder} is half made ({JOURNAL_NAME} is there, {MANIFEST_NAME} is not). Run the same make again."
        raise DatasetError(message)
    return _open_undescribed(folder, there, dtype, shape)


def _check_request(dtype: str | None, shape: tuple[int, ...] | None) -> None:
    if dtype is not None and dtype not in DTYPES:
        message = f"dtype is {dtype!r}; it must be one of {', '.join(get_args(DType))}"
        raise ParameterError(message)
    if shape is not None and (not shape or min(shape) < 1):
        message = f"shape is {shape}; it must be at least one positive length, such as (3, 224, 224)"
        raise ParameterError(message)


def tensor_names(folder: Folder) -> list[str]:
    """List ``*.tensors`` files under ``folder``, links followed, as sorted posix paths relative to it.

    Raises
    ------
    InferkitError
        If a sub-folder, or the store, cannot be listed.
    """
    return contents(folder).names((".tensors",))


def _open_described(
    folder: Folder, there: Contents, manifest: Manifest, dtype: str | None, shape: tuple[int, ...] | None
) -> Dataset:
    for what, asked, found in (("dtype", dtype, manifest.dtype), ("shape", shape, manifest.shape)):
        if asked is not None and asked != found:
            message = (
                f"{what} is {asked}, but the manifest of {folder} says {found}: leave {what} out, or make a data set "
                f"of {what} {asked} in another folder"
            )
            raise DatasetError(message)
    listed = tuple(TensorFile(entry.name, entry.images, entry.nbytes) for entry in manifest.files)
    dataset = Dataset(folder, manifest.dtype, manifest.shape, listed, described=True)
    for file in listed:
        _check_size(dataset, file, there.size(file.name))
    files = tuple(replace(file, etag=there.etag(file.name)) for file in listed)
    dataset = replace(dataset, files=files)
    if manifest.images != dataset.images:
        message = f"{folder / MANIFEST_NAME} says {manifest.images:,} images, its files add up to {dataset.images:,}"
        raise DatasetError(message)
    foreign = set(there.names((".tensors",))) - {file.name for file in files}
    if foreign:
        message = f"{folder / min(foreign)} is not listed in {MANIFEST_NAME} ({len(foreign)} such). Move it elsewhere."
        raise DatasetError(message)
    return dataset


def _check_size(dataset: Dataset, file: TensorFile, size: int | None) -> None:
    path = dataset.folder / file.name
    expected = file.images * dataset.image_bytes
    if size is None:
        found = "is missing"
    elif size != expected or file.nbytes != expected:
        found = f"holds {size:,} bytes"
    else:
        return
    message = (
        f"{path} {found}; the manifest says {file.images:,} images of {dataset.dtype} {dataset.shape} in "
        f"{file.nbytes:,} bytes, which need {expected:,}. Copy the file again, or make the data set again."
    )
    raise DatasetError(message)


def _open_undescribed(folder: Folder, there: Contents, dtype: str | None, shape: tuple[int, ...] | None) -> Dataset:
    names = there.names((".tensors",)) or _named_after_images(there)
    if not names:
        message = f"{folder} holds neither {MANIFEST_NAME} nor *.tensors files. Make a data set, or correct the path."
        raise DatasetError(message)
    if dtype is None or shape is None:
        message = f"{folder} has no {MANIFEST_NAME}: say dtype and shape, such as dtype='uint8', shape=(3, 224, 224)"
        raise DatasetError(message)
    one = image_bytes(dtype, shape)
    sizes = {name: there.size(name) or 0 for name in names}
    files = tuple(
        TensorFile(name, _whole_images(folder / name, size, one, dtype, shape), size, there.etag(name))
        for name, size in sizes.items()
    )
    return Dataset(folder, dtype, shape, files, described=False)


def _named_after_images(there: Contents) -> list[str]:
    names = there.names(_OF_IMAGES)
    return [] if not names or there.begins(names[0], 2) == b"\xff\xd8" else names  # they are photographs


def _whole_images(path: Folder, size: int, one: int, dtype: str, shape: tuple[int, ...]) -> int:
    if size == 0 or size % one:
        message = (
            f"{path} holds {size:,} bytes, which is no whole number of {dtype} images of shape {shape} ({one:,} bytes "
            "each). It is truncated, or dtype and shape are not those it was made with."
        )
        raise DatasetError(message)
    return size // one


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What verifying found.

    Attributes
    ----------
    images
        Images hashed.
    altered
        File name and index within that file of each image that is not what was made.
    """

    images: int
    altered: tuple[tuple[str, int], ...]

    @property
    def ok(self) -> bool:
        """True if every image is what was made."""
        return not self.altered


def verify(dataset: Dataset, progress: ShowProgress | None = None) -> VerifyReport:
    """Hash every image and compare it with the sidecar.

    Parameters
    ----------
    dataset
        Made by inferkit: it must have a sidecar.
    progress
        Called with images done and images in all after each file.

    Raises
    ------
    DatasetError
        If there is no sidecar, or if a file has become shorter.
    """
    expected = dataset.hashes()
    if expected is None:
        message = f"{dataset.folder} has no {HASHES_NAME}, so nothing says what its images should be"
        raise DatasetError(message)
    altered: list[tuple[str, int]] = []
    done = 0
    for index, file in enumerate(dataset.files):
        for position, found in enumerate(hashes_of(dataset, index)):
            if found != expected[done + position]:
                altered.append((file.name, position))
        done += file.images
        if progress is not None:
            progress(done, len(expected))
    return VerifyReport(done, tuple(altered))
