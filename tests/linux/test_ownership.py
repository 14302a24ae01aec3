"""Who may change what lies under a path: other users, everybody, groups; through folders above and links."""

import os
from pathlib import Path

import pytest

from inferkit.linux.ownership import may_be_trusted, meddler
from tests.ownership import STRANGER, give_away, root_only


@pytest.fixture
def own(tmp_path: Path) -> Path:
    folder = tmp_path / "above" / "own"
    folder.mkdir(parents=True, mode=0o755)
    return folder


def test_a_folder_of_one_s_own_is_nobody_else_s(own: Path) -> None:
    assert meddler(own) == ""
    assert meddler(own / "not" / "there") == ""


@pytest.mark.parametrize("which", ["own", "above"])
def test_everybody_may_write_to_it_or_above(own: Path, which: str) -> None:
    folder = own if which == "own" else own.parent
    folder.chmod(0o777)
    assert meddler(own) == f"everybody may write to {folder}"
    folder.chmod(0o1777)  # as /tmp is: above it is no danger, to hold things it is
    assert bool(meddler(own)) == (which == "own")


@root_only
def test_another_user_s_folder_is_named(own: Path) -> None:
    give_away(own.parent)
    assert meddler(own) == f"{own.parent} belongs to user {STRANGER}"


@root_only
def test_a_link_that_another_user_may_turn_elsewhere(own: Path) -> None:
    link = own.parent / "link"
    link.symlink_to(own)
    assert meddler(link) == ""
    give_away(link)
    assert meddler(link) == f"{link} belongs to user {STRANGER}"


@root_only
def test_a_group_with_others_in_it_may_write(own: Path) -> None:
    own.chmod(0o775)
    assert meddler(own) == ""  # the group is root's
    os.chown(own, -1, STRANGER)
    assert meddler(own) == f"the group {STRANGER} may write to {own}"


@root_only
def test_a_file_is_trusted_if_nobody_else_wrote_it(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch(0o644)
    assert may_be_trusted(file.stat())
    file.chmod(0o646)
    assert not may_be_trusted(file.stat())
    file.chmod(0o644)
    give_away(file)
    assert not may_be_trusted(file.stat())
