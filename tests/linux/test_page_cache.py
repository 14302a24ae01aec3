import mmap
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from inferkit.errors import ReadError
from inferkit.linux import page_cache as residency
from inferkit.linux.block_devices import disk_read_bytes
from inferkit.linux.mounts import filesystem
from inferkit.linux.page_cache import evict, process_read_bytes, resident_share

PAGE = mmap.PAGESIZE
PAGES = 64


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "images.tensors"
    path.write_bytes(os.urandom(PAGES * PAGE - 100))
    return path


@pytest.fixture
def on_disk(file: Path) -> Path:
    """Give a file whose pages can leave memory."""
    if filesystem(file).in_memory:
        pytest.skip(f"{file.parent} lies in memory: nothing can be evicted")
    return file


def test_evicted_then_read(on_disk: Path) -> None:
    assert resident_share([on_disk]) == 1.0
    evict(on_disk)
    assert resident_share([on_disk]) == 0.0
    on_disk.read_bytes()
    assert resident_share([on_disk]) == 1.0


def test_share_counts_pages_over_files_and_windows(on_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evict(on_disk)
    descriptor = os.open(on_disk, os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)  # no read-ahead: just the pages asked for
    for page in (0, 15, 16, 63):
        os.pread(descriptor, 1, page * PAGE)
    os.close(descriptor)
    warm = on_disk.with_name("warm")
    warm.write_bytes(bytes(PAGES * PAGE))
    empty = on_disk.with_name("empty")
    empty.touch()
    for window in (residency._WINDOW_BYTES, 16 * PAGE):
        monkeypatch.setattr(residency, "_WINDOW_BYTES", window)
        assert resident_share([on_disk]) == 4 / PAGES
        assert resident_share([on_disk, warm, empty]) == (4 + PAGES) / (2 * PAGES)


def test_mapped_pages_stay(on_disk: Path) -> None:
    with on_disk.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert mapped[3 * PAGE] == on_disk.read_bytes()[3 * PAGE]
        evict(on_disk)
        share = resident_share([on_disk])
        assert share is not None
        assert share > 0


def test_tmpfs_cannot_be_evicted() -> None:
    path = Path("/dev/shm") / f"inferkit-test-{os.getpid()}"
    try:
        path.write_bytes(bytes(PAGE))
        evict(path)
        assert resident_share([path]) == 1.0
    finally:
        path.unlink()


def test_unknown_without_pages_or_file(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert resident_share([tmp_path / "empty"]) is None
    assert resident_share([]) is None
    assert resident_share([tmp_path]) is None
    assert resident_share([tmp_path / "missing"]) is None


@pytest.fixture
def stranger() -> Iterator[None]:
    """Become a user who owns nothing, as root can."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    os.seteuid(65534)
    yield
    os.seteuid(0)


def test_unknown_for_a_file_of_others(stranger: None) -> None:
    # The kernel would say that every page is resident, whatever is true.
    assert resident_share([Path("/etc/passwd")]) is None


def test_evict_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="missing"):
        evict(tmp_path / "missing")


def test_reads_are_counted(on_disk: Path) -> None:
    disk = filesystem(on_disk).block_device
    before = process_read_bytes()
    if before is None:
        pytest.skip("no /proc/self/io here (kernel without TASK_IO_ACCOUNTING, or a locked-down container)")
    disk_before = disk_read_bytes(disk) if disk else None
    on_disk.read_bytes()
    warm = process_read_bytes()
    evict(on_disk)
    on_disk.read_bytes()
    after = process_read_bytes()
    assert warm is not None
    assert after is not None
    assert after - warm >= PAGES * PAGE
    if disk and disk_before is not None:
        assert (disk_read_bytes(disk) or 0) - disk_before >= PAGES * PAGE
