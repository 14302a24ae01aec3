from collections.abc import Callable

from inferkit.pipeline.timeline import Timeline
from inferkit.records.job import Job
from inferkit.records.outcome import RankProgress
from inferkit.records.windows import Window
from tests.engines.conftest import make_model

__all__ = ["FOREVER", "SHORT", "begin", "ignore", "make_model"]

SHORT = Window(warmup_s=0.02, duration_s=0.03, repeats=2)
FOREVER = Window(warmup_s=3600.0)


def ignore(progress: RankProgress) -> None:
    """Take progress and do nothing."""


def begin(job: Job) -> Callable[[tuple[str, ...]], Timeline]:
    """Start the clock at once, as a rank does when its parent says so."""
    return lambda stages: Timeline(job.window, stages, ignore)
