"""Readers: bytes from storage into batches. To add one: a file, a test and a line here."""

from inferkit.dataset.tensors import Dataset
from inferkit.errors import ParameterError
from inferkit.readers.base import Reader
from inferkit.readers.buffered import BufferedReader
from inferkit.readers.direct import DirectReader
from inferkit.readers.gds import GdsReader
from inferkit.readers.jpeg import JpegReader
from inferkit.readers.mapped import MappedReader
from inferkit.readers.memory import MemoryReader
from inferkit.readers.nvjpeg import NvJpegDirectReader, NvJpegReader, NvJpegUringReader
from inferkit.readers.s3 import S3Reader
from inferkit.readers.uring import UringReader
from inferkit.records.job import ReadOptions

READERS: dict[str, type[Reader]] = {
    reader.name: reader
    for reader in (
        MemoryReader,
        BufferedReader,
        DirectReader,
        UringReader,
        MappedReader,
        JpegReader,
        NvJpegReader,
        NvJpegDirectReader,
        NvJpegUringReader,
        GdsReader,
        S3Reader,
    )
}


def reader_class(name: str) -> type[Reader]:
    """Return the reader of that name.

    Raises
    ------
    ParameterError
        If there is none.
    """
    if name not in READERS:
        message = f"readers: {name!r} is none: use {', '.join(READERS)}"
        raise ParameterError(message)
    return READERS[name]


def find_dataset(options: ReadOptions) -> Dataset:
    """Open what a job reads, as its reader understands it.

    Raises
    ------
    ParameterError, DatasetError, ReadError
        If there is no such reader, or the folder holds nothing for it.
    """
    return reader_class(options.reader).find(options.place, options.dtype, options.shape)
