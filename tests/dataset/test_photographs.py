import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest

from inferkit.dataset import photographs
from inferkit.dataset.photographs import make_photographs
from inferkit.errors import DatasetError, ParameterError
from tests.dataset.pictures import contents


def test_photographs_are_distinct_colourful_and_of_usual_sizes(tmp_path: Path) -> None:
    assert make_photographs(tmp_path, count=24) == 24
    made = contents(tmp_path)
    assert len(set(made.values())) == 24
    for name in made:
        image = np.asarray(cv2.imread(str(tmp_path / name)))
        assert max(image.shape[:2]) == 500
        assert min(image.shape[:2]) >= 333
        assert image.std() > 10
        assert (image[:, :, 0] != image[:, :, 2]).any()


def test_a_complete_folder_is_left_alone_and_a_gap_is_filled(tmp_path: Path) -> None:
    make_photographs(tmp_path, count=6)
    first = contents(tmp_path)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert make_photographs(tmp_path, count=6) == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == times
    (tmp_path / "photograph-0-00003.jpg").unlink()
    assert make_photographs(tmp_path, count=6) == 1
    assert contents(tmp_path) == first


def test_more_photographs_begin_with_the_same_ones_and_seeds_differ(tmp_path: Path) -> None:
    for name, count, seed in (("few", 2, 0), ("more", 4, 0), ("other", 4, 1)):
        make_photographs(tmp_path / name, count=count, seed=seed)
    few, more, other = (contents(tmp_path / name) for name in ("few", "more", "other"))
    assert few.items() < more.items()
    assert not set(more.values()) & set(other.values())


@pytest.mark.parametrize("name", ["holiday.JPG", "photograph-0-00002.jpg", "a.jpeg"])
def test_a_folder_with_other_photographs_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"mine")
    with pytest.raises(DatasetError, match=f"{name} is none of the 2 photographs of seed 0"):
        make_photographs(tmp_path, count=2)
    assert contents(tmp_path) == {name: b"mine"}


def test_without_scikit_image_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photographs, "find_spec", lambda name: None)
    with pytest.raises(ParameterError, match=r"inferkit\[demo\]"):
        make_photographs(tmp_path / "folder", count=2)
    assert not (tmp_path / "folder").exists()


def test_the_originals_are_in_the_wheel() -> None:
    spec = importlib.util.find_spec("skimage")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "data"
    assert all((folder / name).is_file() for name in photographs._PHOTOGRAPHS)


@pytest.mark.parametrize(("count", "seed"), [(0, 0), (1, -1)])
def test_parameters_are_checked(tmp_path: Path, count: int, seed: int) -> None:
    with pytest.raises(ParameterError, match="must be at least"):
        make_photographs(tmp_path, count=count, seed=seed)
