"""Stage 01: make the data set that the parameters ask for, and record how it went."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from inferkit.dataset.contents import contents
from inferkit.dataset.format import ShowProgress
from inferkit.dataset.images import find_images, make_from_images
from inferkit.dataset.make import MakeReport
from inferkit.dataset.manifest import JOURNAL_NAME, MANIFEST_NAME
from inferkit.dataset.sources import DEMO, PHOTOGRAPHS, decoded_shape, named_folder
from inferkit.dataset.synthetic import SYNTHETIC_IMAGES, make_synthetic
from inferkit.dataset.target import dtype_of, shape_of, target
from inferkit.dataset.tensors import Dataset
from inferkit.errors import InferkitError, ParameterError
from inferkit.files import obstacle
from inferkit.linux.cgroups import cpus
from inferkit.machine.facts import facts
from inferkit.machine.watched import watched
from inferkit.objects.place import Folder, ObjectPath
from inferkit.records.figures import Figure, Json, Stage
from inferkit.records.params import MakeDataset
from inferkit.records.project import project_root
from inferkit.records.run import Failure, Run
from inferkit.records.wellformed import NOTHING_MADE

LISTED = 100
"""Skipped files that a record lists; the manifest lists all."""


def expected(params: MakeDataset) -> Dataset:
    """Describe what stage 01 will make, as far as the parameters say: where, dtype and shape, but not which files."""
    awaited = params.limit or (None if params.images else SYNTHETIC_IMAGES)
    return Dataset(target(params), dtype_of(params), shape_of(params), files=(), described=True, awaited=awaited)


def counted(params: MakeDataset) -> Dataset:
    """Describe what stage 01 will make, and count the JPEG files that it would decode, as far as they are here."""
    described = expected(params)
    if not params.images:
        return described
    folder = named_folder(params)
    there = len(find_images(folder)) if contents(folder).exists() else PHOTOGRAPHS if params.images == DEMO else None
    limited = [number for number in (there, params.limit or None) if number is not None]
    return replace(described, awaited=min(limited, default=None))


def lies_there(params: MakeDataset) -> bool:
    """Tell whether the folder that stage 01 would make holds a finished data set, whoever made it."""
    return holds_images(target(params))


def holds_images(folder: Folder) -> bool:
    """Tell whether a folder is a finished data set."""
    there = contents(folder)
    return there.exists() and bool(there.names((".tensors",))) and there.size(JOURNAL_NAME) is None


def check_sources(params: MakeDataset, assumed: list[str] | None = None) -> None:
    """Refuse, before anything runs, a folder of images or a place for the data set that does not exist.

    Parameters
    ----------
    params
        What is to be made.
    assumed
        Where the data set is only planned: is told of folders that are not here, but may be elsewhere.

    Raises
    ------
    ParameterError
        Naming the folder and what to do.
    """
    folder = target(params)
    check_target(folder, elsewhere=assumed is not None)
    photographs = named_folder(params) if params.images == DEMO else None
    if isinstance(photographs, Path) and (why := obstacle(photographs, elsewhere=assumed is not None)):
        message = f"images: {photographs} cannot be made, {why}: start in a folder that you may write to"
        raise ParameterError(message)
    for name, lacking, fix in _missing_folders(params, folder):
        if assumed is None or lacking.exists():
            message = f"{name}: {lacking} is no folder{fix}"
            raise ParameterError(message)
        assumed.append(f"folder {lacking}, for {name}")
    if params.images and params.shape not in ([], list(decoded_shape(params))):
        message = (
            f"shape: JPEG files become images of {decoded_shape(params)} here, not {tuple(params.shape)}: leave shape "
            'empty and set size, or make random images (images: "")'
        )
        raise ParameterError(message)


def check_target(folder: Folder, *, elsewhere: bool = False) -> None:
    """Refuse a folder in which no data set lies, and none can be made (see :func:`inferkit.files.obstacle`).

    Raises
    ------
    ParameterError
        Naming what stands there.
    """
    if isinstance(folder, ObjectPath):
        return  # only the store knows who may write there
    if not holds_images(folder) and (why := obstacle(folder, elsewhere=elsewhere)):
        message = f"data: {folder} cannot be made, {why}: name a folder that you may write to"
        raise ParameterError(message)


def _missing_folders(params: MakeDataset, folder: Folder) -> Iterator[tuple[str, Path, str]]:
    """Yield the parameter, the folder that it needs, and what to do."""
    images = named_folder(params) if params.images not in ("", DEMO) else folder
    if isinstance(images, Path) and images != folder and not images.is_dir():
        yield "images", images, ": name one that holds JPEG files, or demo"
    if isinstance(folder, ObjectPath):
        return
    if not folder.is_relative_to(project_root()) and not folder.parent.is_dir():
        yield "data", folder.parent, ", so nothing can be made in it: mount the storage, or set data"


def make_dataset(params: MakeDataset, progress: ShowProgress | None = None, *, overwrite: bool = False) -> Run:
    """Make the data set and return its record. A failure gives a record too, also of storage that answers no more."""
    base: dict[str, Json] = {
        "notebook": params.notebook,
        "measure": "dataset",
        "storage": params.storage,
        "profile": params.profile,
        "point": {
            "images": params.images or "random",
            "dtype": dtype_of(params),
            "shape": "x".join(map(str, shape_of(params))),
        },
        "params": params.model_dump(mode="json"),
        "host": facts(),
        "scope": "server",
    }
    try:
        made = watched(lambda show: _made(params, show, overwrite), progress or _nobody)
    except InferkitError as error:  # nobody could even tell where it lies
        made = _failed(error)
    return Run.model_validate(base | made)


def _made(params: MakeDataset, progress: ShowProgress, overwrite: bool) -> dict[str, Json]:
    """Make the data set; return what its record says, and where it lies."""
    where: dict[str, Json] = {"params": params.model_dump(mode="json") | {"data": str(target(params))}}
    try:
        return where | _found(params, _make(params, progress, overwrite))
    except InferkitError as error:
        return where | _failed(error)


def _failed(error: InferkitError) -> dict[str, Json]:
    return {"verdict": "FAILED", "failure": Failure(kind=type(error).__name__, message=str(error))}


def _nobody(done: int, total: int) -> None:
    """Show no progress."""


def _make(params: MakeDataset, progress: ShowProgress, overwrite: bool) -> MakeReport:
    make = make_from_images if params.images else make_synthetic
    return make(params, overwrite=overwrite, progress=progress)


def _told_of(report: MakeReport) -> str:
    more = f" for the first {LISTED}, {MANIFEST_NAME} for all" if len(report.skipped) > LISTED else ""
    return f"{len(report.skipped)} source files were skipped: see facts.skipped{more}"


def _found(params: MakeDataset, report: MakeReport) -> dict[str, Json]:
    """Return what a record says of a finished make."""
    dataset = report.dataset
    measured = None
    stages = {}
    warnings = [_told_of(report)] if report.skipped else []
    if report.made:
        nbytes = report.made * dataset.image_bytes
        measured = Figure(images_per_s=report.images_per_s, bytes_per_s=nbytes / report.seconds)
    else:
        warnings.append(f"the data set lay there already, {NOTHING_MADE}")
    if report.made and params.images:
        workers = params.workers or cpus()
        stages = {
            "decode": Stage(
                images_per_s=report.images_per_s, bytes_per_s=report.bytes_read / report.seconds, workers=workers
            )
        }
    return {
        "verdict": "VALID",
        "measured": measured,
        "stages": stages,
        "warnings": warnings,
        "facts": {
            "images": dataset.images,
            "made": report.made,
            "resumed": report.resumed,
            "files": len(dataset.files),
            "dataset_bytes": dataset.nbytes,
            "dtype": dataset.dtype,
            "shape": list(dataset.shape),
            "seconds": report.seconds,
            "jpeg_bytes": report.bytes_read,
            "skipped_count": len(report.skipped),
            "skipped": {skip.name: skip.reason for skip in report.skipped[:LISTED]},
        },
    }
