"""A run that read a small part of a data set does not look as if it had read all of it."""

from typing import Any

import pytest

from inferkit.records.figures import Repeat
from inferkit.records.job import ReadOptions
from inferkit.records.outcome import Outcome
from inferkit.validity.coverage import covered, part


def outcome(*images: int, **storage: Any) -> Outcome:
    """Return what windows of so many images had, the first of which is the warm-up."""
    repeats = [
        Repeat(start_s=k, seconds=1, images=own, nbytes=own, batches=1, warmup=k == 0) for k, own in enumerate(images)
    ]
    return Outcome(repeats=repeats, stages={}, facts={"storage": storage} if storage else {})


@pytest.mark.parametrize(("images", "share"), [((900, 25, 25), 0.05), ((0, 500, 500), 1.0), ((0, 9000), 1.0)])
def test_the_share_that_the_measured_windows_read(images: tuple[int, ...], share: float) -> None:
    assert covered(outcome(*images, dataset_images=1000)) == share


def test_nothing_is_told_where_no_files_were_read_or_nobody_counted_them() -> None:
    assert covered(outcome(0, 10)) is None
    assert covered(outcome(0, 10, dataset_bytes=1000)) is None
    assert list(part(ReadOptions(), outcome(0, 10))) == []


def test_less_than_the_whole_is_told() -> None:
    ((kind, text),) = part(ReadOptions(), outcome(7, 100, 50, dataset_images=30_000))
    assert kind == "warning"
    assert text.startswith(
        "0.5 % of the data set was read in the measured windows (150 of 30,000 images), and the rest"
    )
    ((_, text),) = part(ReadOptions(split="all"), outcome(7, 100, 50, dataset_images=30_000))
    assert text.startswith("at most 0.5 % of the data set")
    assert list(part(ReadOptions(), outcome(7, 100, 50, dataset_images=150))) == []
