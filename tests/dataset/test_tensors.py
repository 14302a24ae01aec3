from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from inferkit.dataset.format import open_dataset
from inferkit.dataset.pixels import image_hash
from inferkit.dataset.tensors import Dataset, image_bytes
from inferkit.errors import DatasetError, ParameterError

SHAPE = (3, 2, 5)


def write(folder: Path, images_per_file: list[int], dtype: str = "uint8") -> npt.NDArray[Any]:
    """Write files of images whose every value depends on its position; return all images."""
    total = sum(images_per_file)
    images = (np.arange(total * 30) * 7 % 251).reshape(total, *SHAPE).astype(dtype)
    start = 0
    for index, count in enumerate(images_per_file):
        images[start : start + count].astype(images.dtype.newbyteorder("<")).tofile(folder / f"{index:03d}.tensors")
        start += count
    return images


@given(
    files=st.lists(st.integers(1, 5), min_size=1, max_size=5),
    dtype=st.sampled_from(["uint8", "float32"]),
    data=st.data(),
)
def test_any_range_across_files_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, files: list[int], dtype: str, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("set")
    images = write(folder, files, dtype)
    dataset = open_dataset(folder, dtype=dtype, shape=SHAPE)
    start = data.draw(st.integers(0, len(images)))
    count = data.draw(st.integers(0, len(images) - start))
    read = dataset.read_images(start, count)
    np.testing.assert_array_equal(read, images[start : start + count])
    assert read.shape == (count, *SHAPE)
    assert read.dtype == dtype
    assert [file.images for file in dataset.files] == files
    assert dataset.images == len(images)
    assert dataset.nbytes == images.nbytes == sum(path.stat().st_size for path in folder.iterdir())


@pytest.mark.parametrize(("start", "count"), [(-1, 1), (0, -1), (0, 6), (5, 1), (6, 0)])
def test_images_that_are_not_there_are_refused(tmp_path: Path, start: int, count: int) -> None:
    write(tmp_path, [2, 3])
    with pytest.raises(ParameterError, match="holds 0 to 5"):
        open_dataset(tmp_path, dtype="uint8", shape=SHAPE).read_images(start, count)


def test_a_file_that_became_shorter_is_named(tmp_path: Path) -> None:
    write(tmp_path, [2, 3])
    dataset = open_dataset(tmp_path, dtype="uint8", shape=SHAPE)
    (tmp_path / "001.tensors").write_bytes(bytes(59))
    assert dataset.read_images(0, 3).shape[0] == 3
    with pytest.raises(DatasetError, match=r"001\.tensors has become shorter: 59 bytes at offset 0, expected 90"):
        dataset.read_images(2, 3)


def test_a_hash_is_of_the_bytes_whatever_holds_them() -> None:
    image = np.arange(30, dtype="<f4").reshape(SHAPE)
    expected = xxhash.xxh3_64_intdigest(image.tobytes())
    assert image_hash(image) == image_hash(image.tobytes()) == image_hash(memoryview(image.tobytes())) == expected
    assert image_hash(image + 1) != expected


def test_a_set_without_a_manifest_has_no_hashes(tmp_path: Path) -> None:
    write(tmp_path, [1])
    dataset: Dataset = open_dataset(tmp_path, dtype="uint8", shape=SHAPE)
    assert dataset.hashes() is None
    assert dataset.path(0) == tmp_path / "000.tensors"


@pytest.mark.parametrize(("dtype", "expected"), [("uint8", 150_528), ("float32", 602_112)])
def test_bytes_of_an_image(dtype: str, expected: int) -> None:
    assert image_bytes(dtype, (3, 224, 224)) == expected
