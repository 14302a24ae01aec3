"""Make a data set from a folder of JPEG files, on all cores."""

import os
import random
from collections.abc import Generator, Iterator
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import partial
from pathlib import Path

import xxhash

from inferkit.dataset.contents import Contents, contents
from inferkit.dataset.folders import Found, search
from inferkit.dataset.format import ShowProgress
from inferkit.dataset.journal import FinishedFile, sidecar_hex
from inferkit.dataset.make import MakeReport, make
from inferkit.dataset.manifest import Skipped
from inferkit.dataset.one_file import Decoding, Made, Task, decode_alone, make_file
from inferkit.dataset.recipe import Recipe
from inferkit.dataset.sources import decoded_shape, photographs_folder
from inferkit.dataset.target import dtype_of, where
from inferkit.dataset.workers import BEGUN, Places, run_alone
from inferkit.dataset.workers import processes as _processes
from inferkit.errors import DatasetError, UnfinishedError
from inferkit.linux.cgroups import cpus
from inferkit.objects.place import Folder, ObjectPath
from inferkit.records.params import MakeDataset

SUFFIXES = (".jpg", ".jpeg")

_ENDED = (
    "a worker process ended without a word. Was it out of memory, or killed? Run the same make again: it resumes. "
    "A script that calls this needs 'if __name__ == \"__main__\":', because workers import it."
)


def make_from_images(
    params: MakeDataset, *, overwrite: bool = False, progress: ShowProgress | None = None
) -> MakeReport:
    """Decode JPEG files into tensor files of CHW RGB images; resume where an earlier run of the same recipe stopped.

    Parameters
    ----------
    params
        What to make, of which files, and where. The folder may hold a data set of the same recipe, finished or not.
    overwrite
        Replace a data set that was made otherwise.
    progress
        Called with source images done and in all, after each tensor file.

    Raises
    ------
    ParameterError
        If no folder of images is named, or the demo's photographs cannot be had.
    DatasetError
        If there are no images, none can be used, the folder holds something else, or the storage refuses.

    Notes
    -----
    Sources are the same if their names and sizes are; times do not count, so a copy is the same source. Files that
    cannot be used are left out. The report and the manifest list them with the reason.
    """
    images = photographs_folder(params)
    sources = find_images(images, shuffle=params.shuffle, seed=params.seed, limit=params.limit)
    chosen = params.model_dump(include={"seed", "resize", "fast", "shuffle", "limit"})
    recipe = Recipe(
        **where(params),
        dtype=dtype_of(params),
        shape=decoded_shape(params),
        count=len(sources),
        images_per_file=params.images_per_file,
        facts={"source": "images", "exif": "applied"} | chosen,
        sources=_digest(images, sources),
    )
    return make(recipe, partial(_make_files, params, images, sources), overwrite=overwrite, progress=progress)


def find_images(folder: Folder, *, shuffle: bool = False, seed: int = 0, limit: int = 0) -> list[str]:
    """List JPEG files under ``folder`` as posix paths relative to it: sorted, shuffled if asked, then limited.

    Links to folders are followed. A folder that cannot be listed is in the list itself, so that it is skipped with the
    reason and not left out without a word.

    Raises
    ------
    DatasetError
        If there are none.
    """
    there = contents(folder)
    files, unlisted = search(folder) if isinstance(folder, Path) else Found(there.names(("",)), [])
    found = sorted([*(name for name in files if name.lower().endswith(SUFFIXES)), *unlisted])
    if not found or not there.exists():
        state = "holds no .jpg or .jpeg files" if there.exists() else "is not a folder"
        message = f"{folder} {state}. Give the folder of photographs; sub-folders are searched."
        raise DatasetError(message)
    if shuffle:
        random.Random(seed).shuffle(found)
    return found[: limit or None]


def _digest(folder: Folder, sources: list[str]) -> str:
    digest = xxhash.xxh3_128()
    there = contents(folder)
    for name in sources:
        digest.update(os.fsencode(f"{name}\0{_size(there, folder / name, name)}\0"))
    return digest.hexdigest()


def _size(there: Contents, place: Folder, name: str) -> int:
    if isinstance(place, ObjectPath):
        return there.size(name) or 0
    try:
        return place.stat().st_size
    except OSError:
        return -1  # a dangling link: reading it fails, and it is then skipped with the reason


def _make_files(
    params: MakeDataset, images: Folder, sources: list[str], recipe: Recipe, missing: list[int]
) -> Generator[FinishedFile]:
    """Make tensor files in worker processes. A source file that ends its worker is found, and skipped next time."""
    workers = params.workers or cpus()
    decoding = Decoding(params.size, params.resize, params.fast, decoded_shape(params), dtype_of(params))
    with Places() as places:
        tasks = {
            index: Task(
                index, recipe.path(index), images, tuple(sources[i] for i in recipe.span(index)), decoding, places.path
            )
            for index in missing
        }
        while tasks:
            try:
                for done in _made(list(tasks.values()), workers):
                    yield done
                    del tasks[done.index]
            except BrokenProcessPool as error:
                deadly = {index: reason for index, task in tasks.items() if (reason := _deadly(task, places[index]))}
                if not deadly and (workers == 1 or not any(places[index] for index in tasks)):
                    raise UnfinishedError(_ENDED) from error
                # Nothing but several at once ended them: they lacked memory, or were killed.
                workers = workers if deadly else workers // 2
                tasks |= {index: replace(tasks[index], deadly=tasks[index].deadly | deadly[index]) for index in deadly}
                places.clear()


def _made(tasks: list[Task], workers: int) -> Iterator[FinishedFile]:
    with _processes(min(workers, len(tasks))) as pool:
        for done in as_completed([pool.submit(make_file, task) for task in tasks]):
            yield _finished(done.result())


def _finished(made: Made) -> FinishedFile:
    return FinishedFile(
        index=made.index,
        images=len(made.hashes),
        hashes=sidecar_hex(made.hashes),
        skipped=tuple(Skipped(name=name, reason=reason) for name, reason in made.skipped),
        scales=made.scales,
        source_bytes=made.source_bytes,
    )


def _deadly(task: Task, place: int) -> dict[str, str]:
    """Decode alone what a worker was at when the workers ended; return its name and the reason if it ends that too."""
    if place in {0, BEGUN}:
        return {}
    name = task.sources[place - 1]
    code = run_alone(decode_alone, task.images / name, task.decoding)
    return {name: f"it ends the decoder ({f'signal {-code}' if code < 0 else f'exit code {code}'})"} if code else {}
