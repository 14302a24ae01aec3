"""What doctor says of decoding on the GPU: by packages and by the kind of GPU, without opening any."""

import pytest

from inferkit.machine import decoding
from inferkit.records.host import Gpu, Host


@pytest.mark.parametrize(
    ("packages", "library", "status", "said"),
    [
        ({}, None, "absent", "not installed"),
        ({"nvidia-nvjpeg": "13.3"}, None, "present", "nvidia-nvjpeg 13.3"),
        ({"nvidia-nvjpeg-cu12": "12.4"}, None, "present", "nvidia-nvjpeg-cu12 12.4"),
        ({"nvidia-cuda-nvrtc": "13.5"}, None, "present", "nvidia-cuda-nvrtc 13.5"),
        ({}, "libnv.so.13", "present", "libnv.so.13"),
    ],
)
def test_libraries(
    monkeypatch: pytest.MonkeyPatch, packages: dict[str, str], library: str | None, status: str, said: str
) -> None:
    monkeypatch.setattr(decoding, "installed", lambda names: packages)
    monkeypatch.setattr(decoding, "find_library", lambda name: library)
    for found in (decoding.nvjpeg(), decoding.nvrtc()):
        assert (found.status, found.found) == (status, said)
        assert ("pip install 'inferkit[nvjpeg]'" in found.fix) == (status != "present")


@pytest.mark.parametrize(
    ("capabilities", "status"),
    [
        ([], "absent"),
        (["9.0"], "present"),
        (["8.0", "8.0"], "present"),
        (["7.0"], "absent"),
        (["9.0", "7.5"], "absent"),
        (["8.6"], "unknown"),
        (["12.0"], "unknown"),
        ([None], "unknown"),
    ],
)
def test_decoder(capabilities: list[str | None], status: str) -> None:
    gpus = [Gpu(index=k, name=f"GPU {own}", compute_capability=own) for k, own in enumerate(capabilities)]
    assert decoding.decoder(Host(gpus=gpus)).status == status
