from contextlib import ExitStack

import pytest

from inferkit.errors import DeviceError, InferkitError, ReadError
from inferkit.ranks.rank import _first


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


def test_what_failed_first_is_told_not_what_failed_while_closing() -> None:
    with pytest.raises(InferkitError, match="freeing a CUDA graph") as caught:
        fail_and_fail_to_close()
    assert str(_first(caught.value)) == "byte 7 is missing"


def test_an_error_that_words_another_is_kept() -> None:
    with pytest.raises(DeviceError) as caught:
        reword()
    assert _first(caught.value) is caught.value
