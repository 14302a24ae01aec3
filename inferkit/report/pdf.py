"""A page as PDF, printed by a browser without a window."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from inferkit.errors import RecordError

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
"""Names of browsers that print by Chromium's options, the free ones first."""
LONGEST_S = 300
"""Seconds that printing may take; hundreds of records take some twenty."""
_OPTIONS = (
    *("--headless", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions"),
    # Nothing is asked of a network: the page asks for nothing, and the browser's own calls home are turned off.
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-breakpad"),
    *("--host-resolver-rules=MAP * ~NOTFOUND", "--no-pdf-header-footer"),
)
_OPENED = re.compile(r"<details(?! class=\"code\")(?: open(?:=\"\")?)?")
"""Where a page is unfolded: everything but code."""


def pdf(html: str) -> bytes:
    """Print a page that :func:`inferkit.report.page.page` made.

    Folded parts are open, since paper cannot be clicked; code is left out. As root, Chromium runs without its sandbox,
    which it refuses there: the page was sanitized, and its policy lets nothing run and nothing load.

    Raises
    ------
    RecordError
        If there is no such browser, or if it fails.
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        message = (
            f"to make a PDF, none of {', '.join(BROWSERS)} is on PATH: install one (apt install chromium), "
            "or export html and print it in a browser"
        )
        raise RecordError(message)
    with TemporaryDirectory(prefix="inferkit-pdf-") as name:
        folder = Path(name)
        (folder / "page.html").write_text(_OPENED.sub("<details open", html), encoding="utf-8")
        _printed(browser, folder)
        return (folder / "page.pdf").read_bytes()


def _printed(browser: str, folder: Path) -> None:
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    command = [
        *(browser, *_OPTIONS, *(["--no-sandbox"] if root else [])),
        *(f"--user-data-dir={folder / 'profile'}", f"--print-to-pdf={folder / 'page.pdf'}"),
        (folder / "page.html").as_uri(),
    ]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=LONGEST_S)
        told = "\n".join(done.stderr.strip().splitlines()[-3:])
    except (OSError, subprocess.TimeoutExpired) as error:
        told = str(error)
    if not (folder / "page.pdf").is_file():
        message = f"{browser} printed no PDF: export html and print it in a browser; it said: {told or 'nothing'}"
        raise RecordError(message)
