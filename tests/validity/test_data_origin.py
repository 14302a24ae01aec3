import re
from typing import Any

import pytest

from inferkit.records.job import ReadOptions
from inferkit.validity.data_origin import Finding, weigh

STORAGE: dict[str, Any] = {
    "in_memory": False,
    "filesystem": "lustre",
    "from_storage": 1.0,
    "stacked": False,
    "resident_before": 0.0,
    "resident_after": 0.0,
    "dataset_bytes": 1000,
    "read_bytes": 1000,
}


def lying(kind: str, on: str, files: int, example: str) -> dict[str, Any]:
    return {"kind": kind, "on": on, "disks": [], "files": files, "example": example}


DISK = lying("disk", "ext4 on nvme0n1", 7, "a.tensors")
MEMORY = lying("memory", "btrfs on loop3 on tmpfs", 1, "sub/b.tensors")
UNKNOWN = lying("unresolved", "overlay", 3, "c.tensors")
LOOP = lying("disk", "ext4 on loop0 on ext4 on vda", 3, "d.tensors")


def told(
    source: str = "storage", *, reader: str = "buffered", evict: bool = False, demo: bool = False, **facts: Any
) -> list[Finding]:
    reading = ReadOptions(folder="/data", reader=reader, evict=evict)
    return list(weigh(source, reading, STORAGE | facts, demo=demo))


def test_storage_that_was_storage() -> None:
    assert told() == []
    assert told(from_storage=0.99) == []
    assert told(holders=[DISK]) == []


def test_what_the_cache_answered_is_said_before_it_is_refused() -> None:
    ((kind, text),) = told(from_storage=0.952)
    assert (kind, text) == ("warning", "only 95.2 % of the bytes came from storage, the rest from the page cache")


def test_the_page_cache_is_no_storage() -> None:
    ((kind, text),) = told(from_storage=0.89)
    assert kind == "reason"
    assert "only 89.0 % of the bytes came from it" in text


def test_memory_is_no_storage() -> None:
    ((kind, text),) = told(in_memory=True, filesystem="tmpfs", from_storage=None)
    assert kind == "reason"
    assert "lies on tmpfs, which is memory" in text


def test_what_nobody_can_resolve_is_no_proof() -> None:
    ((kind, text),) = told(holders=[UNKNOWN])
    assert (kind, text) == (
        "unverified",
        "that disks were read: /data lies on overlay, and nobody can tell what is underneath",
    )
    ((_, text),) = told(holders=[DISK, UNKNOWN])
    assert "3 of 10 files of /data (c.tensors …) lie on overlay" in text
    assert [kind for kind, _ in told(holders=[UNKNOWN], from_storage=0.5)] == ["reason"]
    assert [kind for kind, _ in told(holders=[UNKNOWN], from_storage=None)] == ["unverified", "unverified"]


def test_only_the_program_behind_fuse_knows_whence_it_reads() -> None:
    ((kind, text),) = told(holders=[lying("fuse", "fuse.rclone", 3, "a.tensors")])
    assert kind == "unverified"
    assert text.startswith("that storage was read: /data lies on fuse.rclone, and only the program behind it knows")


def test_a_server_on_this_machine_is_no_network() -> None:
    ((kind, text),) = told(holders=[lying("network", "nfs4", 3, "a.tensors") | {"here": True}])
    assert (kind, text) == ("unverified", "that a network was measured: this machine itself serves /data")


def test_a_virtual_machines_disk_is_no_proof_of_a_drive() -> None:
    ((kind, text),) = told(holders=[DISK | {"of_host": ["vda"]}])
    assert (kind, text) == (
        "unverified",
        "that a drive was read: vda is of a virtual machine, and only its host knows what is underneath",
    )
    ((_, text),) = told(holders=[DISK | {"of_host": ["vdb", "vda"]}, DISK | {"of_host": []}])
    assert "vda and vdb are of a virtual machine" in text


