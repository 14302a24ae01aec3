"""A user's own plan as a file: read if it is theirs, else refused with the reason."""

import os
from pathlib import Path

import pytest

from inferkit.engines import plan_file
from inferkit.engines.plan_file import plan_content
from inferkit.errors import EngineError


def test_a_plan_of_this_user_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.plan"
    path.write_bytes(b"ftrt and more")
    path.chmod(0o644)
    assert plan_content(path) == b"ftrt and more"


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("missing", "No such file"),
        ("pipe", "it is a pipe, not a file"),
        ("folder", "Is a directory"),
        ("empty", "is empty"),
        ("everybody's", "others may write to it"),
        ("too large", "over the limit"),
    ],
)
def test_what_is_no_plan_of_this_user_is_refused_and_nothing_hangs(
    tmp_path: Path, kind: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.plan"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind != "missing":
        path.write_bytes(b"" if kind == "empty" else b"ftrt")
        path.chmod(0o666 if kind == "everybody's" else 0o600)
    if kind == "too large":
        monkeypatch.setattr(plan_file, "LARGEST", 3)
    with pytest.raises(EngineError, match=reason) as refusal:
        plan_content(path)
    assert str(path) in str(refusal.value)


def test_a_name_with_a_null_is_no_file() -> None:
    with pytest.raises(EngineError, match="null"):
        plan_content(Path("a\0b.plan"))
