import errno
import os
from pathlib import Path

import pytest

from inferkit.dataset.writing import check_space, new_file, storage_errors
from inferkit.errors import DatasetError
from tests.dataset.pictures import contents


def test_a_file_appears_whole_when_the_block_ends(tmp_path: Path) -> None:
    with new_file(tmp_path / "a", 3) as file:
        file.write(b"ab")
        assert not (tmp_path / "a").exists()
        file.write(b"c")
    assert contents(tmp_path) == {"a": b"abc"}


def test_a_file_that_nothing_was_written_to_does_not_appear(tmp_path: Path) -> None:
    with new_file(tmp_path / "a", 3):
        pass
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("error", [KeyboardInterrupt, DatasetError, OSError])
def test_an_error_leaves_what_was_there(tmp_path: Path, error: type[BaseException]) -> None:
    (tmp_path / "a").write_bytes(b"before")

    def fail() -> None:
        with new_file(tmp_path / "a", 3) as file:
            file.write(b"abc")
            raise error

    with pytest.raises(DatasetError if error is OSError else error):
        fail()
    assert contents(tmp_path) == {"a": b"before"}


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.ENOSPC, "No space left on device.*it resumes"),
        (errno.EFBIG, "File too large.*ulimit -f"),
        (errno.EIO, "Input/output error.*kernel's log"),
        (errno.EXDEV, "Invalid cross-device link"),
    ],
)
def test_a_storage_error_says_file_reason_needed_and_free_bytes(tmp_path: Path, number: int, hint: str) -> None:
    message = rf"images-00003\.tensors cannot be written: {hint}"
    with (
        pytest.raises(DatasetError, match=message) as caught,
        storage_errors(tmp_path / "images-00003.tensors", 1_500_000_000),
    ):
        raise OSError(number, os.strerror(number))
    assert "It needs 1.50 GB, " in str(caught.value)
    assert "B are free." in str(caught.value)


def test_space_is_checked_before_anything_is_written(tmp_path: Path) -> None:
    check_space(tmp_path, 1)
    with pytest.raises(DatasetError, match=r"free, but 1,000 PB more are needed .*1,000,000,000,000,000,000 bytes"):
        check_space(tmp_path, 10**18)
