from collections.abc import Callable

import pytest

from inferkit.batch import Batch, Segment
from inferkit.errors import DeviceError


def segment(first: int, images: int, *, size: int = 105) -> Segment:
    return Segment("ring", 4096 + first * size, images * size, first, images, file=0)


@pytest.fixture
def released() -> list[str]:
    return []


@pytest.fixture
def release(released: list[str]) -> Callable[[], None]:
    return lambda: released.append("released")


def test_sums_its_segments(release: Callable[[], None]) -> None:
    batch = Batch((segment(10, 3), segment(0, 4)), release, 5, 9)
    assert (batch.images, batch.nbytes) == (7, 7 * 105)
    assert [s.first for s in batch.segments] == [10, 0]
    assert batch.times == (5, 9)


def test_is_released_once(release: Callable[[], None], released: list[str]) -> None:
    batch = Batch((segment(10, 3), segment(20, 1)), release, 0, 0)
    assert released == []
    batch.release()
    with pytest.raises(DeviceError, match=r"images \[10, 20\] was given back twice"):
        batch.release()
    assert released == ["released"]
