"""The data set that parameters name, or the small one that is made where they name none."""

from pathlib import Path

from inferkit.dataset.contents import contents
from inferkit.dataset.format import open_dataset
from inferkit.dataset.manifest import MANIFEST_NAME
from inferkit.dataset.sources import DEMO, PHOTOGRAPHS, decoded_shape, named_folder, photographs_folder
from inferkit.dataset.staging_record import first_copy
from inferkit.dataset.synthetic import SYNTHETIC_IMAGES, make_default
from inferkit.dataset.target import synthetic_folder
from inferkit.dataset.tensors import Dataset
from inferkit.errors import DatasetError
from inferkit.objects.place import Folder, ObjectPath
from inferkit.plan.assumed import Assumed
from inferkit.plan.networks import shape_for
from inferkit.readers import reader_class
from inferkit.readers.memory import in_memory
from inferkit.records.groups import Reading
from inferkit.records.params import SingleProcess


def dataset_for(params: Reading, pending: Dataset | None = None, assumed: Assumed | None = None) -> Dataset:
    """Open the data set that parameters name, or make the small synthetic one.

    Parameters
    ----------
    params
        What is read, and how.
    pending
        A data set that has yet to be made.
    assumed
        What a dry run assumes: it makes nothing, and describes what is not here.

    Raises
    ------
    DatasetError
        If the folder is missing or is no data set.
    """
    dtype, shape = params.dtype, tuple(params.shape)
    readers = [reader_class(name) for name in params.readers]
    for reader in readers:
        reader.check_place(params.images if reader.capabilities.decodes else params.data)
    decoding = [reader for reader in readers if reader.capabilities.decodes]
    resident = [reader for reader in readers if not reader.capabilities.has_files]
    if decoding and len(decoding) + len(resident) == len(readers):
        if assumed is not None and not contents(named_folder(params)).exists():
            return _assumed_photographs(params, assumed)
        return decoding[0].find(photographs_folder(params), dtype, decoded_shape(params))
    if params.data and len(resident) < len(readers):
        return _named(params, pending)
    own = shape or shape_for(params.models if isinstance(params, SingleProcess) else [])
    if len(resident) == len(readers):
        return in_memory(own, dtype or "uint8")
    folder = synthetic_folder(dtype or "uint8", own)
    if pending is not None and pending.folder == folder:
        return pending
    if assumed is not None and not (folder / MANIFEST_NAME).exists():
        return Dataset(folder, dtype or "uint8", own, files=(), described=True, awaited=SYNTHETIC_IMAGES)
    return make_default(dtype or "uint8", own)


def _named(params: Reading, pending: Dataset | None) -> Dataset:
    """Open the data set that parameters name."""
    if pending is not None and pending.folder == params.place(params.data):
        return pending
    folder = params.place(params.data)
    if _is_empty(folder):
        message = (
            f"data: {folder} holds no data set: run stage 01 first (`papermill notebooks/01_dataset.ipynb 01.ipynb` "
            "with these parameters, or `inferkit run`, which runs all stages), mount the storage, or correct the path"
        )
        raise DatasetError(message)
    copy = first_copy(folder) if isinstance(folder, Path) else folder
    return open_dataset(copy, dtype=params.dtype or None, shape=tuple(params.shape) or None)


def _is_empty(folder: Folder) -> bool:
    if isinstance(folder, ObjectPath):
        return not contents(folder).exists()
    return not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))


def _assumed_photographs(params: Reading, assumed: Assumed) -> Dataset:
    """Describe JPEG files that are not here: ``demo`` would make them, any other folder is assumed."""
    folder, demo = named_folder(params), params.images == DEMO
    if not demo:
        assumed.told.append(f"folder {folder}, for images")
    awaited = PHOTOGRAPHS if demo else None
    return Dataset(folder, params.dtype or "uint8", decoded_shape(params), files=(), described=False, awaited=awaited)
