import os
from collections.abc import Callable
from pathlib import Path

import pytest

from inferkit.dataset.journal import FinishedFile, Journal, sidecar_hex
from inferkit.dataset.pixels import image_hash
from inferkit.dataset.recipe import Recipe
from inferkit.errors import DatasetError
from tests.dataset.pictures import contents


def recipe(folder: Path, seed: int = 0) -> Recipe:
    facts = {"source": "synthetic", "seed": seed}
    return Recipe(folder=folder, dtype="uint8", shape=(4,), count=5, images_per_file=2, facts=facts)


def write(folder: Path, index: int) -> FinishedFile:
    """Write file ``index`` of two images and return what the journal says of it."""
    images = [bytes([index, position, 1, 2]) for position in range(2)]
    recipe(folder).path(index).write_bytes(b"".join(images))
    return FinishedFile(index=index, images=2, hashes=sidecar_hex(map(image_hash, images)))


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """Files 0 and 1 of three are done."""
    with Journal(recipe(tmp_path), overwrite=False) as journal:
        for index in (1, 0):
            journal.add(write(tmp_path, index))
    return tmp_path


def finished_in(folder: Path) -> set[int]:
    with Journal(recipe(folder), overwrite=False) as journal:
        return set(journal.finished)


def test_finished_files_are_kept(begun: Path) -> None:
    with Journal(recipe(begun), overwrite=False) as journal:
        assert set(journal.finished) == {0, 1}
        assert journal.images == 4
        assert journal.finished[1].hashes == write(begun, 1).hashes


def test_a_line_that_was_cut_off_is_not_counted_and_the_next_one_is_whole(begun: Path) -> None:
    path = begun / "dataset.journal"
    whole = path.read_bytes()
    header = whole.index(b"\n") + 1
    for end in range(header, len(whole) + 1):
        path.write_bytes(whole[:end])
        assert len(finished_in(begun)) == whole[header:end].count(b"\n")
    path.write_bytes(whole[:-1])
    with Journal(recipe(begun), overwrite=False) as journal:
        assert set(journal.finished) == {1}
        journal.add(write(begun, 0))
    assert finished_in(begun) == {0, 1}


def test_a_finished_file_that_was_not_recorded_is_no_stranger_later(tmp_path: Path) -> None:
    with Journal(recipe(tmp_path), overwrite=False):
        write(tmp_path, 0)
    assert finished_in(tmp_path) == set()
    assert recipe(tmp_path).path(0).exists()


def test_a_file_that_is_gone_is_made_again(begun: Path) -> None:
    recipe(begun).path(1).unlink()
    assert finished_in(begun) == {0}


@pytest.mark.parametrize("size", [0, 7, 9])
def test_a_truncated_file_is_refused_by_name(begun: Path, size: int) -> None:
    recipe(begun).path(1).write_bytes(bytes(size))
    with pytest.raises(DatasetError, match=rf"images-00001\.tensors is truncated: {size} bytes, 8 were written"):
        finished_in(begun)


def test_an_altered_file_is_refused_by_name(begun: Path) -> None:
    recipe(begun).path(0).write_bytes(bytes(8))
    with pytest.raises(DatasetError, match=r"images-00000\.tensors is altered"):
        finished_in(begun)


def test_a_damaged_line_is_refused(begun: Path) -> None:
    path = begun / "dataset.journal"
    path.write_bytes(path.read_bytes().replace(b'"images":2', b'"images":"2"', 1))
    with pytest.raises(DatasetError, match=r"dataset\.journal is damaged"):
        finished_in(begun)


def test_another_recipe_is_refused_unless_overwritten(begun: Path) -> None:
    before = contents(begun)
    with pytest.raises(DatasetError, match=r"half-made data set of other sources or options.*--overwrite"):
        Journal(recipe(begun, seed=1), overwrite=False)
    assert contents(begun) == before
    with Journal(recipe(begun, seed=1), overwrite=True) as journal:
        assert journal.finished == {}
    assert contents(begun) == {}


@pytest.mark.parametrize("overwrite", [False, True])
def test_foreign_files_are_refused_and_never_removed(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "images-3-0.tensors").write_bytes(b"of the original tool")
    with pytest.raises(DatasetError, match=r"images-3-0\.tensors is not of this data set"):
        Journal(recipe(tmp_path), overwrite=overwrite)
    assert contents(tmp_path) == {"images-3-0.tensors": b"of the original tool"}


def test_files_of_our_names_without_a_journal_are_foreign(tmp_path: Path) -> None:
    write(tmp_path, 0)
    with pytest.raises(DatasetError, match=r"images-00000\.tensors is not of this data set"):
        Journal(recipe(tmp_path), overwrite=False)
    with Journal(recipe(tmp_path), overwrite=True):
        assert not recipe(tmp_path).path(0).exists()


def test_a_file_beyond_the_last_is_foreign(begun: Path) -> None:
    write(begun, 2)
    assert finished_in(begun) == {0, 1}
    write(begun, 3)
    with pytest.raises(DatasetError, match=r"images-00003\.tensors is not of this data set"):
        finished_in(begun)


def test_leaving_removes_temporary_files_and_a_journal_of_nothing(tmp_path: Path) -> None:
    with Journal(recipe(tmp_path), overwrite=False):
        (tmp_path / ".images-00000.tensors.1-0123abcd.part").write_bytes(b"x")
    assert contents(tmp_path) == {}


def test_a_second_make_is_refused_while_the_first_runs(begun: Path) -> None:
    with Journal(recipe(begun), overwrite=False), pytest.raises(DatasetError, match="another make runs in"):
        Journal(recipe(begun), overwrite=True)
    assert finished_in(begun) == {0, 1}


def test_temporary_files_that_no_make_wrote_stay(tmp_path: Path) -> None:
    names = [".notes.part", ".notes.1.part", ".thesis.tex.12-0123abcd.part", ".images-00000.tensors.part"]
    for name in names:
        (tmp_path / name).write_text("mine")
    (tmp_path / ".dataset.json.7-0123abcd.part").mkdir()
    with Journal(recipe(tmp_path), overwrite=True):
        (tmp_path / ".dataset.xxh3.7-0123abcd.part").touch()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*names, ".dataset.json.7-0123abcd.part"])


def test_a_link_for_a_journal_cuts_nobody_s_file(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("a line without an end")
    (tmp_path / "dataset.journal").symlink_to("victim")
    with pytest.raises(DatasetError, match="it is a link"):
        Journal(recipe(tmp_path), overwrite=True)
    assert (tmp_path / "victim").read_text() == "a line without an end"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (os.mkfifo, "not seekable"),
        (lambda path: path.symlink_to("/dev/zero"), "it is a link, and nothing is written through one"),
        (lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 60_000_000_000), "over the limit"),
    ],
)
def test_a_journal_that_is_no_file_is_refused_at_once(
    tmp_path: Path, make: Callable[[Path], object], reason: str
) -> None:
    make(tmp_path / "dataset.journal")
    with pytest.raises(DatasetError, match=reason):
        Journal(recipe(tmp_path), overwrite=True)
