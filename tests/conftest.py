"""Fixtures that several rooms share; they need no more than numpy, xxhash and pydantic, as on a bare GPU machine."""

import ctypes
import dataclasses
import gc
import importlib.util
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest

from inferkit.dataset.format import open_dataset
from inferkit.dataset.manifest import HASHES_NAME
from inferkit.dataset.pixels import image_hash
from inferkit.dataset.tensors import Dataset
from inferkit.devices.cpu import CpuDevice
from tests.copies import prepare_to_be_copied
from tests.mounting import Mounts, mount_apart

gc.disable()  # until all is collected: nothing of it goes, and to look at it again and again takes a second

if importlib.util.find_spec("hypothesis"):
    from hypothesis import HealthCheck, settings

    # How fast a machine is at the moment is no property of what is tested.
    slow = [HealthCheck.too_slow]
    settings.register_profile("inferkit", max_examples=25, deadline=None, suppress_health_check=slow)
    settings.load_profile("inferkit")


def pytest_collection_finish() -> None:
    prepare_to_be_copied()
    gc.enable()


Pixels = npt.NDArray[np.uint8]


class Known(NamedTuple):
    """A data set and what its images are: one row of bytes per image."""

    dataset: Dataset
    content: Pixels


MakeTensors = Callable[..., Known]


def image_of(file: int, index: int, nbytes: int) -> Pixels:
    """Bytes that depend on the file, the image's index in it, and the position (251 is prime)."""
    position = np.arange(nbytes)
    return ((position * 7 + position // 251 * 13 + index * 31 + file * 101 + 17) % 251).astype(np.uint8)


def write_dataset(
    folder: Path,
    files: tuple[int, ...] = (5, 3, 7),
    shape: tuple[int, ...] = (3, 5, 7),
    dtype: str = "uint8",
    *,
    hashes: bool = False,
) -> Known:
    """Write tensor files with so many images each; ``hashes`` adds the sidecar, as if a manifest had been there."""
    folder.mkdir(parents=True, exist_ok=True)
    nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    rows = [[image_of(file, index, nbytes) for index in range(images)] for file, images in enumerate(files)]
    for file, images in enumerate(rows):
        with (folder / f"images-{file:02d}.tensors").open("wb") as opened:
            opened.writelines(image.tobytes() for image in images)
            os.fsync(opened.fileno())  # only clean pages can be evicted
    content = np.stack([image for images in rows for image in images])
    dataset = open_dataset(folder, dtype=dtype, shape=shape)
    if hashes:
        np.array([image_hash(image) for image in content], "<u8").tofile(folder / HASHES_NAME)
        dataset = dataclasses.replace(dataset, described=True)
    return Known(dataset, content)


@pytest.fixture
def make_dataset(tmp_path: Path) -> MakeTensors:
    """Write tensor files of known content into a folder of its own on disk (see :func:`write_dataset`)."""

    def make(*arguments: Any, folder: Path | None = None, **options: Any) -> Known:
        return write_dataset(folder or tmp_path / "data", *arguments, **options)

    return make


@pytest.fixture
def device() -> Iterator[CpuDevice]:
    """Open the CPU as a device that poisons what is given back."""
    with CpuDevice(poison=True) as device:
        yield device


@pytest.fixture
def shm(tmp_path: Path) -> Iterator[Path]:
    """Give a folder in memory (tmpfs)."""
    folder = Path("/dev/shm") / f"inferkit-test-{os.getpid()}-{tmp_path.name}"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module", autouse=True)
def little_to_copy() -> Iterator[None]:
    """Give back what a module leaves: a copy of this process, as commands make them, takes 20 ms for each GB of it."""
    yield
    gc.collect()
    gc.freeze()  # what is left stays: to look at it again at the end of each module takes 0.1 s
    ctypes.CDLL(None).malloc_trim(0)


@pytest.fixture
def undrawn() -> Iterator[None]:
    """Let what is started draw no pictures (may_draw, report/display.py): the first of a kernel takes a second."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    plenty = 1 << 46
    resource.setrlimit(resource.RLIMIT_AS, (plenty if before[1] == resource.RLIM_INFINITY else before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture
def adapted_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adapt a user's network in this process: another that does so takes half a second to start."""
    from inferkit.models.apart import make  # onnx

    monkeypatch.setattr("inferkit.models.cache.adapted_apart", make)


@pytest.fixture(scope="session", autouse=True)
def mounts_of_our_own() -> None:
    mount_apart()


@pytest.fixture
def mounts(tmp_path: Path) -> Iterator[Mounts]:
    """Give mounts that are gone after the test; skip where nothing may be mounted."""
    place = tmp_path / "mounts"
    place.mkdir()
    with ExitStack() as stack:
        yield Mounts(place, stack)
