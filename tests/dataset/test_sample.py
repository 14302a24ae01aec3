from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferkit.dataset.sample import SAMPLED, sample
from inferkit.dataset.synthetic import random_image
from inferkit.dataset.tensors import IN_MEMORY, Dataset, TensorFile
from inferkit.readers.memory import in_memory
from tests.conftest import MakeTensors


def described(images: int) -> Dataset:
    return Dataset(IN_MEMORY, "uint8", (1, 2, 8), (TensorFile("(random)", images, images * 16),), described=False)


@given(images=st.integers(1, 400))
def test_no_image_is_in_both_samples(images: int) -> None:
    seen, held_out = (sample(described(images), held_out=choice) for choice in (False, True))
    assert len(seen) == len(held_out) == min(SAMPLED, max(1, images // 2))
    if images > 1:
        assert not {image.tobytes() for image in seen} & {image.tobytes() for image in held_out}


def test_images_are_spread_over_all_files(make_dataset: MakeTensors) -> None:
    known = make_dataset(files=(100, 3, 97))
    found = sample(known.dataset)
    content = known.content.reshape(200, *known.dataset.shape)
    np.testing.assert_array_equal(found, content[np.arange(SAMPLED) * 3])
    np.testing.assert_array_equal(sample(known.dataset, held_out=True), content[np.arange(SAMPLED) * 3 + 1])


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_images_in_memory_are_random_ones_of_their_type(dtype: str) -> None:
    dataset = in_memory((3, 4, 5), dtype, images=10)
    found = sample(dataset)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found[1], random_image(0, 2, (3, 4, 5), dtype))


def test_a_single_image_is_the_sample(tmp_path: Path) -> None:
    np.testing.assert_array_equal(sample(described(1)), sample(described(1), held_out=True))
