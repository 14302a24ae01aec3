"""A file system that shows a folder, as slow and as faulty as it is told: ``faulty.py FOLDER MOUNT CONTROL [OPTION…]``.

CONTROL is a JSON file that is read before every operation, so that a test can change its mind meanwhile:
``latency_s`` and ``bytes_per_s`` (of all reads together), ``errno`` at and behind ``offset`` of the files that end in
``name``, ``open_errno``, ``most`` (bytes that a read gives at most), ``hang`` (reads never return).
"""

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import mfusepy  # type: ignore[import-untyped]

TURN = threading.Lock()


class Faulty(mfusepy.Operations):  # type: ignore[misc]
    use_ns = True

    def __init__(self, folder: Path, control: Path) -> None:
        self.folder, self.control = folder, control

    def told(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.control.read_text())
        return told

    def place(self, path: str) -> Path:
        return self.folder / path.lstrip("/")

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        try:
            status = self.place(path).stat()
        except OSError as error:
            raise mfusepy.FuseOSError(error.errno) from error
        names = ("st_mode", "st_size", "st_uid", "st_gid", "st_nlink")
        times = {f"st_{kind}time": getattr(status, f"st_{kind}time_ns") for kind in "amc"}
        return times | {name: getattr(status, name) for name in names}

    def readdir(self, path: str, fh: int) -> list[str]:
        return [".", "..", *(entry.name for entry in self.place(path).iterdir())]

    def open(self, path: str, flags: int) -> int:
        told = self.told()
        if told.get("open_errno") and path.endswith(".tensors"):
            raise mfusepy.FuseOSError(told["open_errno"])
        return os.open(self.place(path), flags & ~os.O_NOFOLLOW)

    def create(self, path: str, mode: int, fi: None = None) -> int:
        return os.open(self.place(path), os.O_RDWR | os.O_CREAT | os.O_TRUNC, mode)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        return os.pwrite(fh, data, offset)

    def truncate(self, path: str, length: int, fh: int | None = None) -> None:
        os.truncate(self.place(path), length)

    def mkdir(self, path: str, mode: int) -> None:
        self.place(path).mkdir(mode)

    def rename(self, old: str, new: str) -> None:
        self.place(old).rename(self.place(new))

    def unlink(self, path: str) -> None:
        self.place(path).unlink()

    def rmdir(self, path: str) -> None:
        self.place(path).rmdir()

    def chmod(self, path: str, mode: int) -> None:
        self.place(path).chmod(mode)

    def release(self, path: str, fh: int) -> None:
        os.close(fh)

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        told = self.told()
        while told.get("hang"):
            time.sleep(0.05)
            told = self.told()
        time.sleep(told.get("latency_s", 0.0))
        if told.get("bytes_per_s"):
            with TURN:
                time.sleep(size / told["bytes_per_s"])
        if told.get("errno") and path.endswith(told.get("name", "")) and offset + size > told.get("offset", 0):
            raise mfusepy.FuseOSError(told["errno"])
        return os.pread(fh, min(size, told.get("most", size)), offset)


if __name__ == "__main__":
    folder, mount, control = map(Path, sys.argv[1:4])
    options = dict.fromkeys(sys.argv[4:], True)
    mfusepy.FUSE(Faulty(folder, control), str(mount), foreground=True, attr_timeout=0, entry_timeout=0, **options)
