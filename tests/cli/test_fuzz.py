"""Altered files and words of every kind, in a process of its own that has so much memory and no more."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

KINDS = ("parameters", "options", "manifests", "notebooks")


def fuzz(kind: str, examples: int, seconds: float, last: Path) -> dict[str, int]:
    command = [sys.executable, "-m", "tests.cli.fuzz", kind, str(examples), str(seconds), str(last)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stderr[-9000:]}\nthe last input is {last.read_bytes()[:3000]!r}"
    return {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", done.stdout)}


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_a_file_holds_is_shown_or_refused_in_a_few_lines(kind: str, tmp_path: Path) -> None:
    counts = fuzz(kind, 10, 0, tmp_path / "last")
    assert counts["tried"] >= 8
    assert min(counts["shown"], counts["refused"]) > 0


LIMITED = """
import resource
from tests.memory import limit_memory
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
limit_memory(6 << 30)
assert resource.getrlimit(resource.RLIMIT_AS) == (4 << 30, 4 << 30)
limit_memory(3 << 30)
assert resource.getrlimit(resource.RLIMIT_AS) == (3 << 30, 3 << 30)
"""


def test_less_memory_that_is_allowed_already_is_enough() -> None:
    subprocess.run([sys.executable, "-c", LIMITED], check=True)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", KINDS)
def test_so_it_is_in_long(kind: str, tmp_path: Path) -> None:
    """INFERKIT_FUZZ_SECONDS says for how long each; a minute if it is not set."""
    counts = fuzz(kind, 100, float(os.environ.get("INFERKIT_FUZZ_SECONDS", "60")), tmp_path / "last")
    sys.stderr.write(f"{kind}: {counts}\n")
    assert counts["tried"] >= 100
