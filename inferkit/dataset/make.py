"""A make that can be interrupted and resumes.

The journal beside the tensor files says which files are finished; a make of the same recipe keeps them.
``dataset.json`` is written last, and the journal then removed.
"""

import shutil
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace

import xxhash

from inferkit.dataset.format import ShowProgress, open_dataset
from inferkit.dataset.journal import FinishedFile, Journal
from inferkit.dataset.manifest import (
    HASHES_NAME,
    JOURNAL_NAME,
    MANIFEST_NAME,
    FileEntry,
    Manifest,
    Skipped,
    read_manifest,
)
from inferkit.dataset.push import push
from inferkit.dataset.recipe import Recipe
from inferkit.dataset.tensors import Dataset
from inferkit.dataset.writing import check_space, new_file, storage_errors
from inferkit.errors import DatasetError, UnfinishedError
from inferkit.files import cache_folder, say_once
from inferkit.linux.mounts import existing
from inferkit.objects.place import Folder, ObjectPath
from inferkit.records.bounds import FILES
from inferkit.units import gigabytes

MakeFiles = Callable[[Recipe, list[int]], Generator[FinishedFile]]


@dataclass(frozen=True, kw_only=True)
class MakeReport:
    """What a make did.

    Attributes
    ----------
    dataset
        What was made, opened.
    made
        Images made now.
    resumed
        Images kept from an earlier run of the same recipe.
    skipped
        Source images that could not be used, in this run and earlier ones.
    seconds
        Wall-clock time of this run.
    bytes_read
        Bytes of the JPEG files read now.
    """

    dataset: Dataset
    made: int
    resumed: int
    skipped: tuple[Skipped, ...]
    seconds: float
    bytes_read: int = 0

    @property
    def images_per_s(self) -> float:
        """Images made now per second of this run, which includes the start of worker processes."""
        return self.made / self.seconds


def make(
    recipe: Recipe,
    make_files: MakeFiles,
    *,
    overwrite: bool,
    progress: ShowProgress | None,
) -> MakeReport:
    """Make what is missing of a recipe.

    Parameters
    ----------
    recipe
        What to make.
    make_files
        Called with the recipe and the indices of missing files. Makes them in any order and yields each once it has its
        final name.
    overwrite
        Remove an earlier data set from the folder first, whatever its recipe.
    progress
        Called with source images done and in all, at the start and after each file.

    Raises
    ------
    DatasetError
        If the folder holds something else, or the storage has too little space or none for us.
    UnfinishedError
        If the storage failed later, or no image could be used.
    """
    if recipe.place is not None:
        return _made_and_pushed(recipe, recipe.place, make_files, overwrite=overwrite, progress=progress)
    started = time.perf_counter()
    if recipe.files > FILES:
        message = f"it would be {recipe.files:,} files, at most {FILES:,} are possible: raise images_per_file"
        raise DatasetError(message)
    with storage_errors(recipe.folder / MANIFEST_NAME, recipe.count * recipe.image_bytes):
        recipe.folder.mkdir(parents=True, exist_ok=True)
    if not overwrite and (manifest := _same_recipe(recipe, recipe.folder)) is not None:
        return _kept(recipe, manifest, started)
    with Journal(recipe, overwrite=overwrite) as journal:
        kept = journal.images
        missing = [index for index in range(recipe.files) if index not in journal.finished]
        check_space(recipe.folder, sum(len(recipe.span(index)) for index in missing) * recipe.image_bytes)
        with closing(make_files(recipe, missing)) as files:
            now = list(_recorded(recipe, journal, files, progress))
        manifest = _finish(recipe, journal)
        journal.remove()
    return MakeReport(
        dataset=open_dataset(recipe.folder),
        made=sum(file.images for file in now),
        resumed=kept,
        skipped=manifest.skipped,
        seconds=time.perf_counter() - started,
        bytes_read=sum(file.source_bytes for file in now),
    )


