"""Where a run's bytes came from, in words."""

import pytest

from inferkit.records.figures import Json
from inferkit.report.storage import storage_rows
from tests.report.conftest import MakeRun

DISK = {"kind": "disk", "on": "xfs on nvme0n1", "disks": ["nvme0n1"], "files": 4, "example": "a.tensors"}


@pytest.mark.parametrize(
    ("storage", "words"),
    [
        (
            {"holders": [DISK, DISK], "from_storage": 0.998, "resident_before": 0.0, "resident_after": 0.25}
            | {"delivered_bytes": 2_000_000_000, "disk_bytes": 1_990_000_000, "wire_bytes": None},
            "xfs on nvme0n1 · 100 % of what was read came from it · in the page cache 0 % before, 25 % after"
            " · 2 GB delivered, 1.99 GB from disks",
        ),
        (
            {"holders": [DISK | {"on": "nfs4 from filer"}, DISK], "from_storage": None, "resident_before": None}
            | {"delivered_bytes": 3_000_000, "wire_bytes": 3_100_000},
            "nfs4 from filer and xfs on nvme0n1 · 3 MB delivered, 3.10 MB from the network",
        ),
        ({"holders": None, "from_storage": "much"}, None),
        ({}, None),
        (None, None),
    ],
)
def test_one_row_tells_what_holds_the_files_and_what_was_counted(
    make_run: MakeRun, storage: Json, words: str | None
) -> None:
    rows = list(storage_rows(make_run(facts={"storage": storage})))
    assert rows == ([("storage", words)] if words else [])
