"""What all points of a notebook share: found once, before its points are made."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from inferkit.dataset.contents import contents
from inferkit.dataset.sources import decoded_shape, named_folder, photographs_folder
from inferkit.dataset.tensors import Dataset
from inferkit.errors import ParameterError
from inferkit.objects.place import Folder
from inferkit.plan.assumed import Assumed
from inferkit.plan.data import dataset_for
from inferkit.readers import reader_class
from inferkit.records.groups import Windows
from inferkit.records.params import SingleProcess, StorageToHost
from inferkit.records.project import resolve
from inferkit.records.windows import Window, window_of
from inferkit.units import gigabytes

USUAL = 3
"""Photographs of ImageNet's sizes take about a third of the 150 kB of the images that they become."""

P = TypeVar("P", StorageToHost, SingleProcess)


@dataclass(frozen=True)
class Context(Generic[P]):
    """A notebook's parameters, and what they name.

    Parameters
    ----------
    params
        As they were asked for.
    dataset
        What is read; of one that an earlier stage has yet to make only dtype and shape count.
    window
        How long to measure.
    batch_log
        Folder for every batch's times; empty where none are asked for.
    assumed
        What a dry run assumes.
    """

    params: P
    dataset: Dataset
    window: Window
    batch_log: str
    assumed: Assumed | None = None

    def folder(self, reader: str) -> str:
        """Return where a reader's files lie; empty where it has none.

        Raises
        ------
        ParameterError
            If it decodes files to images of another shape than the data set's.
        """
        capabilities = reader_class(reader).capabilities
        if not capabilities.has_files:
            return ""
        return str(self._photographs(reader) if capabilities.decodes else self.dataset.folder)

    def file_bytes(self, reader: str) -> int:
        """Return the mean size of the files of a reader that decodes; of files that are not here yet, a guess."""
        folder = self._photographs(reader)
        if self.assumed is not None and not contents(folder).exists():
            nbytes = self.dataset.image_bytes // USUAL
            self.assumed.told.append(f"JPEG files of {gigabytes(nbytes)}")
            return nbytes
        found = reader_class(reader).find(folder, "uint8", decoded_shape(self.params))
        return found.nbytes // len(found.files)

    def _photographs(self, reader: str) -> Folder:
        params, shape = self.params, self.dataset.shape
        if shape != decoded_shape(params):
            message = (
                f"size is {params.size}, so reader {reader} decodes to {decoded_shape(params)}, but "
                f"{self.dataset.folder} holds images of {shape}: set size, or compare them in two runs"
            )
            raise ParameterError(message)
        return photographs_folder(params) if self.assumed is None else named_folder(params)


def context_of(params: P, pending: Dataset | None, assumed: Assumed | None = None) -> Context[P]:
    """Find what the parameters name.

    Raises
    ------
    InferkitError
        If there is no such data set.
    """
    dataset = dataset_for(params, pending, assumed)
    return Context(params, dataset, window_of(params), batch_log_of(params), assumed)


def batch_log_of(params: Windows) -> str:
    """Return the folder for every batch's times; empty where none are asked for."""
    return str(resolve(params.batch_log)) if params.batch_log else ""
