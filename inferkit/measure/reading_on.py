"""Each process reads on where those before it ended, so that no figure is of what another has read shortly before.

The page cache is counted, and dropped where that is asked for. Of the caches of drives, controllers, hypervisors and
servers nobody here can tell: they hold what was read last. A pipeline that begins where its own ceiling began would be
answered from there.
"""

from collections.abc import Callable, Sequence

from inferkit.records.job import Job, ReadOptions, reading_of
from inferkit.records.outcome import Outcome


class ReadSoFar:
    """How far threads have come in their shares of each data set, whatever their number: images, by folder.

    A share of fewer threads is longer, and what they have read of it is where others have their first images: so what
    processes read is added up, and nobody reads it again before a share has come to its end.
    """

    def __init__(self) -> None:
        self._images: dict[str, float] = {}

    def measuring(self, measure: Callable[..., Outcome]) -> Callable[..., Outcome]:
        """Return what measures jobs as ``measure`` does, each where those before it ended."""

        def measured(jobs: Sequence[Job], *more: object) -> Outcome:
            outcome = measure(tuple(map(self._behind, jobs)), *more)
            self._note(jobs, outcome)
            return outcome

        return measured

    def _behind(self, job: Job) -> Job:
        reading = reading_of(job)
        skip = int(self._images.get(reading.folder, 0)) if reading is not None and _reads(reading) else 0
        return job.changed(reading=reading.changed(skip=skip)) if reading is not None and skip else job

    def _note(self, jobs: Sequence[Job], outcome: Outcome) -> None:
        """Add what threads read in the windows and the warm-up, of each folder: ranks may have copies of their own."""
        images = sum(repeat.images for repeat in outcome.repeats)
        for reading in {own.folder: own for job in jobs if (own := reading_of(job)) and _reads(own)}.values():
            each = images / (reading.threads * len(jobs))
            self._images[reading.folder] = self._images.get(reading.folder, 0) + each


def _reads(reading: ReadOptions) -> bool:
    return bool(reading.folder) and not reading.held
