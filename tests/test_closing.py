"""Closing several: all are closed, and what failed first is what is told."""

from contextlib import ExitStack

import pytest

from inferkit.closing import close_all
from inferkit.errors import DeviceError, InferkitError, ReadError
from inferkit.ranks.rank import first_of


class Closers:
    def __init__(self) -> None:
        self.closed: list[str] = []

    def fails(self) -> None:
        self.closed.append("fails")
        raise DeviceError("unregistering")

    def fails_too(self) -> None:
        self.closed.append("fails too")
        raise DeviceError("freeing")

    def works(self) -> None:
        self.closed.append("works")

    def close(self) -> None:
        close_all([self.fails, self.works, self.fails_too, self.works])


def fail_and_fail_to_close() -> None:
    with ExitStack() as stack:
        stack.callback(Closers().close)
        message = "byte 7 is missing"
        raise ReadError(message)


def test_all_are_closed_and_the_first_failure_is_raised() -> None:
    closers = Closers()
    with pytest.raises(DeviceError, match="unregistering"):
        closers.close()
    assert closers.closed == ["fails", "works", "fails too", "works"]


def test_what_was_handled_meanwhile_is_not_forgotten() -> None:
    with pytest.raises(InferkitError) as caught:
        fail_and_fail_to_close()
    assert str(first_of(caught.value)) == "byte 7 is missing"


def test_where_nothing_fails_nothing_is_raised() -> None:
    close_all([Closers().works])
