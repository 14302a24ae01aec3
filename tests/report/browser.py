"""A real browser for pages: what they have become when it has run whatever they run."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from inferkit.report.pdf import BROWSERS

BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
needs_browser = pytest.mark.skipif(BROWSER is None, reason=f"none of {', '.join(BROWSERS)} is on PATH")


def opened(path: Path) -> str:
    """Open a page without a network and return its elements as they are then."""
    options = ["--headless", "--disable-gpu", "--disable-dev-shm-usage", "--host-resolver-rules=MAP * ~NOTFOUND"]
    options += ["--no-sandbox"] if os.geteuid() == 0 else []
    profile = f"--user-data-dir={path.parent / 'profile'}"
    command = [str(BROWSER), *options, profile, "--virtual-time-budget=2000", "--dump-dom", path.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
