"""Make a data set from a folder of JPEG files, on all cores."""

import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Generator, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import cv2
import numpy as np
import xxhash

from inferkit.dataset.decode import Decoder, ImageError
from inferkit.dataset.format import ShowProgress
from inferkit.dataset.journal import FinishedFile, sidecar_hex
from inferkit.dataset.make import MakeReport, make
from inferkit.dataset.manifest import Skipped
from inferkit.dataset.recipe import Recipe
from inferkit.dataset.sources import decoded_shape, photographs_folder
from inferkit.dataset.target import dtype_of, target
from inferkit.dataset.tensors import DTYPES, image_hash
from inferkit.dataset.writing import new_file
from inferkit.errors import DatasetError, UnfinishedError
from inferkit.linux.cgroups import cpus
from inferkit.records.params import MakeDataset

SUFFIXES = (".jpg", ".jpeg")


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
        folder=target(params),
        dtype=dtype_of(params),
        shape=decoded_shape(params),
        count=len(sources),
        images_per_file=params.images_per_file,
        facts={"source": "images", "exif": "applied"} | chosen,
        sources=_digest(images, sources),
    )
    return make(recipe, partial(_make_files, recipe, params, images, sources), overwrite=overwrite, progress=progress)


def find_images(folder: Path, *, shuffle: bool = False, seed: int = 0, limit: int = 0) -> list[str]:
    """List JPEG files under ``folder`` as posix paths relative to it: sorted, shuffled if asked, then limited.

    Raises
    ------
    DatasetError
        If there are none.
    """
    found = sorted(
        Path(parent, name).relative_to(folder).as_posix()
        for parent, _, names in os.walk(folder)
        for name in names
        if name.lower().endswith(SUFFIXES)
    )
    if not found:
        state = "holds no .jpg or .jpeg files" if folder.is_dir() else "is not a folder"
        message = f"{folder} {state}. Give the folder of photographs; sub-folders are searched."
        raise DatasetError(message)
    if shuffle:
        random.Random(seed).shuffle(found)
    return found[: limit or None]


def _digest(folder: Path, sources: list[str]) -> str:
    digest = xxhash.xxh3_128()
    for name in sources:
        digest.update(os.fsencode(f"{name}\0{_size(folder / name)}\0"))
    return digest.hexdigest()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1  # a dangling link: reading it fails, and it is then skipped with the reason


@dataclass(frozen=True, slots=True)
class _Task:
    """One tensor file for a worker process to make.

    Attributes
    ----------
    index, path
        Which file, and its final name.
    images, sources
        Folder of JPEG files, and those to decode, relative to it.
    params
        How they are decoded.
    """

    index: int
    path: Path
    images: Path
    sources: tuple[str, ...]
    params: MakeDataset


def _make_files(
    recipe: Recipe, params: MakeDataset, images: Path, sources: list[str], missing: list[int]
) -> Generator[FinishedFile]:
    tasks = [
        _Task(index, recipe.path(index), images, tuple(sources[i] for i in recipe.span(index)), params)
        for index in missing
    ]
    if not tasks:
        return
    workers = params.workers or cpus()
    try:
        with _processes(min(workers, len(tasks))) as pool:
            for done in as_completed([pool.submit(_make_file, task) for task in tasks]):
                yield done.result()
    except BrokenProcessPool as error:
        message = (
            "a worker process ended without a word. Was it out of memory, or killed? Run the same make again: it "
            "resumes. A script that calls this needs 'if __name__ == \"__main__\":', because workers import it."
        )
        raise UnfinishedError(message) from error


@contextmanager
def _processes(count: int) -> Iterator[Executor]:
    """Start worker processes that never outlive the block or this process, however these end."""
    spawn = get_context("spawn")  # a fork would copy the locks of this process's other threads
    leash, ours = spawn.Pipe(duplex=False)
    pool = ProcessPoolExecutor(count, mp_context=spawn, initializer=_begin_work, initargs=(leash,))
    try:
        yield pool
        pool.shutdown()
    finally:
        ours.close()
        pool.shutdown(cancel_futures=True)
        leash.close()


def _begin_work(leash: Connection) -> None:
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles it
    threading.Thread(target=_end_with_parent, args=(leash,), daemon=True).start()


def _end_with_parent(leash: Connection) -> None:
    leash.poll(None)  # returns when the parent closes its end or dies
    os._exit(1)


def _make_file(task: _Task) -> FinishedFile:
    """Make one tensor file. Runs in a worker process."""
    params = task.params
    decoder = Decoder(params.size, resize=params.resize, fast=params.fast)
    image = np.empty(decoded_shape(params), DTYPES[dtype_of(params)])
    hashes: list[int] = []
    skipped: list[Skipped] = []
    scales: Counter[str] = Counter()
    nbytes = 0
    with new_file(task.path, len(task.sources) * image.nbytes) as file:
        for name in task.sources:
            try:
                data = _read(task.images / name)
                nbytes += len(data)
                scale = decoder.decode(data, image)
            except ImageError as error:
                skipped.append(Skipped(name=_printable(name), reason=str(error)))
                continue
            file.write(image.data)
            hashes.append(image_hash(image))
            scales[str(scale)] += 1
    return FinishedFile(
        index=task.index,
        images=len(hashes),
        hashes=sidecar_hex(hashes),
        skipped=tuple(skipped),
        scales=dict(scales),
        source_bytes=nbytes,
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
        raise ImageError(message) from error


def _printable(name: str) -> str:
    """Return a file name that JSON can hold, even if its bytes are not UTF-8."""
    return os.fsencode(name).decode(errors="backslashreplace")
