"""Where a kernel's sockets lie."""

import os
import subprocess
from pathlib import Path

import pytest

from inferkit.cli import sockets
from inferkit.errors import ParameterError
from tests.ownership import give_away, root_only


def test_sockets_lie_in_the_first_folder_that_is_short_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(sockets, "gettempdir", lambda: str(long))
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/nowhere")
    assert sockets.short_folder() == "/tmp"
    monkeypatch.setattr(sockets, "LONGEST_FOLDER", 3)
    with pytest.raises(ParameterError, match="set TMPDIR"):
        sockets.short_folder()


def test_what_killed_runs_left_is_removed(tmp_path: Path) -> None:
    gone = subprocess.run(["sh", "-c", "echo $$"], capture_output=True, text=True, check=True).stdout.strip()
    own = sockets._own_prefix()
    foreign = f"inferkit-{os.getuid()}-1-{gone}-abc"  # of a container with process ids of its own
    names = [f"{own}{gone}-abc", f"{own}{os.getpid()}-abc", f"{own}x-abc", foreign, "inferkit-other"]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "kernel-1").touch()
    sockets._sweep(str(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names[1:])


@root_only
def test_what_another_user_called_like_ours_is_left(tmp_path: Path) -> None:
    gone = subprocess.run(["sh", "-c", "echo $$"], capture_output=True, text=True, check=True).stdout.strip()
    planted = tmp_path / f"{sockets._own_prefix()}{gone}-abc"
    planted.mkdir()
    give_away(planted)
    sockets._sweep(str(tmp_path))
    assert planted.exists()
