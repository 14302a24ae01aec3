"""Locks where there are some, where there are none, and where the storage fails."""

import errno
import fcntl
import os
from pathlib import Path

import pytest

from inferkit.files import say_once
from inferkit.linux.locks import lock_alone


def test_one_locks_and_the_other_is_told_so(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("wb") as first, (tmp_path / "lock").open("rb") as second:
        assert lock_alone(first, tmp_path)
        assert not lock_alone(second, tmp_path)


def refuse(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL])
def test_storage_without_locks_is_told_of_and_does_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    say_once.cache_clear()
    refuse(monkeypatch, number)
    with (tmp_path / "lock").open("wb") as first:
        assert lock_alone(first, tmp_path)
    assert f"the file system of {tmp_path} has no locks" in caplog.text


def test_storage_that_fails_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, errno.EIO)
    with (tmp_path / "lock").open("wb") as first, pytest.raises(OSError, match="Input/output error"):
        lock_alone(first, tmp_path)
