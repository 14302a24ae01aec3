"""The table of licences, of what an SBOM may say."""

from typing import Any

import pytest

from tests.supply.licences import UNKNOWN, licence, table


@pytest.mark.parametrize(
    ("licences", "words"),
    [
        ([{"license": {"id": "MIT"}}], "MIT"),
        ([{"expression": "MIT OR Apache-2.0"}], "MIT OR Apache-2.0"),
        (
            [{"license": {"name": "License :: OSI Approved :: BSD License"}}, {"license": {"id": "MIT"}}],
            "BSD License · MIT",
        ),
        ([{"license": {"id": "MIT"}}, {"license": {"id": "MIT"}}], "MIT"),
        ([{"license": {"name": "Copyright\n (c)  me " * 99}}], ("Copyright (c) me " * 99)[:60]),
        ([], UNKNOWN),
        ([{"license": {}}], UNKNOWN),
    ],
)
def test_a_licence_is_told_by_its_name(licences: list[dict[str, Any]], words: str) -> None:
    assert licence({"licenses": licences}) == words


def test_packages_stand_in_order_and_break_no_table() -> None:
    bom = {"components": [{"name": "b", "version": "1"}, {"name": "A", "licenses": [{"license": {"name": "x|y"}}]}]}
    assert table(bom).splitlines()[2:] == ["| a |  | x/y |", f"| b | 1 | {UNKNOWN} |"]
