from contextlib import ExitStack

import pytest

from inferkit.errors import DeviceError, InferkitError, ReadError
from inferkit.ranks.rank import first_of


def fail(error: Exception) -> None:
    raise error


def fail_and_fail_to_close() -> None:
    with ExitStack() as stack:
        stack.callback(fail, DeviceError("freeing a CUDA graph"))
        stack.callback(fail, DeviceError("unregistering"))
        fail(ReadError("byte 7 is missing"))


def reword() -> None:
    try:
        fail(DeviceError("illegal address"))
    except DeviceError as cause:
        message = "capturing: illegal address"
        raise DeviceError(message) from cause


def reword_another() -> None:
    """Word another library's error, as a device does with CUDA's."""
    try:
        fail(OSError("unspecified launch failure"))
    except OSError as cause:
        message = "capturing: unspecified launch failure"
        raise DeviceError(message) from cause


def fail_and_reword_another_failure_while_closing() -> None:
    with ExitStack() as stack:
        stack.callback(reword_another)
        fail(ReadError("byte 7 is missing"))


def test_what_failed_first_is_told_not_what_failed_while_closing() -> None:
    with pytest.raises(InferkitError, match="freeing a CUDA graph") as caught:
        fail_and_fail_to_close()
    assert str(first_of(caught.value)) == "byte 7 is missing"


def test_a_closing_that_words_its_own_failure_does_not_hide_the_first() -> None:
    with pytest.raises(DeviceError, match="capturing") as caught:
        fail_and_reword_another_failure_while_closing()
    assert str(first_of(caught.value)) == "byte 7 is missing"


def test_an_error_that_words_another_is_kept() -> None:
    with pytest.raises(DeviceError) as caught:
        reword()
    assert first_of(caught.value) is caught.value
