from collections.abc import Callable, Iterator

import pytest

from inferkit.devices.cpu import CpuDevice
from inferkit.pipeline.timeline import Timeline
from inferkit.records.job import Job, Progress, Window
from tests.engines.conftest import make_model

__all__ = ["FOREVER", "SHORT", "begin", "device", "ignore", "make_model"]

SHORT = Window(warmup_s=0.02, duration_s=0.03, repeats=2)
FOREVER = Window(warmup_s=3600.0)


@pytest.fixture
def device() -> Iterator[CpuDevice]:
    with CpuDevice(poison=True) as device:
        yield device


def ignore(progress: Progress) -> None:
    """Take progress and do nothing."""


def begin(job: Job) -> Callable[[tuple[str, ...]], Timeline]:
    """Start the clock at once, as a rank does when its parent says so."""
    return lambda stages: Timeline(job.window, stages, ignore)
