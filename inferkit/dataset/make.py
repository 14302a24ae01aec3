"""A make that can be interrupted and resumes.

The journal beside the tensor files says which files are finished; a make of the same job keeps them. ``dataset.json``
is written last, and the journal then removed.
"""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass

from inferkit.dataset.format import Dataset, open_dataset
from inferkit.dataset.job import Job
from inferkit.dataset.journal import Journal, Part
from inferkit.dataset.manifest import (
    HASHES_NAME,
    JOURNAL_NAME,
    MANIFEST_NAME,
    FileEntry,
    Manifest,
    Skipped,
    read_manifest,
)
from inferkit.dataset.writing import check_space, new_file, storage_errors
from inferkit.errors import DatasetError

Progress = Callable[[int, int], None]


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
        Images kept from an earlier run of the same job.
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
        """Images made now by this run's seconds, the start of worker processes included."""
        return self.made / self.seconds


def make(
    job: Job, make_parts: Callable[[list[int]], Generator[Part]], *, overwrite: bool, progress: Progress | None
) -> MakeReport:
    """Make what is missing of a job.

    Parameters
    ----------
    job
        What to make.
    make_parts
        Given the indices of missing files, makes them in any order and yields each when it is under its final name.
    overwrite
        Remove an earlier data set from the folder first, whatever its job.
    progress
        Called with source images done and in all, at the start and after each file.

    Raises
    ------
    DatasetError
        If the folder holds something else, the storage refuses or has too little space, or no image could be used.
    """
    started = time.perf_counter()
    with storage_errors(job.folder / MANIFEST_NAME, job.count * job.image_bytes):
        job.folder.mkdir(parents=True, exist_ok=True)
    if not overwrite and (manifest := _same_job(job)) is not None:
        return _kept(job, manifest, started)
    with Journal(job, overwrite=overwrite) as journal:
        kept = journal.images
        missing = [index for index in range(job.files) if index not in journal.parts]
        check_space(job.folder, sum(len(job.span(index)) for index in missing) * job.image_bytes)
        with closing(make_parts(missing)) as parts:
            now = list(_recorded(job, journal, parts, progress))
        manifest = _finish(job, journal)
        journal.remove()
    return MakeReport(
        dataset=open_dataset(job.folder),
        made=sum(part.images for part in now),
        resumed=kept,
        skipped=manifest.skipped,
        seconds=time.perf_counter() - started,
        bytes_read=sum(part.source_bytes for part in now),
    )


def _same_job(job: Job) -> Manifest | None:
    manifest = read_manifest(job.folder)
    if manifest is not None and manifest.job != job.fingerprint:
        message = (
            f"{job.folder} holds a data set that was made otherwise: {manifest.images:,} {manifest.dtype} images "
            f"{manifest.shape}, source {manifest.source}, seed {manifest.seed}; sources or options differ from what is "
            "asked now. Take another folder, or replace it (`inferkit dataset make --overwrite`)."
        )
        raise DatasetError(message)
    return manifest


def _kept(job: Job, manifest: Manifest, started: float) -> MakeReport:
    dataset = open_dataset(job.folder)
    journal = job.folder / JOURNAL_NAME
    if journal.exists():  # killed between the last two steps
        journal.unlink()
    seconds = time.perf_counter() - started
    return MakeReport(dataset=dataset, made=0, resumed=dataset.images, skipped=manifest.skipped, seconds=seconds)


def _recorded(job: Job, journal: Journal, parts: Iterator[Part], progress: Progress | None) -> Iterator[Part]:
    done = sum(len(job.span(index)) for index in journal.parts)
    report: Progress = progress or (lambda done, total: None)
    report(done, job.count)
    for part in parts:
        journal.add(part)
        done += len(job.span(part.index))
        report(done, job.count)
        yield part


def _finish(job: Job, journal: Journal) -> Manifest:
    parts = [journal.parts[index] for index in range(job.files)]
    skipped = tuple(skip for part in parts for skip in part.skipped)
    if not journal.images:
        journal.remove()
        message = f"none of {job.count:,} images could be used; the first, {skipped[0].name}: {skipped[0].reason}"
        raise DatasetError(message)
    files = tuple(
        FileEntry(name=job.name(part.index), images=part.images, nbytes=part.images * job.image_bytes)
        for part in parts
        if part.images
    )
    manifest = Manifest(
        dtype=job.dtype,
        shape=job.shape,
        images=journal.images,
        images_per_file=job.images_per_file,
        job=job.fingerprint,
        files=files,
        skipped=skipped,
        scales=_total(parts),
        **job.facts,
    )
    for name, content in (
        (HASHES_NAME, b"".join(bytes.fromhex(part.hashes) for part in parts)),
        (MANIFEST_NAME, manifest.to_json()),
    ):
        with new_file(job.folder / name, len(content)) as file:
            file.write(content)
    return manifest


def _total(parts: list[Part]) -> dict[str, int] | None:
    names = sorted({name for part in parts for name in part.scales}, key=int)
    return {name: sum(part.scales.get(name, 0) for part in parts) for name in names} or None
