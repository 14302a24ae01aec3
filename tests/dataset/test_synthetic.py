from pathlib import Path

import numpy as np
import pytest

from inferkit.dataset.format import open_dataset, verify
from inferkit.dataset.manifest import read_manifest
from inferkit.dataset.synthetic import make_synthetic, random_image
from inferkit.records.params import MakeDataset
from tests.dataset.pictures import contents


@pytest.mark.parametrize("images_per_file", [1, 4, 5, 6, 7, 100])
def test_content_depends_on_seed_and_index_alone(tmp_path: Path, images_per_file: int) -> None:
    report = make_synthetic(MakeDataset(data=str(tmp_path), limit=6, size=5, images_per_file=images_per_file, seed=3))
    read = report.dataset.read_images(0, 6)
    for index in range(6):
        np.testing.assert_array_equal(read[index], random_image(3, index, (3, 5, 5), "uint8"))
    assert len({image.tobytes() for image in read}) == 6
    assert (report.made, report.resumed, report.skipped, report.bytes_read) == (6, 0, (), 0)
    assert report.images_per_s > 0
    assert verify(report.dataset).ok


def test_values_are_uniform_and_seeds_differ() -> None:
    image = random_image(0, 0, (3, 100, 100), "uint8")
    counts = np.bincount(image.reshape(-1), minlength=256)
    assert counts.min() > 60
    assert counts.max() < 180
    assert (image == random_image(1, 0, (3, 100, 100), "uint8")).mean() < 0.02


def test_the_first_values_stay_the_same_between_versions() -> None:
    assert random_image(7, 11, (6,), "uint8").tolist() == [238, 139, 129, 245, 46, 228]


def test_float32_has_the_values_of_uint8(tmp_path: Path) -> None:
    made = make_synthetic(MakeDataset(data=str(tmp_path), limit=2, size=5, dtype="float32")).dataset.read_images(0, 2)
    np.testing.assert_array_equal(made[1], random_image(0, 1, (3, 5, 5), "uint8"))
    assert made.dtype == np.float32


def test_any_shape(tmp_path: Path) -> None:
    dataset = make_synthetic(MakeDataset(data=str(tmp_path), limit=3, shape=[7])).dataset
    assert dataset.shape == (7,)
    assert (tmp_path / "images-00000.tensors").stat().st_size == 21


def test_the_manifest_says_synthetic(tmp_path: Path) -> None:
    make_synthetic(MakeDataset(data=str(tmp_path), limit=2, size=4, seed=9))
    manifest = read_manifest(tmp_path)
    assert manifest is not None
    assert (manifest.source, manifest.seed, manifest.resize, manifest.scales) == ("synthetic", 9, None, None)


def test_two_makes_are_byte_identical(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make_synthetic(MakeDataset(data=str(tmp_path / name), limit=5, size=4, images_per_file=2))
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert open_dataset(tmp_path / "a").images == 5
