"""What doctor says of GPUDirect Storage: by packages, and by what the kernel shows of nvidia-fs."""

from pathlib import Path

import pytest

from inferkit.machine import direct_storage


@pytest.mark.parametrize(
    ("packages", "status"),
    [
        ({}, "absent"),
        ({"nvidia-cufile": "1.15"}, "absent"),
        ({"kvikio-cu13": "26.10", "nvidia-cufile": "1.15"}, "present"),
        ({"kvikio-cu12": "26.10"}, "present"),
    ],
)
def test_library(monkeypatch: pytest.MonkeyPatch, packages: dict[str, str], status: str) -> None:
    monkeypatch.setattr(direct_storage, "installed", lambda names: {n: packages[n] for n in names if n in packages})
    found = direct_storage.kvikio()
    assert found.status == status
    assert ("pip install 'inferkit[gds]'" in found.fix) == (status == "absent")
    assert all(f"{name} {version}" in found.found for name, version in packages.items() if status == "present")


def test_module(tmp_path: Path) -> None:
    found = direct_storage.module(tmp_path)
    assert (found.status, found.found) == ("absent", "no /proc/driver/nvidia-fs")
    assert "modprobe nvidia-fs" in found.fix
    own = tmp_path / "proc/driver/nvidia-fs"
    own.mkdir(parents=True)
    assert direct_storage.nvidia_fs(tmp_path) == "loaded, version not told"
    (own / "version").write_text("version: 2.25\n")
    found = direct_storage.module(tmp_path)
    assert (found.status, found.fix) == ("limited", "docker run -v /run/udev:/run/udev:ro")
    (tmp_path / "run/udev").mkdir(parents=True)
    found = direct_storage.module(tmp_path)
    assert (found.status, found.found) == ("present", "version: 2.25")
