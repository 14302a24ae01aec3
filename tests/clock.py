"""A clock for tests of what happens in time."""

from typing import Generic, TypeVar

Time = TypeVar("Time", bound=float)


class Clock(Generic[Time]):
    """Tells the time that it is set to."""

    def __init__(self, now: Time) -> None:
        self.now: Time = now

    def __call__(self) -> Time:
        return self.now
