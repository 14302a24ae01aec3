"""The data set that parameters name, or the small one that is made where they name none."""

from inferkit.dataset.format import Dataset, open_dataset
from inferkit.dataset.sources import decoded_shape, photographs_folder
from inferkit.dataset.staging_record import first_copy
from inferkit.dataset.synthetic import make_default
from inferkit.dataset.target import synthetic_folder
from inferkit.plan.networks import shape_for
from inferkit.readers import reader_class
from inferkit.readers.memory import in_memory
from inferkit.records.params import Reading, SingleProcess, resolve


def dataset_for(params: Reading, pending: Dataset | None = None) -> Dataset:
    """Open the data set that parameters name, or make the small synthetic one.

    Raises
    ------
    DatasetError
        If the folder is missing or is no data set.
    """
    dtype, shape = params.dtype, tuple(params.shape)
    own = shape or shape_for(params.models if isinstance(params, SingleProcess) else [])
    decoding = [reader for reader in params.readers if reader_class(reader).decodes]
    if decoding and set(params.readers) <= {"memory", *decoding}:
        return reader_class(decoding[0]).find(
            photographs_folder(params), dtype, decoded_shape(params), resize=params.resize, fast=params.fast
        )
    if set(params.readers) == {"memory"}:
        return in_memory(own, dtype or "uint8")
    if not params.data:
        folder = synthetic_folder(dtype or "uint8", own)
        if pending is not None and pending.folder == folder:
            return pending
        return make_default(dtype or "uint8", own)
    if pending is not None and pending.folder == resolve(params.data):
        return pending
    return open_dataset(first_copy(resolve(params.data)), dtype=dtype or None, shape=shape or None)
