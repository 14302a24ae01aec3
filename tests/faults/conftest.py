"""A file system that is slow and faulty on request; skipped, with the reason, where none can be mounted."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from inferkit.dataset.synthetic import make_synthetic
from inferkit.linux.mounts import filesystem
from inferkit.records.params import MakeDataset

SHAPE = (3, 32, 32)
IMAGE_BYTES = 3 * 32 * 32
IMAGES, PER_FILE = 256, 64


class Storage:
    """The mounted file system, what it shows, and how it is told to misbehave."""

    def __init__(self, folder: Path, mount: Path, control: Path, daemon: "subprocess.Popen[bytes]") -> None:
        self.folder, self.mount, self.control, self.daemon = folder, mount, control, daemon

    def tell(self, **faults: Any) -> None:
        part = self.control.with_suffix(".part")
        part.write_text(json.dumps(faults))
        part.rename(self.control)

    def files(self) -> list[Path]:
        return sorted(self.folder.glob("*.tensors"))

    def close(self) -> None:
        self.tell()
        for program in ("fusermount3", "fusermount"):
            if shutil.which(program):
                subprocess.run([program, "-u", "-z", str(self.mount)], check=False, capture_output=True)
        self.daemon.kill()
        self.daemon.wait()


def mounted(folder: Path, place: Path, *options: str) -> Storage:
    """Mount the faulty file system over ``folder``; skip where that cannot be."""
    if importlib.util.find_spec("mfusepy") is None:
        pytest.skip("mfusepy is not installed: pip install mfusepy")
    if not Path("/dev/fuse").exists() or not (shutil.which("fusermount3") or shutil.which("fusermount")):
        pytest.skip("no /dev/fuse or no fusermount here: nothing can be mounted")
    mount, control = place / "mount", place / "control.json"
    mount.mkdir()
    control.write_text("{}")
    script = Path(__file__).with_name("faulty.py")
    with (place / "daemon.log").open("wb") as log:
        daemon = subprocess.Popen(
            [sys.executable, str(script), folder, mount, control, *options], stderr=log, stdout=log
        )
    storage = Storage(folder, mount, control, daemon)
    end = monotonic() + 10
    while not os.path.ismount(mount):
        if daemon.poll() is not None or monotonic() > end:
            storage.close()
            pytest.skip(f"FUSE cannot be mounted here: {(place / 'daemon.log').read_text()[-300:]}")
        sleep(0.02)
    assert filesystem(mount).fuse
    return storage


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    folder = tmp_path / "tensors"
    make_synthetic(MakeDataset(data=str(folder), limit=IMAGES, shape=list(SHAPE), images_per_file=PER_FILE))
    found = mounted(folder, tmp_path)
    yield found
    found.close()


@pytest.fixture
def uncached(tmp_path: Path) -> Iterator[Storage]:
    """Mount a file system whose reads pass the page cache by: a reader that waits for one cannot be killed."""
    folder = tmp_path / "tensors"
    make_synthetic(MakeDataset(data=str(folder), limit=IMAGES, shape=list(SHAPE), images_per_file=PER_FILE))
    found = mounted(folder, tmp_path, "direct_io")
    yield found
    found.close()
