import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from inferkit.files import open_regular, read_regular, remove_leftovers, replacing, write_whole


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder, hidden ones included."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_file_appears_whole_when_the_block_ends(tmp_path: Path) -> None:
    with replacing(tmp_path / "a") as file:
        file.write(b"ab")
        assert not (tmp_path / "a").exists()
        file.write(b"c")
    assert contents(tmp_path) == {"a": b"abc"}


def test_a_file_that_was_there_is_replaced_and_those_who_read_it_keep_it(tmp_path: Path) -> None:
    write_whole(tmp_path / "a", b"before")
    with (tmp_path / "a").open("rb") as reader:
        write_whole(tmp_path / "a", b"after")
        assert reader.read() == b"before"
    assert contents(tmp_path) == {"a": b"after"}


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, ValueError])
@pytest.mark.parametrize("sync", [False, True])
def test_an_error_leaves_what_was_there_and_nothing_else(
    tmp_path: Path, error: type[BaseException], sync: bool
) -> None:
    (tmp_path / "a").write_bytes(b"before")

    def fail() -> None:
        with replacing(tmp_path / "a", sync=sync) as file:
            file.write(b"abc")
            raise error

    with pytest.raises(error):
        fail()
    assert contents(tmp_path) == {"a": b"before"}


def test_nothing_is_left_if_the_name_cannot_be_given(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(IsADirectoryError):
        write_whole(tmp_path / "a", b"abc")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_an_empty_file_appears_only_if_it_is_wanted(tmp_path: Path) -> None:
    write_whole(tmp_path / "kept", b"")
    with replacing(tmp_path / "not", keep_empty=False):
        pass
    assert contents(tmp_path) == {"kept": b""}


def test_writers_of_the_same_name_do_not_meet(tmp_path: Path) -> None:
    with replacing(tmp_path / "a") as first, replacing(tmp_path / "a") as second:
        first.write(b"1" * 100)
        second.write(b"2" * 10)
    assert contents(tmp_path) == {"a": b"1" * 100}  # the first one's block ended last


def test_processes_that_write_the_same_name_leave_a_whole_file(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from inferkit.files import open_regular, read_regular, write_whole\n"
    )
    program += "for _ in range(50): write_whole(Path(sys.argv[1]), sys.argv[2].encode() * 100_000)"
    command = [sys.executable, "-c", program, str(tmp_path / "a")]
    writers = [subprocess.Popen([*command, letter]) for letter in "xyz"]
    while any(writer.poll() is None for writer in writers):
        if (tmp_path / "a").exists():
            content = (tmp_path / "a").read_bytes()
            assert len(content) == 100_000
            assert len(set(content)) == 1
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("sync", [False, True])
def test_file_and_folder_are_synced_if_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sync: bool
) -> None:
    synced: list[tuple[str, bool]] = []

    def fsync(handle: int) -> None:
        kind = "folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file"
        synced.append((kind, (tmp_path / "a").exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    with replacing(tmp_path / "a", sync=sync) as file:
        file.write(b"abc")
    assert synced == ([("file", False), ("folder", True)] if sync else [])


def test_a_file_has_the_mode_of_any_other(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    write_whole(tmp_path / "a", b"abc")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_what_killed_processes_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from inferkit.files import open_regular, read_regular, replacing\n"
    )
    program += "with replacing(Path(sys.argv[1])): os.kill(os.getpid(), 9)"
    for name in ("a[1]", "b"):
        subprocess.run([sys.executable, "-c", program, str(tmp_path / name)], check=False)
    others = ["a[1]", ".hidden", ".hidden.part", "b.part", "b.1.part", ".b.mine.part", ".b.12.part"]
    for name in others:
        (tmp_path / name).touch()
    assert len(contents(tmp_path)) == 9
    remove_leftovers(tmp_path, "a[1]".__eq__)
    assert len(contents(tmp_path)) == 8
    (tmp_path / ".b.1-00000000.part").mkdir()
    remove_leftovers(tmp_path, "b".__eq__)
    assert {path.name for path in tmp_path.iterdir()} == {*others, ".b.1-00000000.part"}
    remove_leftovers(tmp_path / "missing", "b".__eq__)


def test_only_files_of_sane_size_are_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "pipe")
    for name in ("file", "link"):
        assert read_regular(tmp_path / name, 3) == b"abc"
    for place, reason in (
        (tmp_path / "file", "it holds 3 bytes, over the limit of 2"),
        (tmp_path / "pipe", "it is a pipe, not a file"),
        (Path("/dev/zero"), "it is a device, not a file"),
        (tmp_path, "Is a directory"),
        (tmp_path / "none", "No such file"),
    ):
        with pytest.raises(OSError, match=reason):
            read_regular(place, 2)


def test_a_file_that_became_a_pipe_meanwhile_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    status = (tmp_path / "file").stat()
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr(Path, "stat", lambda path: status)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - Path.stat is not as it was
    with pytest.raises(OSError, match="it is a pipe"):
        open_regular(tmp_path / "pipe", 100)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
