"""The data set that parameters name, or the small one that is made where they name none."""

from inferkit.dataset.format import open_dataset
from inferkit.dataset.sources import decoded_shape, photographs_folder
from inferkit.dataset.staging_record import first_copy
from inferkit.dataset.synthetic import make_default
from inferkit.dataset.target import synthetic_folder
from inferkit.dataset.tensors import Dataset
from inferkit.plan.networks import shape_for
from inferkit.readers import reader_class
from inferkit.readers.memory import in_memory
from inferkit.records.params import Reading, SingleProcess
from inferkit.records.project import resolve


def dataset_for(params: Reading, pending: Dataset | None = None) -> Dataset:
    """Open the data set that parameters name, or make the small synthetic one.

    Raises
    ------
    DatasetError
        If the folder is missing or is no data set.
    """
    dtype, shape = params.dtype, tuple(params.shape)
    own = shape or shape_for(params.models if isinstance(params, SingleProcess) else [])
    readers = [reader_class(name) for name in params.readers]
    decoding = [reader for reader in readers if reader.capabilities.decodes]
    resident = [reader for reader in readers if not reader.capabilities.has_files]
    if decoding and len(decoding) + len(resident) == len(readers):
        return decoding[0].find(photographs_folder(params), dtype, decoded_shape(params))
    if len(resident) == len(readers):
        return in_memory(own, dtype or "uint8")
    if not params.data:
        folder = synthetic_folder(dtype or "uint8", own)
        if pending is not None and pending.folder == folder:
            return pending
        return make_default(dtype or "uint8", own)
    if pending is not None and pending.folder == resolve(params.data):
        return pending
    return open_dataset(first_copy(resolve(params.data)), dtype=dtype or None, shape=shape or None)
