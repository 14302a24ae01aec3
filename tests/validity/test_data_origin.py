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


def told(source: str = "storage", *, reader: str = "buffered", evict: bool = False, **facts: Any) -> list[Finding]:
    reading = ReadOptions(folder="/data", reader=reader, evict=evict)
    return list(weigh(source, reading, STORAGE | facts))


def test_storage_that_was_storage() -> None:
    assert told() == []
    assert told(from_storage=0.9) == []


def test_the_page_cache_is_no_storage() -> None:
    ((kind, text),) = told(from_storage=0.89)
    assert kind == "reason"
    assert "only 89.0 % of the bytes came from it" in text


def test_memory_is_no_storage() -> None:
    ((kind, text),) = told(in_memory=True, filesystem="tmpfs", from_storage=None)
    assert kind == "reason"
    assert "lies on tmpfs, which is memory" in text


def test_a_stacked_device_proves_nothing_of_the_disks_below_it() -> None:
    ((kind, text),) = told(stacked=True)
    assert kind == "unverified"
    assert "made of others" in text
    assert told(stacked=True, from_storage=0.5)[0].kind == "reason"


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
    assert told("memory", from_storage=0.05) == []
    assert told("memory", from_storage=None) == []
