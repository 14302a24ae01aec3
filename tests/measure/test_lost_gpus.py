"""Which points are left out once a GPU could not be opened; CUDA itself is in tests/faults/test_gpu_faults.py."""

import pytest

from inferkit.measure.lost_gpus import LostGpus
from inferkit.plan.points import Point
from inferkit.records.job import CopyJob, DeviceOptions
from inferkit.records.place import Place
from inferkit.records.run import Failure
from inferkit.records.windows import Window

WINDOW = Window(warmup_s=0.0, duration_s=0.1, repeats=1)
LOST = Failure(kind="NoDeviceError", message="CUDA_ERROR_UNKNOWN: starting CUDA")


def point(*gpus: int, kind: str = "cuda", host: str = "", name: str = "", ceilings: tuple[Point, ...] = ()) -> Point:
    device = DeviceOptions(kind=kind, numbers=gpus)
    place = Place(gpus=gpus, host=host) if host else None
    job = CopyJob(window=WINDOW, device=device, nbytes=1, host_memory="pageable", place=place)
    return Point("copy", {"name": name}, (job,), {str(at): each for at, each in enumerate(ceilings)})


def lost_with(failed: Point, failure: Failure = LOST) -> LostGpus:
    gpus = LostGpus()
    gpus.note(failed, failure)
    return gpus


@pytest.mark.parametrize("kind", ["DeviceError", "RankError", "ReadError"])
def test_what_failed_otherwise_is_tried_again(kind: str) -> None:
    gpus = lost_with(point(0), Failure(kind=kind, message="out of memory"))
    assert not gpus.needed_by(point(0))
    assert gpus.told() == ""


def test_all_that_need_the_gpu_are_left_out_and_nothing_else() -> None:
    gpus = lost_with(point(1))
    assert gpus.needed_by(point(1, name="a"))
    assert gpus.needed_by(point(0, 1, name="b"))
    assert not gpus.needed_by(point(0))
    assert not gpus.needed_by(point(1, kind="cpu"))
    assert not gpus.needed_by(point(1, host="node1"))
    assert gpus.told() == (
        "2 more points were not tried, for their GPU cannot be opened. CUDA_ERROR_UNKNOWN: starting CUDA"
    )


def test_where_one_of_several_cannot_be_opened_each_is_tried_alone() -> None:
    gpus = lost_with(point(0, 1))
    assert not gpus.needed_by(point(0))
    assert not gpus.needed_by(point(1))
    assert gpus.needed_by(point(0, 1, name="again"))


def test_what_is_held_against_a_point_that_was_left_out_is_left_out_too() -> None:
    gpus, ceiling = lost_with(point(0)), point(0, name="ceiling")
    assert gpus.needed_by(ceiling)
    assert gpus.needed_by(point(1, ceilings=(ceiling,)))
