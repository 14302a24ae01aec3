"""The loop: read → copy → infer → out, with a batch in each at the same time.

Where batches must be waited for, two threads drive a device. The *feeder* takes a free slot and a ready batch and
queues copy and inference; the *completer* (the caller) waits for them in the same order, gives the batch back when its
copy is done and the slot when its inference is. Where they need not, one thread does both: handing each batch over
costs more than queueing it. Neither spins.
"""

import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor, wait
from queue import SimpleQueue

from inferkit.batch import Batch
from inferkit.devices.base import Device, Slot, Span
from inferkit.engines.base import Engine
from inferkit.errors import InferkitError
from inferkit.pipeline.held_source import HeldSource
from inferkit.pipeline.resident_source import ResidentSource
from inferkit.pipeline.ring import Ring
from inferkit.pipeline.timeline import Timeline
from inferkit.validity.checksums import Verifier, gather

InFlight = tuple[Batch, Slot, Span, Span, Span]


class Loop:
    """Streams batches through a device and an engine.

    Parameters
    ----------
    source, device, engine
        Where batches come from, where they go, and what infers them.
    slots
        The batches' places on the device; two or more overlap copying with inferring.
    overlap
        False waits for each batch before the next is copied.
    feeders
        Batches that are brought to the device side by side: more than one where it decodes them, which takes its time.
    """

    def __init__(
        self,
        source: Ring | ResidentSource | HeldSource,
        device: Device,
        engine: Engine,
        slots: list[Slot],
        *,
        overlap: bool = True,
        feeders: int = 1,
    ) -> None:
        self._source = source
        self._device = device
        self._engine = engine
        self._overlap = overlap
        self._feeders = feeders
        self._queueing = threading.Lock()
        self._free: SimpleQueue[Slot | None] = SimpleQueue()
        self._in_flight: SimpleQueue[InFlight | None] = SimpleQueue()
        for slot in slots:
            self._free.put(slot)

    def run(self, timeline: Timeline, verifier: Verifier | None = None) -> None:
        """Run until the timeline's last window has ended, or there are no more batches.

        Raises
        ------
        InferkitError
            What reader, device or engine raised.
        """
        drive = self._with_feeder if self._source.waits else self._alone
        try:
            drive(timeline, verifier)
        finally:
            self._source.cancel()
            self._settle()

    def _with_feeder(self, timeline: Timeline, verifier: Verifier | None) -> None:
        with ThreadPoolExecutor(self._feeders, "feeder") as pool:
            feeders = [pool.submit(self._feed) for _ in range(self._feeders)]
            feeding = self._feeders
            try:
                while feeding:
                    if (item := self._in_flight.get()) is None:
                        feeding -= 1
                    elif self._complete(item, timeline, verifier):
                        break
            finally:
                self._source.cancel()
                for _ in feeders:
                    self._free.put(None)
                wait(feeders)
            for feeder in feeders:
                feeder.result()

    def _feed(self) -> None:
        try:
            with self._device.attached():
                while self._queue_next():
                    pass
        finally:
            self._source.cancel()  # the other feeders have no more to do either, whatever ended this one
            self._in_flight.put(None)

    def _alone(self, timeline: Timeline, verifier: Verifier | None) -> None:
        finished = False
        while not finished:
            while not self._free.empty() and self._queue_next() and self._overlap:
                pass
            if self._in_flight.empty() or (item := self._in_flight.get()) is None:
                break
            finished = self._complete(item, timeline, verifier)

    def _queue_next(self) -> bool:
        """Queue the next batch into the next free slot; False when there are no more."""
        if (slot := self._free.get()) is None or (batch := self._source.get()) is None:
            return False
        out = self._submit(batch, slot)
        if not self._overlap:
            out.wait()
        return True

    def _submit(self, batch: Batch, slot: Slot) -> Span:
        try:
            copied = self._device.copy_in(batch.segments, slot)
            with self._queueing:  # batches are completed in the order in which they are inferred
                inferred = self._engine.infer(slot, batch.images, copied)
                out = self._engine.out(slot, inferred)
                self._in_flight.put((batch, slot, copied, inferred, out))
            return out
        except InferkitError:
            self._device.synchronize()
            batch.release()
            raise

    def _complete(self, item: InFlight, timeline: Timeline, verifier: Verifier | None) -> bool:
        batch, slot, copied, inferred, out = item
        try:
            copied.wait()
            if verifier is not None and verifier.wanted > 0:
                verifier.check(batch, self._device.read_back(slot, batch.nbytes))
        finally:
            batch.release()
        out.wait()  # first, so that the thread is woken once
        inferred.wait()
        finished = timeline.add(
            batch.images,
            batch.nbytes,
            *batch.times,
            copied.start_ns,
            copied.end_ns,
            inferred.start_ns,
            inferred.end_ns,
            out.start_ns,
            out.end_ns,
            device=id(self._device),
        )
        self._free.put(slot)
        return finished

    def _settle(self) -> None:
        """Wait for what is under way, so that no copy outlives its memory, and give the batches back."""
        self._device.synchronize()
        while not self._in_flight.empty():
            item = self._in_flight.get()
            if item is not None:
                item[0].release()


def infer_resident(engine: Engine, slots: list[Slot], images: int, nbytes: int, timeline: Timeline) -> None:
    """Infer what lies in the slots already, again and again: the ceiling of inference.

    Parameters
    ----------
    engine, slots
        As many batches are under way as there are slots.
    images, nbytes
        Of one batch.
    """
    under_way = deque(engine.infer(slot, images, None) for slot in slots)
    turn = 0
    finished = False
    while under_way:
        span = under_way.popleft()
        span.wait()
        finished = finished or timeline.add(images, nbytes, span.start_ns, span.end_ns, device=id(engine))
        if not finished:
            under_way.append(engine.infer(slots[turn % len(slots)], images, None))
            turn += 1


def read_only(
    ring: Ring | ResidentSource | HeldSource, device: Device, timeline: Timeline, verifier: Verifier | None = None
) -> None:
    """Take batches out of a ring, whose memory is the device's, and give them back at once: the ceiling of reading."""
    finished = False
    while not finished and (batch := ring.get()) is not None:
        try:
            if verifier is not None and verifier.wanted > 0:
                verifier.check(batch, gather(batch, device))
        finally:
            batch.release()
        finished = timeline.add(batch.images, batch.nbytes, *batch.times)
