"""A clock for tests of what happens in time."""

from typing import Generic, TypeVar

Time = TypeVar("Time", int, float)


class Clock(Generic[Time]):
    """Tells the time that it is set to."""

    def __init__(self, now: Time) -> None:
        self.now = now

    def __call__(self) -> Time:
        return self.now
