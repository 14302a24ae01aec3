"""docs/reliability.md promises nothing without a test: what it names as proof is there."""

import re
from collections.abc import Iterator

import pytest

from inferkit.records.project import project_root

TABLE = (project_root() / "docs" / "reliability.md").read_text(encoding="utf-8")
PROOF = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def rows() -> Iterator[str]:
    """Yield the tables' rows without their heads."""
    for line in TABLE.splitlines():
        if line.startswith("|") and not line.startswith(("| Fault", "|---")):
            yield line


@pytest.mark.parametrize(("file", "test"), sorted(set(PROOF.findall(TABLE))))
def test_what_is_named_as_proof_is_there(file: str, test: str) -> None:
    assert f"def {test}(" in (project_root() / file).read_text(encoding="utf-8")


def test_every_fault_has_a_proof() -> None:
    assert len(list(rows())) > 20
    assert [row for row in rows() if not PROOF.search(row) and "`make kill`" not in row] == []
