"""Read objects of a store that speaks S3: ranges of them, straight into the batch buffer, many in flight."""

from collections.abc import Iterable, Sequence

from inferkit.batch import Piece, Segment
from inferkit.dataset.tensors import Dataset
from inferkit.devices.base import HostMemory
from inferkit.objects.client import Client
from inferkit.objects.counts import Counts
from inferkit.objects.fetch import Part, cut, fetch
from inferkit.objects.place import ObjectPath
from inferkit.readers.base import Allocator, Capabilities, Reader

LANES = 4
"""Requests in flight per thread, each on a connection of its own."""
LEAST_PART, LARGEST_PART = 1 << 20, 8 << 20
"""Bytes of one request where the images of a batch lie together: so that a batch is shared out among the lanes. Amazon
advises ranges of 8 … 16 MB; smaller ones pay for as many more requests."""


class S3Reader(Reader):
    """Asks for what a batch wants of each object, by ``Range`` and ``If-Match``.

    Notes
    -----
    From the sockets' buffers, which the kernel fills, each byte is copied once, by ``recv`` into the batch buffer: a
    copy that sockets force. What arrives in one packet with an answer's head (4 kB a request at most) is copied a
    second time, and over TLS all is, for OpenSSL decrypts it between.

    An object is read only as it was when the reader was opened: the store is told its ETag with every request.
    """

    name = "s3"
    # Each byte passes memory out of a socket's buffer and into the batch's.
    capabilities = Capabilities(reads=("objects",), passes_cache=True, memory_passes=2)

    def __init__(self, dataset: Dataset, allocator: Allocator, *, evict: bool = False) -> None:
        super().__init__(dataset, allocator, evict=evict)
        assert isinstance(dataset.folder, ObjectPath)
        self._folder = dataset.folder
        self._client = Client(dataset.folder.store)

    @property
    def received(self) -> Counts:
        """What the client counted."""
        return self._client.counts

    @classmethod
    def reads_of(cls, batch_bytes: int, file_bytes: int) -> tuple[int, int]:
        """Return the bytes of one request, and requests in flight."""
        return min(_part_bytes(batch_bytes), file_bytes), LANES

    def rounding(self, batches: Iterable[Sequence[Piece]]) -> float:
        """Return 1: a store is asked for bytes, not for pages."""
        return 1.0

    @property
    def facts(self) -> dict[str, str | int]:
        """How requests are made."""
        store = self._folder.store
        return {"lanes": LANES, "style": "path" if store.path_style else "host", "tls": int(self._client.encrypted)}

    def buffer_bytes(self, batch_size: int) -> int:
        """Return the batch's own size: nothing is padded."""
        return batch_size * self.dataset.image_bytes

    def read(self, pieces: Sequence[Piece], buffer: HostMemory | None) -> tuple[Segment, ...]:
        """Read the pieces one behind another, all at once."""
        assert buffer is not None
        size = self.dataset.image_bytes
        view = buffer.array.data
        largest = _part_bytes(sum(piece.images for piece in pieces) * size)
        parts: list[Part] = []
        segments = []
        cursor = 0
        for file, start, count, first in pieces:
            own, target = self.dataset.files[file], view[cursor : cursor + count * size]
            parts += cut(self._folder / own.name, own.etag, start * size, target, largest)
            segments.append(Segment("ring", buffer.address + cursor, count * size, first, count, file))
            cursor += count * size
        fetch(self._client, parts, LANES)
        return tuple(segments)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _part_bytes(batch_bytes: int) -> int:
    return min(LARGEST_PART, max(LEAST_PART, -(-batch_bytes // LANES)))
