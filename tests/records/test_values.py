"""Bounds of every number and text, in every notebook's model, and in words that fit a screen."""

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferkit.errors import ParameterError
from inferkit.models.precision import PRECISIONS
from inferkit.records.params import MEASURING, NOTEBOOKS, MakeDataset, MultiProcess, SingleProcess
from inferkit.records.project import resolve
from inferkit.records.values import PrecisionName

FIELDS = {name: field.default for model in NOTEBOOKS.values() for name, field in model.model_fields.items()}
NUMBERS = {
    *{name for name, default in FIELDS.items() if isinstance(default, int | float) and not isinstance(default, bool)},
    *("shape", "threads", "batch_sizes", "gpus", "gpu_counts", "ranks", "mean", "std", "transfer_bytes"),
}
LISTED = {name for name, default in FIELDS.items() if isinstance(default, list)}
TEXTS = {name for name, default in FIELDS.items() if isinstance(default, str)} | {
    *("readers", "engines", "models", "precisions", "placement", "paths", "peer", "directions", "memories"),
}


def refused(name: str, value: object) -> str:
    """Return how every notebook that declares a parameter refuses its value."""
    told = ""
    for model in NOTEBOOKS.values():
        if name in model.model_fields:
            with pytest.raises(ParameterError) as caught:
                model.check({name: value}, where="x.yaml")
            told = str(caught.value)
    return told


@pytest.mark.parametrize("name", sorted(NUMBERS))
def test_no_number_is_without_bounds(name: str) -> None:
    for number in (10**20, -(10**20), 10**400, 1e300, float("inf"), float("nan"), -1):
        if number == -1 and name == "mean":
            continue
        told = refused(name, [number] if name in LISTED else number)
        assert told.startswith(f"x.yaml: {name}")
        assert len(told) < 400


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_no_text_is_longer_or_stranger_than_a_path(name: str) -> None:
    for text in ("y" * 70_000, "\0", "a\nb", "\x1b[2J", "\ud800", "\u202e"):
        told = refused(name, [text] if name in LISTED else text)
        assert told.startswith(f"x.yaml: {name}")
        assert len(told) < 400
        assert told.isprintable()


@pytest.mark.parametrize("name", sorted(LISTED))
def test_no_list_is_longer_than_anybody_waits_for(name: str) -> None:
    assert len(refused(name, FIELDS[name] * 100_000 or [1] * 100_000)) < 30_000


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"models": [""]}, "expected a name, found an empty text"),
        ({"models": ["x" * 300]}, "at most 255 bytes"),
        ({"readers": [""]}, "at least 1 character"),
        ({"shape": [1, 70_000, 70_000]}, "an image of 4,900,000,000 values"),
        ({"shape": [3, 0, 4]}, "greater than 0"),
        *[({"data": text}, "expected a folder or s3://bucket/prefix") for text in ("http://a/b", "ftp://a", "s3:/one")],
        *[({"images": text}, "expected a folder or s3://bucket") for text in ("https://a", "gs://b/c", "s3:/")],
        ({"data": "file:///tmp/x"}, "found a URL: write /tmp/x$"),
        ({"earlier": "http://a"}, "expected a path, found a URL"),
        ({"batch_log": "s3://bucket/x"}, "expected a path, found a URL"),
        ({"models": ["https://a/b.onnx"]}, "expected a path, found a URL"),
        *[({name: " "}, "nothing but blanks") for name in ("storage", "data", "images", "earlier", "batch_log")],
        *[({name: "\u3000 "}, "nothing but blanks") for name in ("s3_region", "s3_profile")],
        *[({name: [" "]}, "nothing but blanks") for name in ("readers", "engines", "models", "placement")],
        *[({name: "a\x1bb"}, "can be printed") for name in ("storage", "data", "images", "s3_region")],
        ({"storage": " a"}, "without blanks at its ends"),
        ({"precisions": [" "]}, "'float32', 'float16', 'int8' or 'fp8'"),
        ({"precisions": ["fp16"]}, "'float32', 'float16', 'int8' or 'fp8'"),
        *[({name: []}, "at least 1 item") for name in ("readers", "threads", "batch_sizes", "engines", "models")],
        ({"std": [0.0]}, "greater than or equal to 0.000001"),
        ({"slots": 100_000_000}, "less than or equal to 4096"),
        ({"ranks": 1_000_000}, "less than or equal to 1024"),
        ({"storage": "x" * 300}, "at most 255 bytes"),
        ({"storage": "a/b"}, "expected a name, not a path"),
        ({"size": 60_000}, "less than or equal to 16384"),
    ],
)
def test_what_nobody_can_mean_is_refused_with_what_is_allowed(values: dict[str, Any], told: str) -> None:
    with pytest.raises(ParameterError, match=told):
        MultiProcess.check(values)


def test_images_beyond_all_data_sets_are_refused() -> None:
    with pytest.raises(ParameterError, match="less than or equal to 10000000000"):
        MakeDataset.check({"limit": 99_999_999_999_999})


def test_folders_of_any_language_are_named() -> None:
    for data in ("/mnt/données", "/mnt/日本語\u3000写真", "/mnt/a b", "x" * 255, "/".join(["x" * 200] * 20)):
        assert SingleProcess.check({"data": data}).data == data


@pytest.mark.parametrize(
    ("path", "told"),
    [("~nosuchuser/x", "there is no such user"), ("/", "the whole file system"), ("../" * 99, "the whole file system")],
)
def test_paths_that_nobody_means_are_refused(path: str, told: str) -> None:
    with pytest.raises(ParameterError, match=told):
        resolve(path)


@given(
    st.sampled_from(sorted(FIELDS)),
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(st.characters(codec=None, exclude_categories=())),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=6,
    ),
)
def test_whatever_a_value_is_it_is_taken_or_refused_in_short(name: str, value: Any) -> None:
    for model in MEASURING.values():
        for found in (value, [value]):
            told = ""
            try:
                model.collect({name: found})
            except ParameterError as error:
                told = str(error)
            assert len(told) < 2000


def test_precisions_are_those_that_networks_can_have() -> None:
    assert get_args(PrecisionName) == PRECISIONS
