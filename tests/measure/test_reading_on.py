"""Points of one data set in storage read on where the last one ended: none reads what another has just read."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from inferkit.measure.measure import measure
from inferkit.measure.reading_on import ReadSoFar
from inferkit.plan.build import plan
from inferkit.ranks.launch import launch
from inferkit.records.figures import Repeat
from inferkit.records.job import CopyJob, DeviceOptions, Job, PipelineJob, ReadJob, ReadOptions, reading_of
from inferkit.records.outcome import Outcome
from inferkit.records.params import SingleProcess
from inferkit.records.windows import Window
from tests.conftest import MakeTensors

WINDOW = Window()
TINY: dict[str, Any] = {"warmup_s": 0.05, "duration_s": 0.1, "repeats": 1}


def read(folder: str = "/data", threads: int = 1, **more: Any) -> ReadJob:
    return ReadJob(window=WINDOW, reading=ReadOptions(reader="direct", folder=folder, threads=threads, **more))


class Measured:
    """Has read so many images in warm-up and window together, and keeps from where on."""

    def __init__(self, images: int) -> None:
        self.skipped: list[list[int]] = []
        self._images = images

    def __call__(self, jobs: Sequence[Job], *more: object) -> Outcome:
        self.skipped.append([own.skip for job in jobs if (own := reading_of(job))])
        parts = (self._images // 4, self._images - self._images // 4)
        windows = [
            Repeat(start_s=0, seconds=1, images=own, nbytes=own, batches=1, warmup=k == 0)
            for k, own in enumerate(parts)
        ]
        return Outcome(repeats=windows, stages={})


def test_each_begins_behind_what_those_before_it_read_in_each_share() -> None:
    found, so_far = Measured(1000), ReadSoFar()
    on = so_far.measuring(found)
    for jobs in ([read()], [read(threads=4)], [read()], [read(threads=2), read(threads=2)], [read("/other")], [read()]):
        on(jobs)
    assert found.skipped == [[0], [1000], [1250], [2250, 2250], [0], [2500]]


def test_what_reads_nothing_or_the_same_again_is_let_alone() -> None:
    found, so_far = Measured(1000), ReadSoFar()
    on = so_far.measuring(found)
    nothing = CopyJob(window=WINDOW, device=DeviceOptions(), nbytes=64)
    held, resident = read(held=4), ReadJob(window=WINDOW, reading=ReadOptions(reader="memory"))
    for job in (read(), nothing, held, resident, read()):
        on([job])
    assert found.skipped == [[0], [], [0], [0], [1000]]


def test_ranks_with_copies_of_their_own_go_on_in_each() -> None:
    found, so_far = Measured(1000), ReadSoFar()
    on = so_far.measuring(found)
    on([read("/node0"), read("/node1")])
    on([read("/node0"), read("/node1")])
    assert found.skipped == [[0, 0], [500, 500]]


@pytest.mark.parametrize(("source", "on"), [("storage", True), ("memory", False)])
def test_points_read_on_where_the_source_is_storage(
    make_dataset: MakeTensors, tmp_path: Path, source: str, on: bool
) -> None:
    """In memory no cache lies between, and what is warm may be the first part alone."""
    folder = str(make_dataset((2000, 2000), (3, 8, 8)).dataset.folder)
    values = {"data": folder, "source": source, "readers": ["buffered"], "batch_sizes": [8], "earlier": str(tmp_path)}
    values |= {"dtype": "uint8", "shape": [3, 8, 8]}
    asked: list[Job] = []

    def start(jobs: Sequence[Job]) -> Any:
        asked.extend(jobs)
        return launch(jobs[0])

    planned = plan(SingleProcess.check({**values, "engines": ["null"], "threads": [1], **TINY}))
    runs = list(measure(planned, start=start))
    reading = [job for job in asked if isinstance(job, ReadJob | PipelineJob) and job.reading.folder]
    assert not any(own.skip for point in planned.points for job in point.jobs if (own := reading_of(job)))
    first, *others = reading
    assert first.reading.skip == 0
    assert all(bool(job.reading.skip) == on for job in others if job.reading.verify_batches)
    assert runs[-1].measure == "pipeline"