def test_a_limit_of_the_control_group_is_no_figure_of_the_disk() -> None:
    limits = [{"device": "vda", "bytes_per_s": 100_000_000, "reads_per_s": 2000}, {"device": "dm-0", "reads_per_s": 9}]
    both, one = told(limits=limits)
    assert both.kind == "warning"
    assert both.text.startswith("a control group limits reads of vda to 100 MB/s and 2,000 reads/s (io.max, blkio.thro")
    assert "reads of dm-0 to 9 reads/s" in one.text
    assert told("memory", from_storage=0.0, limits=limits) == []


def test_one_part_in_memory_is_enough() -> None:
    ((kind, text),) = told(in_memory=True, holders=[DISK, MEMORY])
    assert kind == "reason"
    assert "1 of 8 files of /data (sub/b.tensors …) lie on btrfs on loop3 on tmpfs, which is memory: declare" in text
    ((kind, text),) = told(in_memory=True, holders=[MEMORY])
    assert "source is storage, but /data lies on btrfs on loop3 on tmpfs, which is memory" in text


def test_a_second_epoch_of_what_stayed_was_not_read() -> None:
    stayed: dict[str, Any] = {"resident_after": 1.0, "read_bytes": 2000}
    ((kind, text),) = told(from_storage=1.0, **stayed)
    assert kind == "reason"
    assert "only 50.0 % of the bytes came from it, the rest from the page cache" in text
    assert told(evict=True, from_storage=1.0, **stayed) == []
    assert told(reader="direct", from_storage=1.0, **stayed) == []


def test_pages_that_could_not_be_dropped() -> None:
    ((kind, text),) = told(evict=True, resident_before=0.8)
    assert (kind, "evict could not drop 80.0 % of the pages" in text) == ("warning", True)
    ((kind, text),) = told(evict=True, resident_before=0.8, from_storage=0.2)
    assert (kind, "pages that evict cannot drop" in text) == ("reason", True)
    assert "set evict: true" not in told(evict=True, from_storage=0.2)[0].text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"empty": 0.7}, "for 70.0 % are holes or blocks that were never written"),
        ({"encoded": 1.0}, "for 100.0 % are compressed by the file system"),
        ({"stacked": True, "process_read_bytes": 1000, "disk_bytes": 300, "holders": [LOOP]}, "(ext4 on loop0 on ext4"),
        ({}, "though reader direct passes the page cache by"),
    ],
)
def test_a_reader_past_the_page_cache_is_not_told_to_use_it(change: dict[str, Any], words: str) -> None:
    ((kind, text),) = told(reader="direct", from_storage=0.3, **change)
    assert kind == "reason"
    assert words in text
    assert "from the page cache" not in text
    assert "use reader direct" not in text


@pytest.mark.parametrize(("empty", "kinds"), [(0.005, []), (0.05, ["warning"]), (0.2, ["reason"])])
def test_holes_that_a_count_hid(empty: float, kinds: list[str]) -> None:
    assert [kind for kind, _ in told(reader="direct", empty=empty)] == kinds


@pytest.mark.parametrize("name", ["disk_bytes", "wire_bytes"])
def test_what_others_read(name: str) -> None:
    def others(process: int | None, everybody: int, **more: Any) -> list[Finding]:
        return told(**{"process_read_bytes": process, name: everybody, **more})

    ((kind, text),) = others(1000, 1754)
    assert kind == "reason"
    assert re.match(r"43.0 % of the (disk|mount)'s reads were not ours", text)
    assert [kind for kind, _ in others(1000, 1300)] == ["warning"]
    assert [kind for kind, _ in others(1000, 1754, stacked=True)] == ["warning"]  # may read more than asked
    assert [kind for kind, _ in others(1000, 1754, demo=True)] == ["warning"]
    assert others(1000, 1050) == []
    assert others(None, 1754) == []


