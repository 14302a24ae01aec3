"""What is said of the way to a GPU's memory."""

from typing import Any

from inferkit.validity.direct_storage import direct_storage


def told(*ways: dict[str, Any]) -> list[str]:
    found = list(direct_storage({"reader": {"target": "device memory", "ways": list(ways)}}))
    assert {finding.kind for finding in found} <= {"warning"}
    return [finding.text for finding in found]


def test_nothing_is_said_of_gpudirect_storage_or_of_other_readers() -> None:
    assert told({"on": "xfs on nvme0n1", "files": 3, "lacks": ""}) == []
    assert list(direct_storage({})) == []
    assert list(direct_storage({"reader": {"block": 512}})) == []


def test_compatibility_mode_is_a_warning_with_the_reason() -> None:
    (text,) = told({"on": "xfs on nvme0n1", "files": 3, "lacks": "nvidia-fs is not loaded"})
    assert text == (
        "compatibility mode, no GPUDirect Storage: files on xfs on nvme0n1 passed through host memory, for "
        "nvidia-fs is not loaded"
    )
    ways = [{"on": "xfs on nvme0n1", "files": 1200, "lacks": ""}, {"on": "tmpfs", "files": 3, "lacks": "no disk"}]
    (text,) = told(*ways)
    assert "3 of 1,203 files on tmpfs passed through host memory, for no disk" in text
