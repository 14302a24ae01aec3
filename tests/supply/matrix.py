"""What a stranger installs, on every Python, with the oldest and newest libraries allowed. ``make matrix`` runs it.

The wheel is made of the sdist; each environment is new. What reads records is tried first, then all that measures.
A Python that is not to be had here is said, and is no fault.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from time import monotonic
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
FIXTURE = ROOT / "tests" / "fixtures" / "schema_1" / "03b_single_process.ipynb"
PYTHONS = ("3.11", "3.12", "3.13")
LIBRARIES = {
    "oldest": ["--resolution", "lowest-direct"],
    "newest": ["--resolution", "highest"],
    "pinned": ["--constraints", str(ROOT / "constraints.txt")],
}
"""What uv is told, by the versions of our dependencies that it is to take; theirs are the newest in any case."""
EXTRAS = "measure,lab,demo"
STEP_S = 900.0
"""Longest time of one command, in seconds: it downloads, or measures for a minute."""


class Cell(NamedTuple):
    """One environment."""

    python: str
    libraries: str


class StepError(Exception):
    """A command failed."""


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Return what a command prints; the environment of this process is not its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(
        [*map(str, command)], capture_output=True, text=True, timeout=STEP_S, check=False, cwd=cwd, env=kept
    )
    if done.returncode:
        message = f"{' '.join(map(str, command))}: exit status {done.returncode}\n{(done.stdout + done.stderr)[-3000:]}"
        raise StepError(message)
    return done.stdout


def built(folder: Path) -> Path:
    """Return the wheel that the sdist makes."""
    run("uv", "build", "--quiet", "--out-dir", folder, ROOT)
    return next(folder.glob("*.whl"))


def tried(cell: Cell, wheel: Path, folder: Path) -> None:
    """Install into a new environment and use it as the README says."""
    run("uv", "venv", "--quiet", "--python", cell.python, folder)
    install = ("uv", "pip", "install", "--quiet", "--python", str(folder), *LIBRARIES[cell.libraries])
    inferkit = folder / "bin" / "inferkit"
    run(*install, wheel)
    run(inferkit, "--help")
    run(inferkit, "show", FIXTURE)
    run(inferkit, "export", FIXTURE, "--to", "html", "--out", folder / "page.html")
    run(*install, f"{wheel}[{EXTRAS}]")
    run(folder / "bin" / "jupyter", "lab", "--version")
    project = folder / "project"
    run(inferkit, "init", project)
    run(inferkit, "run", "quickstart", cwd=project)


def main(arguments: Sequence[str] | None = None) -> int:
    """Try every cell; return 1 if one fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", action="append", help="a version or an interpreter; several may be given")
    parser.add_argument("--libraries", action="append", choices=LIBRARIES, help="default: all of them")
    asked = parser.parse_args(arguments)
    failed = 0
    with tempfile.TemporaryDirectory(prefix="inferkit-matrix-") as temporary:
        wheel = built(Path(temporary) / "dist")
        for python, libraries in product(asked.python or PYTHONS, asked.libraries or LIBRARIES):
            failed += not _told(Cell(python, libraries), wheel, Path(temporary) / "env")
    return int(failed > 0)


def _told(cell: Cell, wheel: Path, folder: Path) -> bool:
    """Try a cell and say what came of it; False if it failed."""
    start, name = monotonic(), f"Python {cell.python}, {cell.libraries} libraries"
    try:
        run("uv", "python", "find", cell.python)
    except StepError:
        print(f"{name}: not to be had here", flush=True)
        return True
    try:
        tried(cell, wheel, folder)
    except (StepError, subprocess.TimeoutExpired) as error:
        print(f"{name}: FAILED: {error}", flush=True)
        return False
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{name}: works ({monotonic() - start:.0f} s)", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main())