def _made_and_pushed(
    recipe: Recipe, place: ObjectPath, make_files: MakeFiles, *, overwrite: bool, progress: ShowProgress | None
) -> MakeReport:
    """Make a data set in the cache and push it, each of which goes on where it stopped; then it leaves the cache."""
    started = time.perf_counter()
    if not overwrite and (manifest := _same_recipe(recipe, place)) is not None:
        dataset = open_dataset(place)
        seconds = time.perf_counter() - started
        return MakeReport(dataset=dataset, made=0, resumed=dataset.images, skipped=manifest.skipped, seconds=seconds)
    where = xxhash.xxh3_64_hexdigest(f"{place.store} {place} {recipe.fingerprint}".encode())
    here = replace(recipe, folder=cache_folder("made") / where, place=None)
    nbytes, free = recipe.count * recipe.image_bytes, shutil.disk_usage(existing(here.folder)).free
    say_once(
        f"{place} is made in {here.folder} first, which takes {gigabytes(nbytes)} of {gigabytes(free)} free there; "
        "then it is sent, and removed from there (XDG_CACHE_HOME names another place)"
    )
    report = make(here, make_files, overwrite=False, progress=progress)
    show = progress or (lambda done, total: None)
    push(here.folder, place, lambda *_: show(recipe.count, recipe.count), overwrite=overwrite)  # a sign of life
    shutil.rmtree(here.folder)
    return replace(report, dataset=open_dataset(place), seconds=time.perf_counter() - started)


def _same_recipe(recipe: Recipe, folder: Folder) -> Manifest | None:
    manifest = read_manifest(folder)
    if manifest is not None and manifest.job != recipe.fingerprint:
        message = (
            f"{folder} holds a data set that was made otherwise: {manifest.images:,} {manifest.dtype} images "
            f"{manifest.shape}, source {manifest.source}, seed {manifest.seed}; sources or options differ from what is "
            "asked now. Take another folder, or replace it (`inferkit dataset make --overwrite`)."
        )
        raise DatasetError(message)
    return manifest


def _kept(recipe: Recipe, manifest: Manifest, started: float) -> MakeReport:
    dataset = open_dataset(recipe.folder)
    journal = recipe.folder / JOURNAL_NAME
    if journal.exists():  # killed between the last two steps
        journal.unlink()
    seconds = time.perf_counter() - started
    return MakeReport(dataset=dataset, made=0, resumed=dataset.images, skipped=manifest.skipped, seconds=seconds)


def _recorded(
    recipe: Recipe, journal: Journal, files: Iterator[FinishedFile], progress: ShowProgress | None
) -> Iterator[FinishedFile]:
    done = sum(len(recipe.span(index)) for index in journal.finished)
    report: ShowProgress = progress or (lambda done, total: None)
    report(done, recipe.count)
    for file in files:
        journal.add(file)
        done += len(recipe.span(file.index))
        report(done, recipe.count)
        yield file


def _finish(recipe: Recipe, journal: Journal) -> Manifest:
    finished = [journal.finished[index] for index in range(recipe.files)]
    skipped = tuple(skip for file in finished for skip in file.skipped)
    if not journal.images:
        journal.remove()
        message = f"none of {recipe.count:,} images could be used; the first, {skipped[0].name}: {skipped[0].reason}"
        raise UnfinishedError(message)
    files = tuple(
        FileEntry(name=recipe.name(file.index), images=file.images, nbytes=file.images * recipe.image_bytes)
        for file in finished
        if file.images
    )
    manifest = Manifest(
        dtype=recipe.dtype,
        shape=recipe.shape,
        images=journal.images,
        images_per_file=recipe.images_per_file,
        job=recipe.fingerprint,
        files=files,
        skipped=skipped,
        scales=_total(finished),
        **recipe.facts,
    )
    for name, content in (
        (HASHES_NAME, b"".join(bytes.fromhex(file.hashes) for file in finished)),
        (MANIFEST_NAME, manifest.to_json()),
    ):
        with new_file(recipe.folder / name, len(content)) as file:
            file.write(content)
    return manifest


def _total(finished: list[FinishedFile]) -> dict[str, int] | None:
    names = sorted({name for file in finished for name in file.scales}, key=int)
    return {name: sum(file.scales.get(name, 0) for file in finished) for name in names} or None
