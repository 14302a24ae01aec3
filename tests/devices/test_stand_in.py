"""Device ``cuda`` on the driver that stands in for a GPU: what conformance asks of it, where no GPU is."""

import subprocess
import sys
from pathlib import Path

from tests.stand_in_gpu import stand_in_gpu

ASKED = "cuda and (4-2-4-3 or not one_epoch)"
"""Of the sizes that arrive whole, one: a real GPU gets them all."""


def test_conformance(tmp_path: Path) -> None:
    """The driver refuses memory of the host's that is not registered, as a real one does."""
    tests = str(Path(__file__).with_name("test_conformance.py"))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", ASKED, tests]
    done = subprocess.run(command, env=stand_in_gpu(tmp_path), check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
    assert int(done.stdout.splitlines()[-1].split(" passed")[0].split()[-1]) > 150, done.stdout[-300:]
