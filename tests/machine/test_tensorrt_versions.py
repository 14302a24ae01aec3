"""Which versions run where."""

import pytest

from inferkit.machine.tensorrt_versions import refuses_hopper, release


def test_release_numbers() -> None:
    assert [release(v) for v in ("1.4.0.76", "1.5rc1", "")] == [(1, 4, 0, 76), (1, 5), ()]


@pytest.mark.parametrize(
    ("library", "version", "refuses"),
    [
        *(("tensorrt_rtx", version, False) for version in ("1.4.0.76", "1.5.0.114", "1.6.1.120", "")),
        *(("tensorrt_rtx", version, True) for version in ("1.7", "1.7.1.116", "1.10", "2.0")),
        ("tensorrt", "10.16.1.11", False),
    ],
)
def test_hopper_is_left_to_versions_that_run_there(library: str, version: str, *, refuses: bool) -> None:
    assert refuses_hopper(library, version) is refuses
