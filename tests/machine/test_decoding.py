"""What doctor says of decoding on the GPU: by packages and by the kind of GPU, without opening any."""

import pytest

from inferkit.machine import decoding
from inferkit.records.host import Gpu, Host


@pytest.mark.parametrize(
    ("packages", "library", "status"),
    [
        ({}, None, "absent"),
        ({"nvidia-nvimgcodec-cu13": "0.9", "nvidia-nvjpeg": "13.3"}, None, "present"),
        ({"nvidia-nvimgcodec-cu12": "0.9", "nvidia-nvjpeg-cu12": "12.4"}, None, "present"),
        ({"nvidia-nvimgcodec-cu13": "0.9"}, "libnvjpeg.so.13", "present"),
        ({"nvidia-nvimgcodec-cu13": "0.9"}, None, "limited"),
        ({"nvidia-nvjpeg": "13.3"}, None, "absent"),
    ],
)
def test_codec(monkeypatch: pytest.MonkeyPatch, packages: dict[str, str], library: str | None, status: str) -> None:
    monkeypatch.setattr(decoding, "installed", lambda names: {n: packages[n] for n in names if n in packages})
    monkeypatch.setattr(decoding, "find_library", lambda name: library)
    found = decoding.codec()
    assert found.status == status
    assert ("pip install 'inferkit[nvjpeg]'" in found.fix) == (status != "present")


@pytest.mark.parametrize(
    ("packages", "library", "status", "said"),
    [
        ({}, None, "absent", "not installed"),
        ({"nvidia-cuda-nvrtc": "13.5"}, None, "present", "nvidia-cuda-nvrtc 13.5"),
        ({}, "libnvrtc.so.13", "present", "libnvrtc.so.13"),
    ],
)
def test_nvrtc(
    monkeypatch: pytest.MonkeyPatch, packages: dict[str, str], library: str | None, status: str, said: str
) -> None:
    monkeypatch.setattr(decoding, "installed", lambda names: packages)
    monkeypatch.setattr(decoding, "find_library", lambda name: library)
    found = decoding.nvrtc()
    assert (found.status, found.found) == (status, said)


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
