"""Altered files of every kind, in a process of its own whose memory behind the pixels must not be touched."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

CARELESS = """
import numpy as np, sys
from inferkit.dataset.decode import Decoder
from tests.dataset.corpus import lossless
from tests.dataset.fuzz import Guarded
class Careless(Guarded):
    def _scale(self, header):
        return 8
    def _room(self, nbytes):
        return super()._room(nbytes // 64)
kind = {"careless": Careless, "ours": Guarded}[sys.argv[1]]
kind(16, fast=True).decode_exactly(lossless(400, 400))
"""


def fuzz(examples: int, seconds: float, last: Path) -> dict[str, int]:
    command = [sys.executable, "-m", "tests.dataset.fuzz", str(examples), str(seconds), str(last)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stderr}\nthe last input is {last.read_bytes()[8:]!r}"
    return {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", done.stdout)}


@pytest.mark.parametrize(("kind", "code"), [("careless", -signal.SIGSEGV), ("ours", 0)])
def test_a_byte_behind_the_pixels_would_be_noticed(kind: str, code: int) -> None:
    done = subprocess.run([sys.executable, "-c", CARELESS, kind], check=False)
    assert done.returncode == code


def test_no_file_makes_the_decoder_write_where_it_must_not(tmp_path: Path) -> None:
    counts = fuzz(150, 0, tmp_path / "last")
    assert counts["tried"] > 100
    assert min(counts["images"], counts["damaged"], counts["refused"]) > 10


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_no_file_does_so_in_long(tmp_path: Path) -> None:
    """INFERKIT_FUZZ_SECONDS says for how long; a minute if it is not set."""
    counts = fuzz(2000, float(os.environ.get("INFERKIT_FUZZ_SECONDS", "60")), tmp_path / "last")
    sys.stderr.write(f"{counts}\n")
    assert counts["tried"] > 1000
