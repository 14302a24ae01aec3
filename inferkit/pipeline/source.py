"""A job's reader at work: its batches, the check of what arrives, and the account of where the bytes came from."""

from contextlib import ExitStack
from itertools import islice

from inferkit.batch import Piece
from inferkit.devices.base import Device
from inferkit.linux.page_cache import evict_all
from inferkit.pipeline.held_source import HeldSource
from inferkit.pipeline.reader_stats import reader_facts
from inferkit.pipeline.resident_source import ResidentSource
from inferkit.pipeline.ring import Ring
from inferkit.pipeline.timeline import Timeline
from inferkit.readers import reader_class
from inferkit.readers.split import batches, behind, split
from inferkit.records.figures import Json
from inferkit.records.job import Images, ReadOptions
from inferkit.records.place import Place
from inferkit.validity.checksums import Verifier
from inferkit.validity.io_accounting import IoAccounting
from inferkit.validity.object_accounting import ObjectAccounting

LOOKED_AHEAD = 100_000
"""Images from whose batches is told how much a reader asks the storage for beyond what it delivers."""


class Source:
    """Opens a job's reader; reads from :meth:`start` on.

    Parameters
    ----------
    options
        What to read, and how.
    device
        Allocates and registers the memory.
    stack
        Closes reader and ring.

    Attributes
    ----------
    batches
        Where batches come from, once started.
    verifier
        Checks the first of them.
    """

    def __init__(self, options: ReadOptions, device: Device, stack: ExitStack) -> None:
        self._options = options
        self._device = device
        self._stack = stack
        self.reader = stack.enter_context(reader_class(options.reader).open(options, device))
        if options.cold and self.reader.received is None:
            dataset = self.reader.dataset
            evict_all(dataset.path(k) for k in range(len(dataset.files)))
        self.batches: Ring | ResidentSource | HeldSource
        self._ring: Ring | None = None
        self._accounting: IoAccounting | ObjectAccounting | None = None

    @property
    def images(self) -> Images:
        """What its batches hold."""
        dataset = self.reader.dataset
        return Images(dtype=dataset.dtype, shape=dataset.shape, batch_size=self._options.batch_size)

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that fill a batch."""
        return self.reader.capabilities.stages

    @property
    def workers(self) -> dict[str, int]:
        """Threads of each stage; nothing where no thread reads."""
        return dict.fromkeys(self.stages, self._options.threads) if self._ring else {}

    def start(self, place: Place | None, *, in_flight: int, threads: bool) -> None:
        """Begin to read.

        Parameters
        ----------
        place
            Of a rank that measures together with others: it reads its share of what lies in files.
        in_flight
            Batches that may be copied or inferred at a time.
        threads
            Whether threads read; else addresses of what lies in memory are handed over when they are asked for.
        """
        options, reader = self._options, self.reader
        self.verifier = Verifier(reader.dataset, options.verify_batches)
        shares = self._shares(place or Place())
        if reader.capabilities.has_files and not options.held:
            epoch = (pieces for share in shares for pieces in batches(share, options.batch_size, 1))
            asked = islice(epoch, LOOKED_AHEAD // options.batch_size + 1)
            self._accounting = (
                IoAccounting(reader.dataset, reader.rounding(asked))
                if reader.received is None
                else ObjectAccounting(reader.dataset, reader.received)
            )
        if options.held:
            self.batches = self._stack.enter_context(HeldSource(reader, shares, options))
        elif threads:
            buffers = options.host_batches or options.threads + in_flight + 1
            ring = Ring(reader, self._device, shares, options.batch_size, buffers=buffers)
            self.batches = self._ring = self._stack.enter_context(ring)
        else:
            self.batches = ResidentSource(reader, shares, options.batch_size)

    def _shares(self, place: Place) -> list[list[Piece]]:
        """Share out what lies in files among threads and ranks; every rank has all images that lie in memory."""
        ranks = place.ranks if self.reader.capabilities.has_files else 1
        images = [file.images for file in self.reader.dataset.files]
        shares = split(images, self._options.threads * ranks, self._options.split, seed=self._options.seed)
        return [behind(share, self._options.skip) for share in shares[place.rank % ranks :: ranks]]

    def facts(self, timeline: Timeline) -> dict[str, Json]:
        """Tell what was read, whence, and whether it arrived; ends the reading.

        Raises
        ------
        ReadError
            If a file changed meanwhile.
        """
        images = self.images
        facts: dict[str, Json] = {"dtype": images.dtype, "shape": list(images.shape)}
        facts["verified_images"] = self.verifier.images
        read = None
        if self._ring is not None:
            self._ring.close()  # the threads' counts are complete when they have ended
            facts["reading"] = reader_facts(self._ring.stats, timeline.start_ns)
            read = sum(stats.nbytes for stats in self._ring.stats)
        if self._accounting is not None:
            facts["storage"] = self._accounting.facts(sum(repeat.nbytes for repeat in timeline.repeats), read)
        self.reader.check_unchanged()
        return facts | ({"reader": self.reader.facts} if self.reader.facts else {})
