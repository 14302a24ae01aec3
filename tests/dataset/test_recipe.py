from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferkit.dataset.recipe import Recipe


def recipe(**changes: Any) -> Recipe:
    asked: dict[str, Any] = {
        "folder": Path("x"),
        "dtype": "uint8",
        "shape": (3, 4, 4),
        "count": 10,
        "images_per_file": 4,
    }
    return Recipe(**(asked | {"facts": {"source": "images", "seed": 0}, "sources": "abc"} | changes))


@given(count=st.integers(1, 200), images_per_file=st.integers(1, 200))
def test_spans_cover_each_image_once_in_order(count: int, images_per_file: int) -> None:
    this = recipe(count=count, images_per_file=images_per_file)
    spans = [this.span(index) for index in range(this.files)]
    assert [image for span in spans for image in span] == list(range(count))
    assert [len(span) for span in spans[:-1]] == [images_per_file] * (this.files - 1)
    assert 1 <= len(spans[-1]) <= images_per_file


def test_names_sort_in_reading_order() -> None:
    names = [recipe().name(index) for index in (0, 9, 10, 99_999)]
    assert names == sorted(names)
    assert recipe().path(1) == Path("x/images-00001.tensors")


@pytest.mark.parametrize(
    "changes",
    [
        {"dtype": "float32"},
        {"shape": (3, 5, 4)},
        {"count": 11},
        {"images_per_file": 5},
        {"sources": "abd"},
        {"facts": {"source": "images", "seed": 1}},
        {"facts": {"source": "synthetic", "seed": 0}},
    ],
)
def test_a_fingerprint_tells_recipes_apart_but_not_folders(changes: dict[str, Any]) -> None:
    assert recipe(**changes).fingerprint != recipe().fingerprint
    assert recipe(folder=Path("y"), facts={"seed": 0, "source": "images"}).fingerprint == recipe().fingerprint