def test_what_others_write_takes_the_disk_from_the_reads() -> None:
    def written(nbytes: int, *, demo: bool = False) -> list[Finding]:
        return told(process_read_bytes=1000, disk_bytes=1000, written_bytes=nbytes, demo=demo)

    ((kind, text),) = written(1000)
    assert kind == "reason"
    assert "50.0 % of what the disk moved was written, and not by us" in text
    assert [kind for kind, _ in written(1000, demo=True)] == ["warning"]
    assert [kind for kind, _ in written(200)] == ["warning"]
    assert written(50) == []


def test_a_small_set_that_was_read_many_times() -> None:
    ((kind, text),) = told(reader="direct", different_bytes=150_000, read_bytes=150_000 * 54_000)
    assert kind == "warning"
    assert "the data set's 150 kB were read 54,000 times" in text
    assert told(reader="direct", different_bytes=150_000, read_bytes=150_000 * 10) == []
    assert told(reader="direct", different_bytes=2 * 10**9, read_bytes=10**12) == []


def test_page_faults_are_reads_that_nothing_measures() -> None:
    def faults(**facts: Any) -> list[Finding]:
        return told("memory", reader="mapped", **{"resident_after": 1.0} | facts)

    ((kind, text),) = faults(resident_before=0.0, from_storage=0.4)
    assert kind == "reason"
    assert "100.0 % of the pages were not in memory, and 40.0 % of all bytes came from storage" in text
    assert [kind for kind, _ in faults(resident_before=0.0, from_storage=0.05)] == ["warning"]
    assert [kind for kind, _ in faults(resident_before=0.5, from_storage=None)] == ["reason"]
    assert [kind for kind, _ in faults(resident_before=0.95, from_storage=None)] == ["warning"]
    assert faults(resident_before=1.0, from_storage=0.0) == []
    assert faults(resident_before=1.0, from_storage=0.4) == []  # a library that was loaded meanwhile
    assert faults(resident_before=None, resident_after=None, from_storage=None) == []
    assert [kind for kind, _ in faults(resident_before=1.0, resident_after=0.6, from_storage=0.4)] == ["reason"]
    ((kind, text),) = told(reader="mapped")
    assert (kind, "by page faults, which no ceiling measures" in text) == ("warning", True)


UNCOUNTED: dict[str, Any] = {"from_storage": None, "resident_after": 1.0, "read_bytes": 4000}


def test_where_nobody_counts_pages_that_stayed_tell_the_most_that_can_have_come() -> None:
    ((kind, text),) = told(**UNCOUNTED)
    assert kind == "reason"
    assert "at most 25.0 %" in text
    ((_, text),) = told(**UNCOUNTED | {"resident_before": 1.0})
    assert "at most 0.0 %" in text


@pytest.mark.parametrize(
    "change",
    [
        {"reader": "direct"},
        {"evict": True},
        {"resident_after": 0.4},
        {"resident_after": None},
        {"resident_before": None},
        {"read_bytes": 1100},
        {"read_bytes": 0},
    ],
)
def test_else_nobody_knows(change: dict[str, Any]) -> None:
    ((kind, text),) = told(**UNCOUNTED | change)
    assert kind == "unverified"
    assert "does not count" in text


def test_a_run_from_memory_says_so() -> None:
    ((kind, text),) = told("memory", in_memory=True, filesystem="tmpfs", from_storage=0.0)
    assert (kind, text) == ("warning", "memory is what was measured: /data lies on tmpfs")


def test_a_run_that_was_not_from_memory_says_so_too() -> None:
    assert "40.0 % of the bytes came from storage" in told("memory", from_storage=0.4)[0].text
    assert told("memory", in_memory=True, holders=[DISK, MEMORY], from_storage=0.4)[0].text.startswith("source is")
    assert told("memory", from_storage=0.05)[0].kind == "reason"
    assert told("memory", from_storage=0.95)[0].kind == "warning"
    assert told("memory", from_storage=0.009) == []
    assert told("memory", from_storage=None) == []
