"""File systems mounted for a test and gone after it; where mounting is not permitted, the test is skipped."""

import ctypes
import os
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

NULL_BLK = Path("/sys/kernel/config/nullb")
ZRAM = Path("/sys/class/zram-control")
MEBIBYTE = 2**20
CLONE_NEWNS = 0x00020000  # linux/sched.h; os.unshare came with Python 3.12


def mount_apart() -> None:
    """Give this process mounts of its own: what tests mount ends with them, however they end.

    A mount that outlives a killed run stands in the way of everybody who tidies up after it.
    """
    if os.geteuid() == 0 and not ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS):
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)


class Mounts:
    """Mounts under a folder of the test's own; the last one is undone first."""

    def __init__(self, place: Path, stack: ExitStack) -> None:
        self._place = place
        self._stack = stack

    def tmpfs(self, name: str, nbytes: int = 400 * MEBIBYTE) -> Path:
        return self._mount(name, "-t", "tmpfs", "-o", f"size={nbytes}", f"inferkit-{name}")

    def bind(self, folder: Path, point: Path) -> Path:
        run("mount", "--bind", str(folder), str(point))
        self._stack.callback(unmount, point)
        return point

    def overlay(self, name: str, *lower: Path, upper: Path | None = None) -> Path:
        """Mount an overlay; ``upper`` must lie where a folder can be made beside it."""
        options = "lowerdir=" + ":".join(map(str, lower))
        if upper is not None:
            work = upper.with_name(f"{upper.name}-work")
            work.mkdir()
            options += f",upperdir={upper},workdir={work}"
        return self._mount(name, "-t", "overlay", "-o", options, "overlay")

    def loop(
        self,
        name: str,
        folder: Path,
        fstype: str = "ext4",
        nbytes: int = 128 * MEBIBYTE,
        options: str = "rw",
        sector: int = 512,
    ) -> Path:
        """Mount a file in ``folder`` as a disk with a file system; ``sector`` is its logical block."""
        file = folder / f"{name}.img"
        with file.open("wb") as opened:
            opened.truncate(nbytes)
        device = run("losetup", "--find", "--show", "--sector-size", str(sector), str(file))
        try:
            make(fstype, Path(device))
            return self._mount(name, "-o", options, device)
        finally:
            run("losetup", "--detach", device)  # while it is mounted: it goes with its last user

    def image(self, name: str, file: Path) -> Path:
        """Mount the image of a file system that is read-only for good."""
        return self._mount(name, "-o", "loop,ro", str(file))

    def zram(self, name: str, nbytes: int = 128 * MEBIBYTE) -> Path:
        if not ZRAM.is_dir():
            pytest.skip("this kernel has no zram")
        number = (ZRAM / "hot_add").read_text().strip()
        self._stack.callback((ZRAM / "hot_remove").write_text, number)
        sysfs = Path(f"/sys/block/zram{number}")
        (sysfs / "disksize").write_text(str(nbytes))
        self._stack.callback((sysfs / "reset").write_text, "1")
        make("ext4", Path(f"/dev/zram{number}"))
        return self._mount(name, f"/dev/zram{number}")

    def null_blk(self, name: str, device: str, nbytes: int = 128 * MEBIBYTE) -> Path:
        """Mount a disk of the kernel's null_blk, which keeps what is written in memory."""
        subprocess.run(["sh", "-c", "modprobe null_blk nr_devices=0"], check=False, capture_output=True)
        folder = NULL_BLK / device
        try:
            folder.mkdir()
        except OSError as error:
            pytest.skip(f"this kernel makes no null_blk: {error}")
        self._stack.callback(folder.rmdir)
        for option, value in {"memory_backed": 1, "size": nbytes // MEBIBYTE, "power": 1}.items():
            (folder / option).write_text(str(value))
        make("ext4", Path(f"/dev/{device}"))
        return self._mount(name, f"/dev/{device}")

    def _mount(self, name: str, *arguments: str) -> Path:
        point = self._place / name
        point.mkdir()
        run("mount", *arguments, str(point))
        self._stack.callback(unmount, point)
        return point


def unmount(point: Path) -> None:
    """Undo a mount at once, or, where somebody still looks into it, as soon as they leave."""
    if subprocess.run(["umount", str(point)], check=False, capture_output=True).returncode:
        subprocess.run(["umount", "--lazy", str(point)], check=True)


def make(fstype: str, device: Path) -> None:
    """Make a file system; skip where the tool or the kernel lacks it."""
    known = Path("/proc/filesystems").read_text().split()
    if fstype not in known or not shutil.which(f"mkfs.{fstype}"):
        pytest.skip(f"no mkfs.{fstype}, or the kernel knows no {fstype}")
    run(f"mkfs.{fstype}", "-q", str(device))


def run(*command: str) -> str:
    """Run a command and return what it said; skip the test, saying why, where it fails."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout.strip()
