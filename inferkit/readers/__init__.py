"""Readers: bytes from storage into batches. To add one: a file, a test and a line here."""

from inferkit.readers.base import Reader
from inferkit.readers.buffered import BufferedReader
from inferkit.readers.direct import DirectReader
from inferkit.readers.mapped import MappedReader
from inferkit.readers.memory import MemoryReader

READERS: dict[str, type[Reader]] = {
    reader.name: reader for reader in (MemoryReader, BufferedReader, DirectReader, MappedReader)
}
